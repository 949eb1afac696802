"""What has to be confirmed before anything in use is overwritten or a backup is deleted (docs/confirmation.md)."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self

from pydantic import BaseModel, Field, model_validator

from coffre.model.audit import Actor
from coffre.model.document import Document, FrozenModel
from coffre.model.words import size

# Ordinary traffic may grow or shrink a database by this factor and this amount while a person reads the plan.
_FACTOR: Final = 2
_SLACK_BYTES: Final = 64 * 1024 * 1024


class Confirmation(Document):
    """The field `confirmation` of an event: which plan, and the name that the plan says, typed by a person.

    A plan is named by its token. One that another person has approved can be named by its id (`plan`) in place of it,
    by who made it: that person may have left while the plan waited.
    """

    token: str | None = Field(default=None, min_length=22, max_length=200, repr=False)
    plan: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    name: str = Field(min_length=1, max_length=1000)

    @model_validator(mode="after")
    def _names_one_plan(self) -> Self:
        if (self.token is None) is (self.plan is None):
            raise ValueError("expected either token or plan")
        return self

    @property
    def plan_id(self) -> str:
        """The id of the plan."""
        return self.plan or token_id(self.token or "")


class Act(StrEnum):
    """What is confirmed. The values begin the actions of audit events: `restore.confirmed`."""

    RESTORE = "restore"
    DELETION = "deletion"
    CONFIGURATION = "configuration"


class Request(FrozenModel):
    """What decides what is overwritten, apart from the state of the destination.

    `scope` is the event's, without `dry_run`; defaults are left out.
    """

    act: Act
    target: str
    backup_id: str
    manifest_sha256: str
    scope: dict[str, Any] = Field({})

    @classmethod
    def of(cls, act: Act, target: str, backup_id: str, manifest_sha256: str | None, scope: BaseModel) -> Self:
        """Return the request for a backup and a scope."""
        said = scope.model_dump(mode="json", exclude_defaults=True, exclude={"dry_run"})
        return cls(act=act, target=target, backup_id=backup_id, manifest_sha256=manifest_sha256 or "", scope=said)

    @property
    def sha256(self) -> str:
        """The hash of all of it."""
        return canonical_sha256(self.model_dump(mode="json"))


class Facts(FrozenModel):
    """The state of a destination, by what a person calls each fact.

    `exact` facts have to stay as they are. `sizes` (bytes) may change as ordinary traffic changes them. `least` are
    numbers that must not fall.
    """

    exact: dict[str, str] = Field({})
    sizes: dict[str, int] = Field({})
    least: dict[str, int] = Field({})

    @property
    def fingerprint(self) -> str:
        """The hash of the exact facts."""
        return canonical_sha256(self.exact)

    def changes(self, now: Facts) -> list[str]:
        """Return what is different now, as sentences without an end; empty when the plan still holds."""
        return [*self.exact_changes(now), *self._size_changes(now), *self._losses(now)]

    def exact_changes(self, now: Facts) -> list[str]:
        """Return the same for the exact facts alone."""
        names = [*self.exact, *(name for name in now.exact if name not in self.exact)]
        return [f"{name} changed" for name in names if self.exact.get(name) != now.exact.get(name)]

    def _size_changes(self, now: Facts) -> list[str]:
        found = []
        for name, before in self.sizes.items():
            after = now.sizes.get(name)
            if after is None:
                found.append(f"{name} cannot be read any more")
            elif not before / _FACTOR - _SLACK_BYTES <= after <= before * _FACTOR + _SLACK_BYTES:
                found.append(f"{name} was {size(before)} and is {size(after)}")
        return found

    def _losses(self, now: Facts) -> list[str]:
        return [
            f"{name}: {now.least.get(name, 0):,}, and {before:,} when the plan was made"
            for name, before in self.least.items()
            if now.least.get(name, 0) < before
        ]


class Overwritten(FrozenModel):
    """What a person loses, or sees kept under another name. Everything that is unknown is None.

    `rows_estimate` is the server's estimate. `newest_row` is the time in the newest row that an index leads to, and
    `newest_row_in` its table and column. `objects_*` count objects of buckets. `remaining_backups` are the target's
    healthy backups after a deletion, and `newest_remaining` the time of the newest of them. `changes` are those of the
    configuration, in words, and `weakens` those of them that may leave less protected.
    """

    database: str | None = None
    size_bytes: int | None = None
    tables: int | None = None
    rows_estimate: int | None = None
    newest_row: str | None = None
    newest_row_in: str | None = None
    objects_overwritten: int | None = None
    objects_deleted: int | None = None
    object_bytes: int | None = None
    backup: str | None = None
    remaining_backups: int | None = None
    newest_remaining: datetime | None = None
    changes: tuple[str, ...] | None = None
    weakens: tuple[str, ...] | None = None


class Seen(FrozenModel):
    """What a look at the destination found: where it is, the name that a person types, its state, what is lost."""

    destination: str
    name: str
    facts: Facts
    overwrites: Overwritten = Overwritten.model_construct()


class Plan(FrozenModel):
    """What would be overwritten by what."""

    request: Request
    seen: Seen

    @property
    def sha256(self) -> str:
        """The hash of the plan as it was shown."""
        return canonical_sha256(self.model_dump(mode="json"))

    @property
    def needs_approval(self) -> bool:
        """Whether it replaces, deletes, or weakens the configuration, which a second person may have to approve."""
        if self.request.act is Act.CONFIGURATION:
            return bool(self.seen.overwrites.weakens)
        scope = self.request.scope
        mode = scope.get("mode")
        return self.request.act is Act.DELETION or bool(scope.get("replace")) or mode in ("overwrite", "mirror")


class IssuedPlan(FrozenModel):
    """A plan whose token was given out. `id` is the SHA-256 of the token, which only its receiver knows.

    `approvals` is how many other people have to approve it, or one of them declines it. `further` are the fields of the
    event that are not part of its scope, such as the secret of a destination.
    """

    id: str
    plan: Plan
    plan_sha256: str
    actor: str
    verified: bool
    made_at: datetime
    expires_at: datetime
    approvals: int = 0
    approved_by: str | None = None
    approved_at: datetime | None = None
    declined_by: str | None = None
    declined_at: datetime | None = None
    declined_because: str | None = None
    further: dict[str, Any] = Field({})

    @property
    def maker(self) -> Actor:
        """Who asked for the plan."""
        return Actor(self.actor, self.verified)

    def is_for(self, plan: Plan, actor: Actor, further: Mapping[str, Any]) -> bool:
        """Return whether a person has asked for this before, and another has to approve it or has done that.

        What would be lost may have been different then.
        """
        is_same = (self.plan.request, self.further) == (plan.request, dict(further))
        is_open = self.approvals > 0 and self.verified and self.declined_by is None
        return is_same and is_open and self.maker.person == actor.person

    def answer(self) -> dict[str, Any]:
        """Return the plan as functions answer it."""
        request, seen = self.plan.request, self.plan.seen
        return {
            "id": self.id,
            "sha256": self.plan_sha256,
            "act": request.act.value,
            "target": request.target,
            "backup_id": request.backup_id,
            "manifest_sha256": request.manifest_sha256,
            "scope": request.scope,
            "destination": seen.destination,
            "name": seen.name,
            "fingerprint": seen.facts.fingerprint,
            "overwrites": seen.overwrites.model_dump(mode="json", exclude_none=True),
            "expires_at": self.expires_at.isoformat(),
            "approvals": self.approvals,
        }


def token_id(token: str) -> str:
    """Return what the catalog keeps of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def is_same_name(typed: str, name: str) -> bool:
    """Return whether a typed name is the name, byte by byte, however a keyboard composes its accents."""
    return unicodedata.normalize("NFC", typed) == unicodedata.normalize("NFC", name)


def canonical_sha256(value: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a JSON object, whatever the order of its fields."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
