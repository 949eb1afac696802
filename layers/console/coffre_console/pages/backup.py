"""One backup: what it holds, where it is, and how well it is proven."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aws_lambda_powertools.event_handler import Response as Answer

from coffre.model.backup import Backup
from coffre.model.kinds import Status
from coffre_console.access.permissions import Permission
from coffre_console.pages.acts import ACTS, Act
from coffre_console.pages.show import backup_of, known_fields, show
from coffre_console.problems import ProblemError
from coffre_console.reading.one_backup import one_backup
from coffre_console.reading.runs import running
from coffre_console.routing import Routes, Visit

SHOWN_PARTS: Final = 100


def register(routes: Routes) -> None:
    """Register the route."""

    @routes.add("GET", "/backups/<backup_id>")
    def page(backup_id: str) -> Answer[str]:
        visit = routes.visit
        done = known_fields(visit.request.query, ("done",))["done"]
        try:
            backup = backup_of(visit, backup_id, Permission.READ)
        except Exception as error:
            if done == "start" and getattr(error, "code", "") == "BACKUP_UNKNOWN":
                raise _not_yet(backup_id) from error
            raise
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
            done=done if done in ACTS else "",
        )


def possible(visit: Visit, backup: Backup) -> Sequence[Act]:
    """Return what may be done to a backup, and makes sense in its state."""
    return [act for act in ACTS.values() if act.fits(backup) and visit.caller.may(act.permission, backup.target)]


def _not_yet(backup_id: str) -> ProblemError:
    return ProblemError(
        404,
        "RUN_STARTING",
        f"The backup {backup_id} was started a moment ago, and its function has not recorded it yet.",
        "Load this page again in some seconds.",
        headers={"retry-after": "3"},
    )
