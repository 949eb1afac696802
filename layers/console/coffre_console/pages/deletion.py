"""Deleting a backup: what goes and what remains, the typed name, and ten seconds to stop it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from coffre.model.backup import Backup
from coffre_console.api.backups import ask_deletion
from coffre_console.pages.asked import sent_of, wrong
from coffre_console.pages.show import Html, see_other, show
from coffre_console.pages.wizard import last_page, with_losses
from coffre_console.routing import Visit

_FIELDS: Final = ("force", "step", "name")


def ask(visit: Visit, backup: Backup) -> Html:
    sent = sent_of(visit, *_FIELDS)
    return show(visit, "delete", command=f"{_command(backup, sent)} --dry-run", backup=backup, sent=sent, plan=None)


def act(visit: Visit, backup: Backup) -> Html:
    """Plan a deletion; with the typed name get a token for the plan; with the token delete."""
    sent = sent_of(visit, *_FIELDS, "token")
    line = _command(backup, sent)
    if sent["step"] == "plan":
        plan = with_losses(_ask(visit, backup, sent)["plan"])
        return show(visit, "delete", command=line, backup=backup, sent=sent, plan=plan)
    if sent["step"] == "confirm":
        answer = _ask(visit, backup, sent)
        values = {"what": "delete", "stop": f"/backups/{backup.id}", "fields": {"force": sent["force"]}}
        return last_page(visit, answer["plan"], answer["token"], sent["name"], line, **values)
    if sent["step"] != "run":
        raise wrong("step", "expected one of plan, confirm, run")
    _ask(visit, backup, sent, {"token": sent["token"], "name": sent["name"]})
    return see_other(visit, f"/backups/{backup.id}", done="delete")


def _ask(visit: Visit, backup: Backup, sent: Mapping[str, str], confirmation: Mapping[str, str] | None = None) -> Any:
    is_plan, force = confirmation is None, bool(sent["force"])
    return ask_deletion(visit, backup.id, dry_run=is_plan, force=force, confirmation=confirmation)


def _command(backup: Backup, sent: Mapping[str, str]) -> str:
    return f"coffre delete {backup.id}{' --force' if sent['force'] else ''}"


PAGES: Final = {"GET /backups/<backup_id>/delete": ask, "POST /backups/<backup_id>/delete": act}
