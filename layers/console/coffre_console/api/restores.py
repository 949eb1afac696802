"""Restores: a dry run with its plan, then the restore with the plan's token. The function decides, not the console."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import Response as Answer
from pydantic import ConfigDict, Field

from coffre.model.audit import Actor
from coffre.model.backup import Backup, Restore, Status
from coffre.model.confirmation import Act, Confirmation, Plan, Request
from coffre.model.copies import DESTINATION_NAME
from coffre.model.errors import ConfirmationError
from coffre.model.restore import Scope
from coffre.model.restore_report import RestoreReport
from coffre.model.storage import StorageScope
from coffre.model.tier import Tier
from coffre.operations.stored_backup.open_backup import refuse_unrestorable
from coffre.operations.stored_backup.read_copies import as_read
from coffre.policy.confirmation import refuse_unconfirmed
from coffre.runtime.confirming import needed
from coffre.runtime.events.restore import RestoreEvent, StorageRestoreEvent, parse_restore
from coffre_console.access.permissions import Permission
from coffre_console.api.answers import (
    BackupId,
    Cursor,
    RestoreId,
    RestoreList,
    Shown,
    Size,
    Started,
    TargetQuery,
    accepted,
    new_id,
)
from coffre_console.api.backups import PATH, StatusQuery
from coffre_console.api.routes import ApiRoutes
from coffre_console.fields import ULID_PATTERN
from coffre_console.problems import ProblemError
from coffre_console.reading.backups import PAGE_SIZE
from coffre_console.reading.runs import list_restores, one_restore
from coffre_console.routing import Visit

RESTORES = "/api/v1/restores"
_TAG = "restores"
_NOT_IN_EVENT = {"storage", "safety_backup", "dry_run_id", "confirmation", "destination", "streams", "source"}


class RestoreWanted(Scope):
    """What is restored, and how: the fields of the function's event (`events/restore/`).

    First with `dry_run`. Then the same with the dry run's id in `dry_run_id`: the answer has the plan and a token. Then
    the same without both, with token and name in `confirmation`. What overwrites nothing needs no token.
    `destination` names the secret of a database; without it the target's own is meant. `storage` is for buckets.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, title="RestoreWanted", defer_build=True
    )

    destination: str | None = Field(default=None, pattern=r"^coffre/destination/[A-Za-z0-9/_+=.@-]{1,200}$")
    streams: int | None = Field(default=None, ge=1, le=16)
    source: str | None = Field(default=None, pattern=DESTINATION_NAME, description="`vault`, or the name of a copy.")
    storage: StorageScope | None = None
    safety_backup: bool = Field(
        default=False, description="Only back up what this restore would overwrite (SAFETY), and restore nothing."
    )
    dry_run_id: str | None = Field(default=None, pattern=ULID_PATTERN)
    confirmation: Confirmation | None = None

    @property
    def needs_plan(self) -> bool:
        """Whether something in use may be overwritten or deleted."""
        return self.storage.touches if self.storage is not None else self.overwrites


class RestoreShown(Shown):
    """A restore with its report, which exists once it has ended well; that of a dry run has the plan."""

    restore: Restore
    report: RestoreReport | None


class PlanShown(Shown):
    """What a restore would overwrite, and the token that confirms it: for 10 minutes, once, for who asked.

    Without a token it is a plan that waits for a second person since an earlier dry run (`/api/v1/approvals`).
    """

    plan: dict[str, Any]
    token: str | None


def register(routes: ApiRoutes) -> None:
    """Register the routes."""

    @routes.add("GET", RESTORES, summary="List restores, newest first", tag=_TAG)
    def list_them(
        target: TargetQuery = None, status: StatusQuery = None, size: Size = PAGE_SIZE, cursor: Cursor = None
    ) -> RestoreList:
        visit = routes.visit
        if target is not None:
            visit.demand(Permission.READ, target)
        page = list_restores(visit.source, target=target, status=status, size=size, cursor=cursor, may=visit.may())
        return RestoreList(restores=page.restores, next=page.next, unread=page.unread)

    @routes.add("GET", f"{RESTORES}/<restore_id>", summary="One restore with its report", tag=_TAG)
    def one(restore_id: RestoreId) -> RestoreShown:
        visit = routes.visit
        found = one_restore(visit.source, visit.restore(restore_id, Permission.READ))
        return RestoreShown(restore=found.restore, report=found.report)

    @routes.add(
        "POST",
        f"{PATH}/<backup_id>/restore",
        summary="Dry run of a restore, its plan, or the restore",
        tag=_TAG,
        status=HTTPStatus.ACCEPTED,
        also={200: PlanShown},
    )
    def restore(backup_id: BackupId, body: RestoreWanted) -> Answer[Started | PlanShown]:
        visit = routes.visit
        backup = visit.backup(backup_id, permission_of(body))
        refuse_unrestorable(as_read(visit.source.catalog, backup, body.source))
        return restore_or_plan(visit, backup, body)


def permission_of(wanted: RestoreWanted) -> Permission:
    """Return what a restore needs: a part of a backup, in the target's own place, or all that restores can do.

    A condition in SQL runs with the privileges of the database's owner, and without a SAFETY backup nothing comes back.
    """
    if wanted.storage is not None:
        is_part = wanted.storage.is_listed or bool(wanted.storage.prefix)
        is_simple = wanted.storage.to is None and not wanted.storage.no_safety
        return Permission.RESTORE if is_part and is_simple else Permission.RESTORE_ALL
    is_sql = wanted.rows is not None and wanted.rows.where is not None
    is_simple = wanted.destination is None and not (wanted.no_safety or wanted.restart or wanted.swap or is_sql)
    return Permission.RESTORE if wanted.tables and is_simple else Permission.RESTORE_ALL


def restore_or_plan(visit: Visit, backup: Backup, body: RestoreWanted) -> Answer[Started | PlanShown]:
    """Start a restore or a dry run of it, or answer with the plan of a dry run that has ended."""
    if body.safety_backup:
        safety_id = visit.begin_backup(backup.target, backup.kind, tier=Tier.SAFETY.value)
        return accepted(safety_id, f"{PATH}/{safety_id}")  # type: ignore[return-value]
    restore_id = body.dry_run_id or new_id(visit.now)
    event = event_of(backup, body, restore_id)
    parsed = parse_restore(event)
    if not isinstance(parsed, RestoreEvent | StorageRestoreEvent):
        raise TypeError("an event with a backup is one of these two")
    if body.dry_run_id is not None:
        return _plan(visit, backup, parsed, event, body.dry_run_id)
    if parsed.overwrites and not parsed.dry_run:
        _refuse_unconfirmed(visit, backup, parsed)
    visit.console.functions.start("restore", event, visit.actor)
    return accepted(restore_id, f"{RESTORES}/{restore_id}")  # type: ignore[return-value]


def event_of(backup: Backup, body: RestoreWanted, restore_id: str) -> dict[str, Any]:
    """Return the event of the function `restore`, as the command sends it."""
    event: dict[str, Any] = {"backup_id": backup.id, "restore_id": restore_id}
    if body.confirmation is not None:
        event["confirmation"] = body.confirmation.model_dump(exclude_none=True)
    if body.source is not None:
        event["from"] = body.source
    chosen = body.model_dump(mode="json", exclude_defaults=True, exclude=_NOT_IN_EVENT)
    if body.storage is not None:
        storage = body.storage.model_dump(mode="json", exclude_defaults=True)
        if chosen.pop("dry_run", False):  # it may be said at either place
            storage["dry_run"] = True
        return {**event, **chosen, "storage": storage}
    places = {"destination": body.destination, "streams": body.streams}
    return {**event, **chosen, **{name: value for name, value in places.items() if value is not None}}


def _plan(
    visit: Visit, backup: Backup, parsed: RestoreEvent | StorageRestoreEvent, event: dict[str, Any], dry_run_id: str
) -> Answer[Started | PlanShown]:
    """Answer with the plan of a dry run, or that it runs. The function gives the token out, and to whom it says."""
    known = visit.restore(dry_run_id, Permission.READ)
    if not (parsed.dry_run and known.dry_run and known.backup_id == backup.id):
        raise ProblemError(
            409,
            "CONFIRMATION_MISMATCH",
            f"{dry_run_id} is no dry run of this restore.",
            "Send the dry run again, with dry_run and without dry_run_id. Nothing was changed.",
        )
    if known.status is Status.IN_PROGRESS:
        return accepted(dry_run_id, f"{RESTORES}/{dry_run_id}")  # type: ignore[return-value]
    if known.status is not Status.COMPLETED:
        failure = known.failure
        raise ProblemError(
            409,
            failure.code if failure else "RESTORE_FAILED",
            failure.message if failure else "The dry run failed.",
            failure.hint if failure else None,
        )
    if not parsed.overwrites:
        raise ProblemError(
            409,
            "NO_CONFIRMATION_NEEDED",
            "This restore overwrites nothing, so it has no token.",
            "Send it without dry_run and dry_run_id.",
        )
    answer = visit.console.functions.ask("restore", event, visit.actor)
    return Answer(200, "application/json", PlanShown(plan=answer["plan"], token=answer["token"]))


def _refuse_unconfirmed(visit: Visit, backup: Backup, parsed: RestoreEvent | StorageRestoreEvent) -> None:
    """Refuse what the function would refuse, as far as the catalog shows that: who asks waits for a clear answer.

    Nothing is decided here: the function looks at the destination itself, and takes the token.
    """
    if parsed.confirmation is None:
        raise needed(parsed.place, parsed.model_dump(mode="json", exclude_defaults=True))
    issued = visit.source.catalog.confirmations.find(parsed.confirmation.plan_id)
    if issued is None:
        raise ConfirmationError(
            "The confirmation is not valid: its token was used, has expired, or was never given out.",
            code="CONFIRMATION_INVALID",
            hint="Make the dry run again: its answer has a new plan and a new token. Nothing was changed.",
        )
    request = Request.of(Act.RESTORE, backup.target, backup.id, backup.manifest_sha256, parsed.scope)
    now_seen = Plan(request=request, seen=issued.plan.seen)
    is_own = Actor(issued.actor).person in (visit.actor.person, Actor.in_console(visit.actor.name).person)
    actor = Actor(issued.actor if is_own else visit.actor.name, verified=True)
    refuse_unconfirmed(issued, now_seen, parsed.confirmation, actor, visit.now, approvals=0)
