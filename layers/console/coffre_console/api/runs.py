"""What runs: list it, cancel it; verify and drill a backup."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Literal

from aws_lambda_powertools.event_handler import Response as Answer

from coffre.model.backup import Backup, Progress
from coffre.operations.stored_backup.open_backup import refuse_unrestorable
from coffre_console.access.permissions import Permission
from coffre_console.api.answers import Asked, BackupId, Body, Listed, RestoreId, Shown, Started, accepted
from coffre_console.api.backups import PATH, ask_rotate
from coffre_console.api.routes import ApiRoutes
from coffre_console.reading.runs import list_running

_TAG = "runs"


class Run(Shown):
    """A backup or a restore in progress. `share` is done, from 0 to 1; both numbers are absent while nothing is known.

    `is_silent`: it has sent no heartbeat for 45 seconds, and will be taken for dead.
    """

    id: str
    type: Literal["backup", "restore"]
    target: str
    since: datetime
    progress: Progress
    share: float | None
    seconds_left: float | None
    is_silent: bool
    dry_run: bool = False


class RunList(Listed):
    """What is in progress, the newest first."""

    runs: tuple[Run, ...]


class Verification(Body):
    """How closely a backup is verified: `read` reads every byte, `inventory` looks whether everything exists."""

    level: Literal["read", "inventory"] = "read"


def register(routes: ApiRoutes) -> None:
    """Register the routes."""
    _register_running(routes)
    _register_proofs(routes)


def _register_running(routes: ApiRoutes) -> None:
    @routes.add("GET", "/api/v1/runs", summary="Backups and restores in progress", tag=_TAG)
    def running() -> RunList:
        visit = routes.visit
        found = list_running(visit.source, visit.may())
        return RunList(
            runs=tuple(
                Run(
                    id=one.run.id,
                    type="backup" if isinstance(one.run, Backup) else "restore",
                    target=one.run.target,
                    since=one.since,
                    progress=one.progress,
                    share=one.share,
                    seconds_left=one.seconds_left,
                    is_silent=one.is_silent,
                    dry_run=not isinstance(one.run, Backup) and one.run.dry_run,
                )
                for one in found.runs
            ),
            unread=found.unread,
        )

    @routes.add("POST", f"{PATH}/<backup_id>/cancel", summary="Ask a backup that runs to end", tag=_TAG)
    def cancel(backup_id: BackupId) -> Asked:
        visit = routes.visit
        visit.backup(backup_id, Permission.CANCEL)
        return ask_rotate(visit, backup_id, {"cancel": backup_id})

    @routes.add("POST", "/api/v1/restores/<restore_id>/cancel", summary="Ask a restore that runs to end", tag=_TAG)
    def cancel_restore(restore_id: RestoreId) -> Asked:
        visit = routes.visit
        visit.restore(restore_id, Permission.RESTORE)
        return ask_rotate(visit, restore_id, {"cancel": restore_id})


def _register_proofs(routes: ApiRoutes) -> None:
    accepted_status = HTTPStatus.ACCEPTED

    @routes.add("POST", f"{PATH}/<backup_id>/verify", summary="Verify a backup", tag=_TAG, status=accepted_status)
    def verify(backup_id: BackupId, body: Verification) -> Answer[Started]:
        visit = routes.visit
        refuse_unrestorable(visit.backup(backup_id, Permission.VERIFY))
        visit.console.functions.start("verify", {"level": body.level, "backup_id": backup_id}, visit.actor)
        return accepted(backup_id, f"{PATH}/{backup_id}")

    @routes.add(
        "POST", f"{PATH}/<backup_id>/drill", summary="Restore a backup and prove it", tag=_TAG, status=accepted_status
    )
    def drill(backup_id: BackupId) -> Answer[Started]:
        visit = routes.visit
        refuse_unrestorable(visit.backup(backup_id, Permission.DRILL))
        visit.console.functions.start("drill", {"backup_id": backup_id}, visit.actor)
        return accepted(backup_id, f"{PATH}/{backup_id}")
