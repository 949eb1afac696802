"""Deleting one backup: the plan with its reasons, the typed name, and ten seconds to stop it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aws_lambda_powertools.event_handler import Response as Answer

from coffre.model.backup import Backup
from coffre_console.access.permissions import Permission
from coffre_console.pages.show import backup_of, known_fields, see_other, show
from coffre_console.pages.wizard import COUNTDOWN_SECONDS, refuse_other_name, with_losses
from coffre_console.problems import of_wrong_fields
from coffre_console.routing import Routes, Visit

_PATH: Final = "/backups/<backup_id>/delete"
_FIELDS: Final = ("force", "step", "name")


def register(routes: Routes) -> None:
    """Register the routes."""

    @routes.add("GET", _PATH)
    def ask(backup_id: str) -> Answer[str]:
        visit = routes.visit
        backup = backup_of(visit, backup_id, Permission.DELETE)
        sent = known_fields(visit.request.query, _FIELDS)
        return show(
            visit, "delete", command=f"coffre delete {backup.id} --dry-run", backup=backup, sent=sent, plan=None
        )

    @routes.add("POST", _PATH)
    def act(backup_id: str) -> Answer[str]:
        visit = routes.visit
        backup = backup_of(visit, backup_id, Permission.DELETE)
        sent = known_fields(visit.request.form, (*_FIELDS, "token"))
        if sent["step"] == "plan":
            plan = with_losses(_rotate(visit, backup, sent)["plan"])
            return show(visit, "delete", command=_command(backup, sent), backup=backup, sent=sent, plan=plan)
        if sent["step"] == "confirm":
            return _confirm(visit, backup, sent)
        if sent["step"] != "run":
            raise of_wrong_fields([{"loc": ("step",), "type": "enum", "msg": "expected one of plan, confirm, run"}])
        _rotate(visit, backup, sent, {"token": sent["token"], "name": sent["name"]})
        return see_other(visit, f"/backups/{backup.id}", done="delete")


def _confirm(visit: Visit, backup: Backup, sent: Mapping[str, str]) -> Answer[str]:
    """Take the typed name, get a token for the plan, and show the last ten seconds."""
    answer = _rotate(visit, backup, sent)
    refuse_other_name(sent["name"], str(answer["plan"]["name"]))
    return show(
        visit,
        "confirm",
        command=_command(backup, sent),
        what="delete",
        action=f"/backups/{backup.id}/delete",
        stop=(f"/backups/{backup.id}", {}),
        fields={"force": sent["force"]},
        plan=with_losses(answer["plan"]),
        token_of_plan=answer["token"],
        seconds=COUNTDOWN_SECONDS,
    )


def _rotate(
    visit: Visit, backup: Backup, sent: Mapping[str, str], confirmation: Mapping[str, str] | None = None
) -> Any:
    """Ask the function for a plan; with a confirmation, delete."""
    asked: dict[str, object] = {"backup_id": backup.id}
    if sent["force"]:
        asked["force"] = True
    if confirmation is None:
        return visit.console.functions.ask("rotate", {"delete": {**asked, "dry_run": True}}, visit.actor)
    return visit.console.functions.ask("rotate", {"delete": asked, "confirmation": dict(confirmation)}, visit.actor)


def _command(backup: Backup, sent: Mapping[str, str]) -> str:
    return f"coffre delete {backup.id}{' --force' if sent['force'] else ''}"
