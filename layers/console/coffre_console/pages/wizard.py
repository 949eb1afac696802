"""The restore wizard: choose, a dry run, see the plan, type the name, and ten seconds to stop it.

All of it has one address, whose query holds what was chosen: a sign-in in the middle loses nothing. The function
`restore` decides: a token of it confirms the plan that was shown, and nothing else.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any, Final

from coffre.model.backup import Backup, Restore
from coffre.model.confirmation import Overwritten
from coffre.model.errors import BackupStateError
from coffre.model.kinds import SafetyState
from coffre.model.restore_report import RestoreReport
from coffre.operations.points.find import find_backup
from coffre.operations.stored_backup.open_backup import refuse_unrestorable
from coffre.operations.stored_backup.read_copies import as_read
from coffre_console.access.csrf import proof_of
from coffre_console.access.permissions import Permission
from coffre_console.api.restores import PlanShown, RestoreWanted, permission_of, restore_or_plan
from coffre_console.pages.asked import id_of, sent_of, wrong
from coffre_console.pages.restore_choice import FIELDS, MODES, WHATS, command_of, wanted_of
from coffre_console.pages.show import Html, address, see_other, show
from coffre_console.problems import ProblemError
from coffre_console.reading.one_backup import has_journal, parts_of_backup, sources_of
from coffre_console.reading.runs import one_restore
from coffre_console.routing import Visit

COUNTDOWN_SECONDS: Final = 10
_MOST_NAMES: Final = 300
_IDS: Final = ("dry_run_id", "safety_id", "proof")
_STEPS: Final = ("dry_run", "safety", "confirm", "run")


def look(visit: Visit, backup: Backup) -> Html:
    """Show the form, or the plan of what was chosen."""
    # A form that a sign-in came in between sends more: the step, and the typed name.
    sent = sent_of(visit, *FIELDS, *_IDS, "step", "name")
    if not sources_of(visit.source, backup):
        refuse_unrestorable(backup)
    return _plan(visit, backup, sent) if sent["dry_run_id"] else _choose(visit, backup, sent)


def act(visit: Visit, backup: Backup) -> Html:
    """Do one step of the wizard."""
    sent = sent_of(visit, *FIELDS, *_IDS, "step", "name", "token")
    refuse_unrestorable(as_read(visit.source.catalog, backup, sent["source"] or None))
    if sent["step"] not in _STEPS:
        raise wrong("step", f"expected one of {', '.join(_STEPS)}")
    chosen = {name: sent[name] for name in FIELDS}
    here = f"/backups/{backup.id}/restore"
    if sent["step"] == "dry_run":
        started = _ask(visit, backup, wanted_of(backup, chosen, dry_run=True))
        return see_other(visit, here, **chosen, dry_run_id=started.id, proof=_proof(visit, backup, chosen, started.id))
    if sent["step"] == "safety":
        started = _ask(visit, backup, wanted_of(backup, chosen, safety_backup=True))
        known = {name: sent[name] for name in ("dry_run_id", "proof")}
        return see_other(visit, here, **chosen, **known, safety_id=started.id)
    if sent["step"] == "confirm":
        return _confirm(visit, backup, sent, chosen)
    confirmation = {"token": sent["token"], "name": sent["name"]} if sent["token"] else None
    started = _ask(visit, backup, wanted_of(backup, chosen, confirmation=confirmation))
    return see_other(visit, f"/restores/{started.id}", done="start")


def _ask(visit: Visit, backup: Backup, wanted: RestoreWanted) -> Any:
    """Ask for what the API would do, with the API's checks."""
    visit.demand(permission_of(wanted), backup.target)
    return restore_or_plan(visit, backup, wanted).body


def _choose(visit: Visit, backup: Backup, sent: dict[str, str]) -> Html:
    """Show the form."""
    may_all = visit.caller.may(Permission.RESTORE_ALL, backup.target)
    names = [part.name for part in parts_of_backup(visit.source, backup)[:_MOST_NAMES]]
    return show(
        visit,
        "restore_choose",
        command=command_of(backup, sent),
        backup=backup,
        sent=sent,
        whats=[one for one in WHATS if may_all or one != "whole"],
        modes=MODES,
        names=names,
        may_all=may_all,
        has_journal=bool(sent["at"]) or has_journal(visit.source, backup),
        sources=sources_of(visit.source, backup),
    )


def _proof(visit: Visit, backup: Backup, chosen: Mapping[str, str], dry_run_id: str) -> str:
    """Return what says in an address that a dry run was of this choice; the function compares what overwrites."""
    return proof_of(visit.caller, [backup.id, dry_run_id, *(chosen[name] for name in FIELDS)])


def _plan(visit: Visit, backup: Backup, sent: dict[str, str]) -> Html:
    """Show what the dry run found; or how far it is."""
    chosen = {name: sent[name] for name in FIELDS}
    overwrites = wanted_of(backup, chosen).needs_plan
    restore, report = _dry_run(visit, backup, sent["dry_run_id"])
    safety = _safety_backup(visit, backup, sent["safety_id"])
    return show(
        visit,
        "restore_plan",
        command=f"{command_of(backup, chosen)} --dry-run",
        backup=backup,
        chosen={name: value for name, value in chosen.items() if value},
        sent=sent,
        restore=restore,
        report=report,
        plan=report.plan if report is not None and overwrites else None,
        needs_safety=overwrites and report is not None and _needs_safety(report),
        safety=safety,
        overwrites=overwrites,
        is_of_choice=overwrites
        or hmac.compare_digest(sent["proof"].encode(), _proof(visit, backup, chosen, sent["dry_run_id"]).encode()),
    )


def _dry_run(visit: Visit, backup: Backup, dry_run_id: str) -> tuple[Restore | None, RestoreReport | None]:
    """Return a dry run with its report; None for one whose function has not begun yet."""
    try:
        known = visit.restore(id_of("dry_run_id", dry_run_id) or "", Permission.READ)
    except BackupStateError:
        return None, None
    found = one_restore(visit.source, known)
    if found.restore.backup_id != backup.id or not found.restore.dry_run:
        raise ProblemError(409, "CONFIRMATION_MISMATCH", "This is no dry run of a restore of this backup.")
    return found.restore, found.report


def _safety_backup(visit: Visit, backup: Backup, safety_id: str) -> Backup | None:
    found = find_backup(visit.source.catalog, id_of("safety_id", safety_id) or "") if safety_id else None
    return found if found is not None and found.target == backup.target else None


def _confirm(visit: Visit, backup: Backup, sent: Mapping[str, str], chosen: Mapping[str, str]) -> Html:
    """Take the typed name, get the plan's token, and show the last ten seconds."""
    wanted = wanted_of(backup, dict(chosen), dry_run=True, dry_run_id=sent["dry_run_id"])
    answer = _ask(visit, backup, wanted)
    if not isinstance(answer, PlanShown):
        return see_other(visit, f"/backups/{backup.id}/restore", **chosen, dry_run_id=sent["dry_run_id"])
    stop = address(f"/backups/{backup.id}/restore", {**chosen, "dry_run_id": sent["dry_run_id"]})
    line = command_of(backup, chosen)
    return last_page(visit, answer.plan, answer.token, sent["name"], line, what="restore", stop=stop, fields=chosen)


def last_page(
    visit: Visit, plan: Mapping[str, Any], token: str | None, typed: str, command: str, **values: Any
) -> Html:
    """Show the last page; a plan that needs another person has one of its own. The name has to be the plan's."""
    if typed != plan["name"]:
        raise wrong("name", f"expected {plan['name']}")
    if plan["approvals"]:
        return see_other(visit, f"/approvals/{plan['id']}")
    values |= {"plan": with_losses(plan), "token_of_plan": token, "seconds": COUNTDOWN_SECONDS}
    return show(visit, "confirm", command=command, **values)


def with_losses(plan: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a plan, with what is lost as a record."""
    return {**plan, "overwrites": Overwritten.model_validate(plan["overwrites"])}


def _needs_safety(report: RestoreReport) -> bool:
    return report.safety is not None and report.safety.state is SafetyState.NEEDED


PAGES: Final = {"GET /backups/<backup_id>/restore": look, "POST /backups/<backup_id>/restore": act}
