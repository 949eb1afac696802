"""The restore wizard: choose, compare by a dry run, see the plan, type the name, and ten seconds to stop it.

All of it has one address, whose query holds what was chosen: a sign-in in the middle loses nothing. The function
`restore` decides: a token of it confirms the plan that was shown, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aws_lambda_powertools.event_handler import Response as Answer

from coffre.model.backup import Backup, Restore, RestoreReport
from coffre.model.confirmation import Overwritten
from coffre.model.errors import BackupStateError
from coffre.model.kinds import SafetyState
from coffre.operations.stored_backup.open import refuse_unrestorable
from coffre_console.access.permissions import Permission
from coffre_console.api.answers import ULID_PATTERN
from coffre_console.api.restores import PlanShown, RestoreWanted, permission_of, restore_or_plan
from coffre_console.pages.fields import refuse_unlike
from coffre_console.pages.restore_choice import FIELDS, MODES, WHATS, command_of, wanted_of
from coffre_console.pages.show import backup_of, known_fields, see_other, show
from coffre_console.problems import ProblemError, of_wrong_fields
from coffre_console.reading.one_backup import parts_of_backup
from coffre_console.reading.runs import one_restore, running
from coffre_console.routing import Routes, Visit

COUNTDOWN_SECONDS: Final = 10
_PATH: Final = "/backups/<backup_id>/restore"
_MOST_NAMES: Final = 300
_IDS: Final = ("dry_run_id", "safety_id")
_STEPS: Final = ("dry_run", "safety", "confirm", "run")


def register(routes: Routes) -> None:
    """Register the routes."""

    @routes.add("GET", _PATH)
    def look(backup_id: str) -> Answer[str]:
        visit = routes.visit
        backup = backup_of(visit, backup_id, Permission.RESTORE)
        refuse_unrestorable(backup)
        # A form that a sign-in came in between sends more: the step, and the typed name.
        sent = known_fields(visit.request.query, (*FIELDS, *_IDS, "step", "name"))
        if not sent["dry_run_id"]:
            return _choose(visit, backup, sent)
        return _plan(visit, backup, sent)

    @routes.add("POST", _PATH)
    def act(backup_id: str) -> Answer[str]:
        visit = routes.visit
        backup = backup_of(visit, backup_id, Permission.RESTORE)
        refuse_unrestorable(backup)
        sent = known_fields(visit.request.form, (*FIELDS, *_IDS, "step", "name", "token"))
        if sent["step"] not in _STEPS:
            raise of_wrong_fields([{"loc": ("step",), "type": "enum", "msg": f"expected one of {', '.join(_STEPS)}"}])
        return _step(visit, backup, sent)


def _step(visit: Visit, backup: Backup, sent: Mapping[str, str]) -> Answer[str]:
    """Do one step of the wizard."""
    chosen = {name: sent[name] for name in FIELDS}
    here = f"/backups/{backup.id}/restore"
    if sent["step"] == "dry_run":
        started = _ask(visit, backup, wanted_of(backup, chosen, dry_run=True))
        return see_other(visit, here, **chosen, dry_run_id=started.id)
    if sent["step"] == "safety":
        started = _ask(visit, backup, wanted_of(backup, chosen, safety_backup=True))
        return see_other(visit, here, **chosen, dry_run_id=sent["dry_run_id"], safety_id=started.id)
    if sent["step"] == "confirm":
        return _confirm(visit, backup, sent, chosen)
    confirmation = {"token": sent["token"], "name": sent["name"]} if sent["token"] else None
    started = _ask(visit, backup, wanted_of(backup, chosen, confirmation=confirmation))
    return see_other(visit, f"/restores/{started.id}", done="start")


def _ask(visit: Visit, backup: Backup, wanted: RestoreWanted) -> Any:
    """Ask for what the API would do, with the API's checks."""
    visit.demand(permission_of(wanted), backup.target)
    return restore_or_plan(visit, backup, wanted).body


def _choose(visit: Visit, backup: Backup, sent: dict[str, str]) -> Answer[str]:
    """Show the form; whole backups and other destinations are for those who may restore all."""
    may_all = visit.caller.may(Permission.RESTORE_ALL, backup.target)
    names = [part.name for part in parts_of_backup(visit.source, backup)[:_MOST_NAMES]]
    first = "prefix" if backup.kind.has_objects else "gone"
    return show(
        visit,
        "restore_choose",
        command=command_of(backup, sent),
        backup=backup,
        sent={**sent, "what": sent["what"] or first},
        whats=[one for one in WHATS if may_all or one != "whole"],
        modes=MODES,
        names=names,
        may_all=may_all,
        sources=_sources(visit, backup),
    )


def _sources(visit: Visit, backup: Backup) -> Sequence[str]:
    """Return from where a backup can be read; none while it is in the vault alone."""
    copies = [one.name for one in visit.source.configuration().copies_of(backup.target)]
    return ["vault", *copies] if copies else []


def _plan(visit: Visit, backup: Backup, sent: dict[str, str]) -> Answer[str]:
    """Show what the dry run found; or how far it is."""
    chosen = {name: sent[name] for name in FIELDS}
    wanted = wanted_of(backup, chosen)
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
        run=running(restore, visit.now) if restore is not None and not restore.status.is_final else None,
        plan=report.plan if report is not None and _overwrites(wanted) else None,
        needs_safety=report is not None
        and report.safety is not None
        and report.safety.state is SafetyState.NEEDED
        and _overwrites(wanted),
        safety=safety,
        safety_run=running(safety, visit.now) if safety is not None and not safety.status.is_final else None,
        overwrites=_overwrites(wanted),
    )


def _dry_run(visit: Visit, backup: Backup, dry_run_id: str) -> tuple[Restore | None, RestoreReport | None]:
    """Return a dry run of this backup with its report; None for one whose function has not begun yet."""
    refuse_unlike("dry_run_id", dry_run_id, ULID_PATTERN, "an id")
    try:
        found = one_restore(visit.source, dry_run_id)
    except BackupStateError:
        return None, None
    if found.restore.backup_id != backup.id or not found.restore.dry_run:
        raise ProblemError(409, "CONFIRMATION_MISMATCH", "This is no dry run of a restore of this backup.")
    return found.restore, found.report


def _safety_backup(visit: Visit, backup: Backup, safety_id: str) -> Backup | None:
    if not safety_id:
        return None
    refuse_unlike("safety_id", safety_id, ULID_PATTERN, "an id")
    try:
        found = visit.source.catalog.get_backup(safety_id)
    except BackupStateError:
        return None
    return found if found.target == backup.target else None


def _confirm(visit: Visit, backup: Backup, sent: Mapping[str, str], chosen: Mapping[str, str]) -> Answer[str]:
    """Take the typed name, get the plan's token from the function, and show the last ten seconds."""
    wanted = wanted_of(backup, dict(chosen), dry_run=True, dry_run_id=sent["dry_run_id"])
    answer = _ask(visit, backup, wanted)
    if not isinstance(answer, PlanShown):
        return see_other(visit, f"/backups/{backup.id}/restore", **chosen, dry_run_id=sent["dry_run_id"])
    refuse_other_name(sent["name"], str(answer.plan["name"]))
    return show(
        visit,
        "confirm",
        command=command_of(backup, chosen),
        what="restore",
        action=f"/backups/{backup.id}/restore",
        stop=_address_of(backup, {**chosen, "dry_run_id": sent["dry_run_id"]}),
        fields=chosen,
        plan=with_losses(answer.plan),
        token_of_plan=answer.token,
        seconds=COUNTDOWN_SECONDS,
    )


def with_losses(plan: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a function's plan, with what is lost as the record that pages show."""
    return {**plan, "overwrites": Overwritten.model_validate(plan["overwrites"])}


def refuse_other_name(typed: str, name: str) -> None:
    """Refuse a confirmation whose name is not the plan's; the function compares it again."""
    if typed != name:
        raise of_wrong_fields([{"loc": ("name",), "type": "value_error", "msg": f"expected {name}"}])


def _address_of(backup: Backup, query: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    return f"/backups/{backup.id}/restore", query


def _overwrites(wanted: RestoreWanted) -> bool:
    return wanted.storage.touches if wanted.storage is not None else wanted.overwrites
