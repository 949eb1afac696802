"""Who calls, with what they may do to which targets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

from coffre.model.audit import Actor
from coffre.model.console import Role
from coffre_console.access.permissions import ROLES, WHOLE_STACK, Permission

CallerKind = Literal["person", "key", "workflow"]


@dataclass(frozen=True, slots=True)
class Grant:
    """Permissions for some targets; `targets` None: for all, those of tomorrow too.

    `role` is the role that gives them; None: a key's or a workflow's scope.
    """

    permissions: frozenset[Permission]
    targets: frozenset[str] | None = None
    role: Role | None = None

    @classmethod
    def of_role(cls, role: Role, targets: Iterable[str] | None = None) -> Self:
        """Return what a role gives, for all targets or for these."""
        return cls(ROLES[role], None if targets is None else frozenset(targets), role)

    def gives(self, permission: Permission, target: str | None) -> bool:
        """Return whether it holds for a target; None: for something that is about no target, or about all."""
        if permission not in self.permissions:
            return False
        return self.targets is None or (target in self.targets and permission not in WHOLE_STACK)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: a person, a machine with a key, or a CI job.

    Attributes
    ----------
    name
        Stable and unique, for the audit and for what is bound to one caller (confirmation tokens). Printable.
    shown
        What a page calls the caller: a mail address, a key's label, a repository.
    grants
        What the caller may do. Empty: nothing, though it is known who it is.
    form_token
        What a form of this session has to send back (`csrf_token`); empty for callers without a session.
    session
        The id of the session's record, for /logout; empty for callers without one.
    key
        The id of the API key, if it is one.
    """

    kind: CallerKind
    name: str
    shown: str
    grants: tuple[Grant, ...]
    form_token: str = ""
    session: str = ""
    key: str = ""

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles of a person, for any target, sorted; empty for machines."""
        return tuple(sorted({grant.role for grant in self.grants if grant.role is not None}))

    @property
    def scopes(self) -> tuple[Permission, ...]:
        """All permissions for any target, sorted."""
        return tuple(sorted({one for grant in self.grants for one in grant.permissions}))

    @property
    def actor(self) -> Actor:
        """The caller as an actor of the audit: it is proven who it is."""
        return Actor(self.name, verified=True)

    def may(self, permission: Permission, target: str | None = None) -> bool:
        """Return whether the caller may do something to a target; None: to all targets together, or to the stack."""
        return any(grant.gives(permission, target) for grant in self.grants)

    def may_somewhere(self, permission: Permission) -> bool:
        """Return whether the caller may do something to at least one target: whether a route is open to them."""
        if permission in WHOLE_STACK:
            return self.may(permission)
        return any(permission in grant.permissions and grant.targets != frozenset() for grant in self.grants)
