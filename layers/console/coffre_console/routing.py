"""Routes, each with its permission: one that the table of permissions does not have cannot be registered."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from threading import Lock
from types import UnionType
from typing import Any, Protocol, get_args, get_origin, get_type_hints

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.event_handler import Response as Answer
from aws_lambda_powertools.event_handler.middlewares import NextMiddleware
from pydantic import BaseModel

from coffre.catalog.run_kinds import BACKUP, RESTORE
from coffre.catalog.runs import unknown_run
from coffre.model.any_target import AnyTarget
from coffre.model.audit import Actor
from coffre.model.backup import Backup, Restore
from coffre.model.errors import TargetUnknownError
from coffre.model.kinds import TargetKind
from coffre_console.access.caller import Caller
from coffre_console.access.identify import Refused
from coffre_console.access.permissions import Permission, needed_for
from coffre_console.access.request import Request, Response
from coffre_console.console import Console
from coffre_console.problems import NOT_FOUND, Problem, ProblemError, WrongField, of_refused
from coffre_console.reading.source import May, Source, everyone
from coffre_console.starting import begin_backup

API = "/api/"
_KEY = "visit"
_DOCUMENTED = (400, 401, 403, 404, 409, 415, 422, 429, 500, 503)


class Gate(Protocol):
    """Decides who may do what; `coffre_console.access.gate.Gate` is the one of a deployed console."""

    def caller(self, request: Request, now: datetime) -> Caller | Refused:
        """Return who sent a request, or the answer to it."""

    def enter(self, caller: Caller, method: str, route: str, request: Request, now: datetime) -> Refused | None:
        """Refuse a caller who may do for no target what a route does."""

    def demand(
        self, caller: Caller, needed: Permission, target: str | None, request: Request, now: datetime
    ) -> Refused | None:
        """Refuse a caller who may not do something to this target (None: to all of them)."""

    def login(self, request: Request, now: datetime) -> Response | Refused:
        """Answer GET /login."""

    def callback(self, request: Request, now: datetime) -> Response | Refused:
        """Answer GET /callback."""

    def logout(self, request: Request, now: datetime) -> Response | Refused:
        """Answer POST /logout."""


@dataclass(frozen=True)
class Visit:
    """One request with who sent it (`known`: once that is known), and what it raised."""

    console: Console
    gate: Gate
    request: Request
    now: datetime
    known: list[Caller] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)

    @property
    def caller(self) -> Caller:
        """Who sent it; a route that is open has none."""
        return self.known[0]

    @property
    def actor(self) -> Actor:
        """The caller in the audit, and in the events of functions."""
        return self.caller.actor

    @cached_property
    def source(self) -> Source:
        """What it reads."""
        return self.console.source(self.now)

    def may(self, permission: Permission = Permission.READ) -> May:
        """Return which targets the caller may do something to."""
        if self.caller.may(permission, None):
            return everyone
        return lambda target: self.caller.may(permission, target)

    def demand(self, permission: Permission, target: str | None) -> None:
        """Refuse, with 403 and a record of it, a caller who may not do something to a target (None: to all)."""
        refused = self.gate.demand(self.caller, permission, target, self.request, self.now)
        if refused is not None:
            raise of_refused(refused)

    def target(self, name: str, permission: Permission) -> AnyTarget:
        """Return a configured target to which the caller may do something; raises TargetUnknownError."""
        self.demand(permission, name)
        try:
            return self.source.configuration().target(name)
        except TargetUnknownError as error:
            if self.may() is everyone:
                raise
            raise TargetUnknownError(error.message, hint=error.hint) from error  # its detail names all targets

    def begin_backup(self, target: str, kind: TargetKind, **fields: object) -> str:
        """Start a backup in the name of the caller; raises ProblemError (`BACKUP_RUNNING`) and NotInvokedError."""
        functions = self.console.functions
        return begin_backup(self.source.catalog, functions, target, kind, self.actor, self.now, **fields)

    def backup(self, backup_id: str, permission: Permission) -> Backup:
        """Return a backup to which the caller may do something; raises `BackupStateError` (`BACKUP_UNKNOWN`)."""
        backup = self.source.catalog.get_backup(backup_id)
        self.demand_known(permission, backup.target, unknown_run(BACKUP, backup_id))
        return backup

    def restore(self, restore_id: str, permission: Permission) -> Restore:
        """Return a restore to whose target the caller may do something (`RESTORE_UNKNOWN`)."""
        restore = self.source.catalog.get_restore(restore_id)
        self.demand_known(permission, restore.target, unknown_run(RESTORE, restore_id))
        return restore

    def demand_known(self, permission: Permission, target: str, unknown: Exception) -> None:
        """Refuse what `demand` refuses of a thing that is named by an id; raises `unknown` if its target is hidden.

        To who may not read a target, the ids of what belongs to it are like those that do not exist.
        """
        if self.caller.may(Permission.READ, target):
            self.demand(permission, target)
        elif not self.allows(permission, target):
            raise unknown

    def allows(self, permission: Permission, target: str | None) -> bool:
        """Return whether the caller may do something to a target (None: to all); a refusal is recorded."""
        return self.gate.demand(self.caller, permission, target, self.request, self.now) is None


class Routes:
    """Registers handlers. They ask for `visit`, and what they return is checked against their annotations."""

    def __init__(self) -> None:
        self.resolver = APIGatewayHttpResolver(enable_validation=True)
        self.resolver.exception_handler(Exception)(self._keep)
        self._rules: list[tuple[str, str, re.Pattern[str]]] = []
        self._later: dict[str, Callable[[Routes], None] | None] = {}
        self._lock = Lock()

    @property
    def visit(self) -> Visit:
        """The request that is answered now."""
        visit: Visit = self.resolver.context[_KEY]
        return visit

    def resolve(self, event: dict[str, Any], context: Any, visit: Visit) -> dict[str, Any]:
        """Answer a request, and raise what its route raises.

        Who sent it is asked before anything of it is looked at: who may do nothing learns nothing about fields.
        """
        method, path = self._rule_of(visit.request)
        if needed_for(method, path) is not None:
            self._enter(visit, method, path)
        self.resolver.context[_KEY] = visit
        answer = self.resolver.resolve(event, context)
        if visit.errors:
            raise visit.errors[0]
        return answer

    def _rule_of(self, request: Request) -> tuple[str, str]:
        """Return the route of a request; one without dynamic parts comes first, as the resolver does it."""
        with self._lock:
            found = self._fitting(request)
            if not found:
                self._complete(request.path)
                found = self._fitting(request)
        if not found:
            raise NOT_FOUND
        return request.method, min(found, key=lambda path: "<" in path)

    def _fitting(self, request: Request) -> list[str]:
        return [path for method, path, rule in self._rules if method == request.method and rule.match(request.path)]

    def later(self, below: str, register: Callable[[Routes], None]) -> None:
        """Register more routes when a path below `below` is first asked for that is not known until then.

        Most of a first page's time was spent on importing what other pages need.
        """
        self._later[below] = register

    def _complete(self, path: str) -> None:
        below = max((one for one in self._later if path.startswith(one)), key=len, default="")
        if (register := self._later.get(below)) is not None:
            register(self)
            self._later[below] = None

    def _keep(self, error: Exception) -> Answer[Any]:
        """Keep an error for `resolve`: the resolver would log each with a traceback, or describe it in its own way."""
        self.visit.errors.append(error)
        return Answer(500)

    def add[F: Callable[..., Any]](
        self,
        method: str,
        path: str,
        *,
        summary: str = "",
        tag: str = "",
        status: HTTPStatus = HTTPStatus.OK,
        also: Mapping[int, type[BaseModel]] | None = None,
        kind: str = "application/json",
    ) -> Callable[[F], F]:
        """Register a handler.

        Parameters
        ----------
        path
            As in the table of permissions: `/api/v1/backups/<backup_id>`.
        status
            Of the answer when all is well.
        also
            Further answers of the handler, by status.
        kind
            The content type of the answer when all is well.

        Raises
        ------
        RouteUnknownError
            The table of permissions has no entry.
        """
        needed = needed_for(method, path)
        is_api = path.startswith(API)
        self._rules.append((method, path, self.resolver._compile_regex(path)))

        def checked(app: Any, next_middleware: NextMiddleware) -> Answer[Any]:
            if is_api:
                self._refuse_unknown_fields()
            return next_middleware(app)

        def register(handler: F) -> F:
            documented = {
                code: _documented("application/problem+json", HTTPStatus(code), Problem) for code in _DOCUMENTED
            }
            documented |= {
                code: _documented("application/json", HTTPStatus(code), model) for code, model in (also or {}).items()
            }
            documented[int(status)] = _documented(kind, status, _returned(handler, tuple((also or {}).values())))
            decorate = self.resolver.route(
                path,
                method=method,
                summary=summary or None,
                description=f"Needs the permission `{needed}`." if needed else "Open.",
                tags=[tag] if tag else None,
                include_in_schema=is_api,
                status_code=int(status),
                responses=documented if is_api else None,
                enable_validation=is_api,
                middlewares=[checked],
            )
            return decorate(handler)

        return register

    @staticmethod
    def _enter(visit: Visit, method: str, path: str) -> None:
        found = visit.gate.caller(visit.request, visit.now)
        if isinstance(found, Refused):
            raise of_refused(found)
        refused = visit.gate.enter(found, method, path, visit.request, visit.now)
        if refused is not None:
            raise of_refused(refused)
        visit.known.append(found)

    def _refuse_unknown_fields(self) -> None:
        """Refuse a field of the query that the route does not have: a filter that is misspelt shows everything."""
        route = self.resolver.context["_route"]
        known = {param.alias for param in route.dependant.query_params}
        wrong = tuple(
            WrongField(where=f"query.{name}", what="this field is not known")
            for name in self.visit.request.query
            if name not in known
        )
        if wrong:
            raise ProblemError(
                422,
                "REQUEST_INVALID",
                "The request has fields that this route does not know.",
                f"Known fields: {', '.join(sorted(known)) or 'none'}.",
                errors=wrong,
            )


def _returned(handler: Callable[..., Any], others: tuple[type, ...]) -> Any:
    """Return what a handler's body is when all is well, by its annotation; `others` are documented already."""
    returned = get_type_hints(handler)["return"]
    if get_origin(returned) is Answer:
        [returned] = get_args(returned)
    kept = [one for one in get_args(returned) if one not in others] if isinstance(returned, UnionType) else [returned]
    [found] = kept
    return found


def _documented(kind: str, status: HTTPStatus, model: Any) -> Any:
    return {"description": status.phrase, "content": {kind: {"model": model}}}
