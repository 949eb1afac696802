"""Backups: list, count, one; take, keep and delete."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

from aws_lambda_powertools.event_handler import Response as Answer
from aws_lambda_powertools.event_handler.openapi.params import Query
from pydantic import Field

from coffre.model.backup import Backup
from coffre.model.confirmation import Confirmation
from coffre.model.errors import IntegrityError
from coffre.model.kinds import Status, TargetKind
from coffre.model.target import TARGET_NAME
from coffre.model.tier import Tier
from coffre_console.access.permissions import Permission
from coffre_console.api.answers import (
    Asked,
    BackupId,
    BackupList,
    BackupShown,
    Body,
    Cursor,
    DrillShown,
    Listed,
    Shown,
    Since,
    Size,
    Started,
    TargetQuery,
    Until,
    Versions,
    accepted,
)
from coffre_console.api.routes import ApiRoutes
from coffre_console.problems import ProblemError
from coffre_console.reading.backups import PAGE_SIZE, Filter, count_backups, list_backups
from coffre_console.reading.damaged import unread_of
from coffre_console.reading.one_backup import OneBackup, one_backup
from coffre_console.routing import Visit
from coffre_console.starting import LateError

PATH = "/api/v1/backups"
_ONE = f"{PATH}/<backup_id>"
_TAG = "backups"
KindQuery = Annotated[TargetKind | None, Query(alias="type", description="Only of this kind of target.")]
StatusQuery = Annotated[Status | None, Query(description="Only with this status.")]


class NewBackup(Body):
    """Which target is backed up now. `keep` (`12h`, `7d`, `4w`): rotation may delete it after that time."""

    target: str = Field(pattern=TARGET_NAME)
    keep: str | None = Field(default=None, pattern=r"^[1-9][0-9]{0,4}[hdw]$")
    full: bool = Field(default=False, description="Store everything again, and reuse nothing of earlier backups.")


class Reason(Body):
    """Why a backup is protected."""

    reason: str = Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")


class Deletion(Body):
    """What is deleted, and how sure that is.

    First with `dry_run`: the answer has a plan with its name, and a token. Then with both in `confirmation`.
    `force`: even the only backup of its target, or its newest verified one.
    """

    dry_run: bool = False
    force: bool = False
    confirmation: Confirmation | None = None


class Statistics(Listed):
    """Backups of a period in numbers. Bytes are those of completed ones; the rate is in per cent."""

    backups: int
    by_status: dict[str, int]
    damaged: int
    plaintext_bytes: int
    stored_bytes: int
    runs: int
    success_rate_percent: float | None
    last_backup: Backup | None


class Deleted(Shown):
    """A plan to delete with its token (10 minutes, once, for who asked), or what was deleted."""

    backup_id: str
    deleted: bool
    plan: dict[str, object] | None = None
    token: str | None = None


def register(routes: ApiRoutes) -> None:
    """Register the routes."""
    _register_lists(routes)
    _register_one(routes)
    _register_keeping(routes)


def _register_lists(routes: ApiRoutes) -> None:
    @routes.add("GET", PATH, summary="List backups, newest first", tag=_TAG)
    def list_them(
        target: TargetQuery = None,
        kind: KindQuery = None,
        status: StatusQuery = None,
        since: Since = None,
        until: Until = None,
        size: Size = PAGE_SIZE,
        cursor: Cursor = None,
    ) -> BackupList:
        visit = routes.visit
        wanted = _filter(visit, target, kind, status, since, until)
        page = list_backups(visit.source, wanted, size=size, cursor=cursor, may=visit.may())
        return BackupList(backups=page.backups, next=page.next, unread=page.unread)

    @routes.add("GET", "/api/v1/statistics", summary="Count backups of a period (default: 30 days)", tag=_TAG)
    def count(
        target: TargetQuery = None,
        kind: KindQuery = None,
        status: StatusQuery = None,
        since: Since = None,
        until: Until = None,
    ) -> Statistics:
        visit = routes.visit
        wanted, damaged = _filter(visit, target, kind, status, since, until), list[IntegrityError]()
        found = count_backups(visit.source, wanted, may=visit.may(), damaged=damaged)
        rate = round(found.rate.percent, 2) if status is None and found.runs else None
        return Statistics(
            backups=sum(found.by_status.values()),
            by_status={one.value: found.by_status[one] for one in Status},
            damaged=found.damaged,
            plaintext_bytes=found.plaintext_bytes,
            stored_bytes=found.stored_bytes,
            runs=found.runs,
            success_rate_percent=rate,
            last_backup=found.last,
            unread=unread_of(damaged, visit.may()),
        )


def _register_one(routes: ApiRoutes) -> None:
    @routes.add("POST", PATH, summary="Back a target up now, in the background", tag=_TAG, status=HTTPStatus.ACCEPTED)
    def create(body: NewBackup) -> Answer[Started]:
        return start_backup(routes.visit, body.target, keep=body.keep, full=body.full)

    @routes.add("GET", _ONE, summary="One backup with all that is known of it", tag=_TAG)
    def one(backup_id: BackupId) -> BackupShown:
        visit = routes.visit
        return _shown(one_backup(visit.source, visit.backup(backup_id, Permission.READ)))

    @routes.add("DELETE", _ONE, summary="Plan a deletion, or delete with the plan's token", tag=_TAG)
    def delete(backup_id: BackupId, body: Deletion) -> Deleted:
        visit = routes.visit
        visit.backup(backup_id, Permission.DELETE)
        confirmation = body.confirmation.model_dump(exclude_none=True) if body.confirmation is not None else None
        if confirmation is None and not body.dry_run:
            raise ProblemError(
                409,
                "CONFIRMATION_NEEDED",
                "A deletion needs a confirmation.",
                'Send {"dry_run": true} first; its answer has the plan and a token. Nothing was deleted.',
            )
        answer = ask_deletion(visit, backup_id, dry_run=body.dry_run, force=body.force, confirmation=confirmation)
        return Deleted.model_validate({name: answer[name] for name in Deleted.model_fields if name in answer})


def _register_keeping(routes: ApiRoutes) -> None:
    def keep(backup_id: str, event: dict[str, object], permission: Permission) -> Asked:
        visit = routes.visit
        visit.backup(backup_id, permission)
        return ask_rotate(visit, backup_id, event)

    @routes.add("POST", f"{_ONE}/pin", summary="Keep a backup, however old it is", tag=_TAG)
    def pin(backup_id: BackupId) -> Asked:
        return keep(backup_id, {"pin": backup_id}, Permission.KEEP)

    @routes.add("DELETE", f"{_ONE}/pin", summary="Remove a pin", tag=_TAG)
    def unpin(backup_id: BackupId) -> Asked:
        return keep(backup_id, {"unpin": backup_id}, Permission.KEEP)

    @routes.add("POST", f"{_ONE}/hold", summary="Protect a backup from deletion, for a reason", tag=_TAG)
    def hold(backup_id: BackupId, body: Reason) -> Asked:
        return keep(backup_id, {"hold": backup_id, "reason": body.reason}, Permission.KEEP)

    @routes.add("DELETE", f"{_ONE}/hold", summary="End a hold", tag=_TAG)
    def release(backup_id: BackupId) -> Asked:
        return keep(backup_id, {"release": backup_id}, Permission.DELETE)


def start_backup(visit: Visit, target: str, *, keep: str | None = None, full: bool = False) -> Answer[Started]:
    """Start a backup of a target, unless one of it runs; raises ProblemError and `TargetUnknownError`."""
    kind = visit.target(target, Permission.BACKUP).kind
    backup_id = visit.begin_backup(target, kind, tier=Tier.MANUAL.value, keep=keep, full=full)
    return accepted(backup_id, f"{PATH}/{backup_id}")


def ask_deletion(
    visit: Visit, backup_id: str, *, dry_run: bool, force: bool, confirmation: Mapping[str, str] | None
) -> dict[str, Any]:
    """Ask the function rotate for the plan of a deletion; or delete what a confirmed plan says."""
    asked = {"backup_id": backup_id, "force": force, "dry_run": dry_run}
    event: dict[str, object] = {"delete": {name: value for name, value in asked.items() if value}}
    if confirmation is not None:
        event["confirmation"] = dict(confirmation)
    return visit.console.functions.ask("rotate", event, visit.actor)


def ask_rotate(visit: Visit, run_id: str, event: dict[str, object]) -> Asked:
    """Let the function rotate decide about a backup or a run; what it has no time to finish it continues."""
    try:
        answer = visit.console.functions.ask("rotate", event, visit.actor)
    except LateError:
        return Asked(id=run_id, is_late=True)
    return Asked(id=run_id, backup=answer.get("backup"), restore=answer.get("restore"))


def _filter(
    visit: Visit,
    target: str | None,
    kind: TargetKind | None,
    status: Status | None,
    since: Since,
    until: Until,
) -> Filter:
    if target is not None:
        visit.demand(Permission.READ, target)
    return Filter(target, kind, status, since, until)


def _shown(found: OneBackup) -> BackupShown:
    manifest, backup = found.manifest, found.backup
    is_database = manifest is not None and not manifest.kind.has_objects
    return BackupShown(
        backup=backup,
        versions=Versions(
            server=backup.source_version,
            client=manifest.database.client_version if manifest is not None and is_database else None,
            format=manifest.format if manifest is not None else None,
            encryption=backup.encryption,
            recipients=manifest.recipients if manifest is not None else (),
        ),
        parts=found.parts,
        parts_in_all=found.parts_in_all,
        history=found.history,
        drills=tuple(
            DrillShown.model_validate({name: getattr(drill, name) for name in DrillShown.model_fields})
            for drill in found.drills
        ),
        copies=tuple(copy.model_dump(mode="json") for copy in found.copies),
        usage=found.usage.model_dump(mode="json") if found.usage is not None else None,
        unread=found.unread,
    )
