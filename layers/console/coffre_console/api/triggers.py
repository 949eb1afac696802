"""What machines start: a request without a body is enough, from any cron."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from aws_lambda_powertools.event_handler import Response as Answer
from aws_lambda_powertools.event_handler.openapi.params import Query

from coffre.model.any_target import is_gone
from coffre_console.access.permissions import Permission
from coffre_console.api.answers import Started, TargetQuery, accepted
from coffre_console.api.backups import PATH, start_backup
from coffre_console.api.routes import ApiRoutes
from coffre_console.problems import ProblemError
from coffre_console.routing import Visit

_TAG = "triggers"
_TRIGGER = "/api/v1/trigger"
_KEEP = r"^[1-9][0-9]{0,4}[hdw]$"
KeepQuery = Annotated[str | None, Query(pattern=_KEEP, description="12h, 7d, 4w: rotation may delete it after that.")]


def register(routes: ApiRoutes) -> None:
    """Register the routes."""
    in_background = HTTPStatus.ACCEPTED

    @routes.add("POST", f"{_TRIGGER}/backup-database", summary="Back a database up", tag=_TAG, status=in_background)
    def backup_database(target: TargetQuery = None, keep: KeepQuery = None) -> Answer[Started]:
        visit = routes.visit
        return start_backup(visit, _only(visit, Permission.BACKUP, target, of_objects=False), keep=keep)

    @routes.add("POST", f"{_TRIGGER}/backup-buckets", summary="Back buckets up", tag=_TAG, status=in_background)
    def backup_buckets(target: TargetQuery = None, keep: KeepQuery = None) -> Answer[Started]:
        visit = routes.visit
        return start_backup(visit, _only(visit, Permission.BACKUP, target, of_objects=True), keep=keep)

    @routes.add("POST", f"{_TRIGGER}/verify", summary="Verify the newest backup", tag=_TAG, status=in_background)
    def verify(target: TargetQuery = None) -> Answer[Started]:
        visit = routes.visit
        name = _only(visit, Permission.VERIFY, target, of_objects=None)
        newest = visit.source.catalog.latest_completed(name)
        if newest is None:
            raise ProblemError(409, "NO_BACKUP", f"{name} has no good backup.", f"Take one: POST {PATH}")
        event = {"level": "read", "backup_id": newest.id}
        visit.console.functions.start("verify", event, visit.actor)
        return accepted(newest.id, f"{PATH}/{newest.id}")


def _only(visit: Visit, permission: Permission, target: str | None, *, of_objects: bool | None) -> str:
    """Return the target that is named, or the only one for which the caller has the permission."""
    if target is not None:
        found = visit.target(target, permission)
        if of_objects is not None and found.kind.has_objects is not of_objects:
            other = "backup-buckets" if found.kind.has_objects else "backup-database"
            raise ProblemError(
                422, "TARGET_KIND", f"{target} is a target of the kind {found.kind}.", f"POST {_TRIGGER}/{other}"
            )
        return target
    existing = [one for one in visit.source.configuration().targets if not is_gone(one)]
    possible = [one for one in existing if of_objects in (None, one.kind.has_objects)]
    names = [one.name for one in possible if visit.caller.may(permission, one.name)]
    if len(names) != 1:
        raise ProblemError(
            422,
            "TARGET_NEEDED",
            f"{len(names)} targets could be meant.",
            f"Name one: ?target={names[0] if names else 'NAME'}",
        )
    return names[0]
