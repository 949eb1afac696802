"""What may be done, which route does it, and who may: one table of each. A route without an entry cannot be registered.

A role holds for all targets, or for those that the configuration names (docs/console.md). Machines have scopes, which
are permissions too, and never those of `NOT_FOR_MACHINES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

from coffre.model.api_key import ApiScope
from coffre.model.console import Role


class Permission(StrEnum):
    """One thing that a caller may do, to all targets or to some.

    `READ` is everything but rows and objects themselves: names, sizes, results, alerts, reports. `RESTORE` restores
    rows, tables and objects; `RESTORE_ALL` whole backups. `EXPORT` takes rows and objects out of the stack.
    `SESSIONS` sees and ends those of others.
    """

    READ = "backup:read"
    METRICS = "metrics:read"
    BACKUP = "backup:run"
    CANCEL = "backup:cancel"
    KEEP = "backup:keep"
    VERIFY = "verify:run"
    DRILL = "drill:run"
    RESTORE = "restore:part"
    RESTORE_ALL = "restore:all"
    EXPORT = "backup:export"
    DELETE = "backup:delete"
    ALERTS = "alerts:test"
    AUDIT = "audit:read"
    KEYS = "keys:manage"
    SESSIONS = "sessions:end"


_VIEWER: Final = frozenset({Permission.READ, Permission.METRICS})
_OPERATOR: Final = _VIEWER | {
    Permission.BACKUP,
    Permission.CANCEL,
    Permission.KEEP,
    Permission.VERIFY,
    Permission.DRILL,
    Permission.ALERTS,
    Permission.AUDIT,
}

ROLES: Final[Mapping[Role, frozenset[Permission]]] = MappingProxyType(
    {
        "viewer": _VIEWER,
        "operator": _OPERATOR,
        "restorer": _VIEWER | {Permission.RESTORE},
        "admin": frozenset(Permission),
    }
)
"""Role -> its permissions. A person may have several roles, each with targets of its own."""

SCOPES: Final = frozenset(Permission(scope) for scope in ApiScope)
"""What an API key can be made for."""
WORKFLOW_SCOPES: Final = frozenset({Permission.BACKUP})
"""What a CI job can be trusted with that brings a token of its forge and no key."""
NOT_FOR_MACHINES: Final = frozenset(Permission) - SCOPES

WHOLE_STACK: Final = frozenset({Permission.ALERTS, Permission.AUDIT, Permission.KEYS, Permission.SESSIONS})
"""Permissions that are about no target: only a role for all targets gives them."""

OPEN: Final = "open"
"""A route that needs no caller: it shows nothing of a stack and starts nothing."""

ROUTES: Final[Mapping[str, Permission | Literal["open"]]] = MappingProxyType(
    {
        # Signing in. /logout ends the session that the request brings, if it brings one.
        "GET /login": OPEN,
        "GET /callback": OPEN,
        "POST /logout": OPEN,
        "GET /assets/<name>": OPEN,
        "GET /language": OPEN,
        # The API.
        "GET /api/v1/openapi.json": OPEN,
        "GET /api/v1/status": Permission.READ,
        "GET /api/v1/targets": Permission.READ,
        "GET /api/v1/targets/<target>/journal": Permission.READ,
        "GET /api/v1/objectives": Permission.READ,
        "GET /api/v1/statistics": Permission.READ,
        "GET /api/v1/backups": Permission.READ,
        "POST /api/v1/backups": Permission.BACKUP,
        "GET /api/v1/backups/<backup_id>": Permission.READ,
        "DELETE /api/v1/backups/<backup_id>": Permission.DELETE,
        "POST /api/v1/backups/<backup_id>/cancel": Permission.CANCEL,
        "POST /api/v1/backups/<backup_id>/pin": Permission.KEEP,
        "DELETE /api/v1/backups/<backup_id>/pin": Permission.KEEP,
        "POST /api/v1/backups/<backup_id>/hold": Permission.KEEP,
        "DELETE /api/v1/backups/<backup_id>/hold": Permission.DELETE,
        "POST /api/v1/backups/<backup_id>/restore": Permission.RESTORE,
        "POST /api/v1/backups/<backup_id>/download": Permission.EXPORT,
        "GET /api/v1/backups/<backup_id>/download": Permission.EXPORT,
        "POST /api/v1/backups/<backup_id>/verify": Permission.VERIFY,
        "POST /api/v1/backups/<backup_id>/drill": Permission.DRILL,
        "GET /api/v1/runs": Permission.READ,
        "GET /api/v1/restores": Permission.READ,
        "GET /api/v1/restores/<restore_id>": Permission.READ,
        "POST /api/v1/restores/<restore_id>/cancel": Permission.RESTORE,
        "GET /api/v1/approvals": Permission.RESTORE,
        "GET /api/v1/approvals/<plan_id>": Permission.RESTORE,
        "POST /api/v1/approvals/<plan_id>/approve": Permission.RESTORE,
        "POST /api/v1/approvals/<plan_id>/decline": Permission.RESTORE,
        "POST /api/v1/approvals/<plan_id>/run": Permission.RESTORE,
        "GET /api/v1/reports": Permission.READ,
        "GET /api/v1/alerts": Permission.READ,
        "POST /api/v1/alerts/test": Permission.ALERTS,
        "GET /api/v1/audit": Permission.AUDIT,
        "GET /api/v1/keys": Permission.KEYS,
        "POST /api/v1/keys": Permission.KEYS,
        "POST /api/v1/keys/<key_id>/rotate": Permission.KEYS,
        "DELETE /api/v1/keys/<key_id>": Permission.KEYS,
        # One's own sessions; those of others are asked for by the handler.
        "GET /api/v1/sessions": Permission.READ,
        "DELETE /api/v1/sessions/<session_id>": Permission.READ,
        "GET /api/v1/metrics": Permission.METRICS,
        # What machines start.
        "POST /api/v1/trigger/backup-database": Permission.BACKUP,
        "POST /api/v1/trigger/backup-buckets": Permission.BACKUP,
        "POST /api/v1/trigger/verify": Permission.VERIFY,
        # Pages.
        "GET /": Permission.READ,
        "GET /backups": Permission.READ,
        "GET /journal": Permission.READ,
        "GET /backups/new": Permission.BACKUP,
        "POST /backups/new": Permission.BACKUP,
        "GET /backups/<backup_id>": Permission.READ,
        "GET /backups/<backup_id>/cancel": Permission.CANCEL,
        "POST /backups/<backup_id>/cancel": Permission.CANCEL,
        "GET /backups/<backup_id>/verify": Permission.VERIFY,
        "POST /backups/<backup_id>/verify": Permission.VERIFY,
        "GET /backups/<backup_id>/drill": Permission.DRILL,
        "POST /backups/<backup_id>/drill": Permission.DRILL,
        "GET /backups/<backup_id>/pin": Permission.KEEP,
        "POST /backups/<backup_id>/pin": Permission.KEEP,
        "GET /backups/<backup_id>/unpin": Permission.KEEP,
        "POST /backups/<backup_id>/unpin": Permission.KEEP,
        "GET /backups/<backup_id>/hold": Permission.KEEP,
        "POST /backups/<backup_id>/hold": Permission.KEEP,
        "GET /backups/<backup_id>/release": Permission.DELETE,
        "POST /backups/<backup_id>/release": Permission.DELETE,
        "GET /backups/<backup_id>/delete": Permission.DELETE,
        "POST /backups/<backup_id>/delete": Permission.DELETE,
        "GET /backups/<backup_id>/restore": Permission.RESTORE,
        "POST /backups/<backup_id>/restore": Permission.RESTORE,
        "GET /backups/<backup_id>/download": Permission.EXPORT,
        "POST /backups/<backup_id>/download": Permission.EXPORT,
        "GET /backups/<backup_id>/contents": Permission.READ,
        "GET /backups/<backup_id>/drills/<drill_id>": Permission.READ,
        "GET /points/<point_id>": Permission.READ,
        "GET /diff": Permission.READ,
        "GET /targets": Permission.READ,
        "GET /running": Permission.READ,
        "GET /restores": Permission.READ,
        "GET /restores/<restore_id>": Permission.READ,
        "GET /restores/<restore_id>/cancel": Permission.RESTORE,
        "POST /restores/<restore_id>/cancel": Permission.RESTORE,
        # Who has made a plan, or may do alone what it does: asked for each plan.
        "GET /approvals": Permission.RESTORE,
        "GET /approvals/<plan_id>": Permission.RESTORE,
        "POST /approvals/<plan_id>": Permission.RESTORE,
        "GET /alerts": Permission.READ,
        "GET /alerts/test": Permission.ALERTS,
        "POST /alerts/test": Permission.ALERTS,
        "GET /audit": Permission.AUDIT,
        "GET /report": Permission.READ,
        "GET /settings": Permission.READ,
        # One's own sessions; those of others are asked for by the page itself.
        "GET /sessions": Permission.READ,
        "GET /sessions/end": Permission.READ,
        "POST /sessions/end": Permission.READ,
        "GET /keys": Permission.KEYS,
        "POST /keys": Permission.KEYS,
        "GET /keys/<key_id>/rotate": Permission.KEYS,
        "POST /keys/<key_id>/rotate": Permission.KEYS,
        "GET /keys/<key_id>/revoke": Permission.KEYS,
        "POST /keys/<key_id>/revoke": Permission.KEYS,
    }
)
"""`METHOD /path` as the route is registered -> what it needs. A route's handler asks again about the target."""


ACTS: Final = frozenset({"GET /api/v1/backups/<backup_id>/download"})
"""Routes that do something though their method says that they only read: a link elsewhere must not lead to them."""


class RouteUnknownError(LookupError):
    """A route is registered that the table does not have."""


def needed_for(method: str, route: str) -> Permission | None:
    """Return what a route needs, None for a route that is open; call it where the route is registered.

    Raises
    ------
    RouteUnknownError
        The table has no entry: nothing is served before one is written.
    """
    try:
        entry = ROUTES[f"{method.upper()} {route}"]
    except KeyError:
        raise RouteUnknownError(
            f"{method.upper()} {route} has no entry in coffre_console/access/permissions.py"
        ) from None
    return None if entry == OPEN else Permission(entry)
