"""One backup: what it holds, where it is, and how well it is proven."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from aws_lambda_powertools.event_handler import Response as Answer

from coffre.model.backup import Backup
from coffre.model.errors import BackupStateError
from coffre.model.kinds import Status
from coffre_console.access.permissions import Permission
from coffre_console.pages.acts import ACTS
from coffre_console.pages.show import backup_of, known_fields, show
from coffre_console.reading.one_backup import one_backup
from coffre_console.reading.runs import running
from coffre_console.routing import Routes, Visit

SHOWN_PARTS: Final = 100


class Button(NamedTuple):
    """Leads to the page of something that can be done; its text is `act.NAME`."""

    name: str
    is_grave: bool = False


def register(routes: Routes) -> None:
    """Register the route."""

    @routes.add("GET", "/backups/<backup_id>")
    def page(backup_id: str) -> Answer[str]:
        visit = routes.visit
        done = known_fields(visit.request.query, ("done",))["done"]
        try:
            backup = backup_of(visit, backup_id, Permission.READ)
        except BackupStateError:
            if done != "start":
                raise
            return show(visit, "starting", command=f"coffre show {backup_id}")
        found = one_backup(visit.source, backup_id)
        return show(
            visit,
            "backup",
            command=f"coffre show {backup_id}",
            found=found,
            backup=found.backup,
            parts=found.parts[:SHOWN_PARTS],
            run=running(backup, visit.now) if backup.status is Status.IN_PROGRESS else None,
            acts=possible(visit, found.backup),
            done=done if done in (*ACTS, "start", "delete") else "",
        )


def possible(visit: Visit, backup: Backup) -> Sequence[Button]:
    """Return what may be done to a backup, and makes sense in its state."""

    def may(permission: Permission) -> bool:
        return visit.caller.may(permission, backup.target)

    is_kept = backup.status is Status.COMPLETED
    found = [Button("restore")] if is_kept and may(Permission.RESTORE) else []
    found += [Button(act.name, act.is_grave) for act in ACTS.values() if act.fits(backup) and may(act.permission)]
    return [*found, Button("delete", is_grave=True)] if is_kept and may(Permission.DELETE) else found
