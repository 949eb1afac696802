"""Routes, each with its permission: one that the table of permissions does not have cannot be registered.

What checks and describes the API's fields is of the API alone (`api/routes.py`): a start that shows a page has no use
for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from threading import Lock
from typing import Any, Final, Protocol

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
from coffre_console.problems import NOT_FOUND, of_refused
from coffre_console.reading.source import May, Source, everyone

API: Final = "/api/"
_PART: Final = re.compile(r"[-._~()'!*:@,;=+&$%<> \[\]{}|^\w]+")  # what the API's resolver takes, too


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
    """One request with who sent it (`known`: once that is known)."""

    console: Console
    gate: Gate
    request: Request
    now: datetime
    known: list[Caller] = field(default_factory=list)

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
        from coffre_console.starting import begin_backup

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


type Answering = Callable[[Visit, Mapping[str, str]], dict[str, Any]]
"""Answers a request whose path has these parts, in the payload format 2.0 of an HTTP API."""


@dataclass(frozen=True, slots=True)
class Route:
    """One route; `path` is as in the table of permissions: `/backups/<backup_id>`."""

    method: str
    path: str
    answer: Answering

    def parts_of(self, path: str) -> dict[str, str] | None:
        """Return what a path has in the places of the names; None: it is another route's."""
        names, texts = self.path.split("/"), path.split("/")
        if len(names) != len(texts):
            return None
        parts = {}
        for name, text in zip(names, texts, strict=True):
            if name.startswith("<") and _PART.fullmatch(text):
                parts[name[1:-1]] = text
            elif name != text:
                return None
        return parts


class Routes:
    """The routes of pages and of the API."""

    def __init__(self) -> None:
        self._routes: list[Route] = []
        self._later: dict[str, Callable[[Routes], None] | None] = {}
        self._lock = Lock()

    @property
    def registered(self) -> frozenset[str]:
        """The routes that are registered by now: `GET /backups`."""
        return frozenset(f"{one.method} {one.path}" for one in self._routes)

    def add(self, method: str, path: str, answer: Answering) -> None:
        """Register a route; raises RouteUnknownError where the table of permissions has no entry."""
        needed_for(method, path)
        self._routes.append(Route(method, path, answer))

    def later(self, below: str, register: Callable[[Routes], None]) -> None:
        """Register more routes when a path below `below` is first asked for that is not known until then.

        Most of a first page's time was spent on importing what other pages need.
        """
        self._later[below] = register

    def resolve(self, visit: Visit) -> dict[str, Any]:
        """Answer a request, and raise what its route raises.

        Who sent it is asked before anything of it is looked at: who may do nothing learns nothing about fields.
        """
        route, parts = self.of(visit.request)
        if needed_for(route.method, route.path) is not None:
            _enter(visit, route)
        return route.answer(visit, parts)

    def of(self, request: Request) -> tuple[Route, Mapping[str, str]]:
        """Return the route of a request, one without names first, and the parts of the path; raises ProblemError."""
        with self._lock:
            found = self._fitting(request)
            if not found:
                self._complete(request.path)
                found = self._fitting(request)
        if not found:
            raise NOT_FOUND
        return min(found, key=lambda one: len(one[1]))

    def _fitting(self, request: Request) -> list[tuple[Route, Mapping[str, str]]]:
        fitting = ((route, route.parts_of(request.path)) for route in self._routes if route.method == request.method)
        return [(route, parts) for route, parts in fitting if parts is not None]

    def _complete(self, path: str) -> None:
        below = max((one for one in self._later if path.startswith(one)), key=len, default="")
        if (register := self._later.get(below)) is not None:
            register(self)
            self._later[below] = None


def _enter(visit: Visit, route: Route) -> None:
    found = visit.gate.caller(visit.request, visit.now)
    if isinstance(found, Refused):
        raise of_refused(found)
    refused = visit.gate.enter(found, route.method, route.path, visit.request, visit.now)
    if refused is not None:
        raise of_refused(refused)
    visit.known.append(found)
