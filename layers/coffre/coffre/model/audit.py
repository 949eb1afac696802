"""The audit: who did what, when, from where and with which result, as links of chains (docs/audit.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import AwareDatetime, Field

from coffre.model.document import Document

type AuditResult = Literal["done", "refused", "failed"]

NO_TARGET: Final = "-"
"""The shard of events that are not about a single target. No target can have this name."""
KEY_OPENED: Final = "key.opened"
"""The action for a private key that was seen to open a backup; its subject is the public key."""
_IN_CONSOLE: Final = " (console)"
_SHOWN: Final = re.compile(r"^(\S+) \(.*\)( \(console\))$", re.DOTALL)
FIRST_PREVIOUS: Final = "0" * 64
"""What the first event of a chain names as the hash of the event before it."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: the name of a person (an ARN) or of a function.

    `verified` is False when the caller alone claims to be it.
    """

    name: str
    verified: bool = False

    @classmethod
    def in_console(cls, name: str) -> Self:
        """Return a person whom the console has named: no one who signs in there can look like an ARN."""
        return cls(f"{name}{_IN_CONSOLE}", verified=True)

    @property
    def person(self) -> str:
        """The name to compare: what the console shows of a person (an address of mail) is not who it is."""
        return _SHOWN.sub(r"\1\2", self.name)

    @property
    def is_of_console(self) -> bool:
        """Whether the console has named it."""
        return self.name.endswith(_IN_CONSOLE)


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing that a person or a function did, or was refused.

    `action` is a noun and a verb (`restore.started`), `subject` the id of what it was done to (a backup, a restore),
    `detail` a sentence for a person, `origin` from where it came (a function or the command, and the region). Never a
    secret. `at` is the clock of the process that recorded it, and proves no order.

    The place in the chain is `shard` (the target, or `NO_TARGET`) and `sequence` (from 1, without gaps); `previous` and
    `hash` are SHA-256 in lower-case hex. Events of versions before the chain have none of the four.
    """

    id: str
    at: datetime
    actor: str
    action: str
    target: str | None = None
    subject: str | None = None
    detail: str | None = None
    verified: bool = False
    result: AuditResult = "done"
    origin: str | None = None
    shard: str | None = None
    sequence: int | None = None
    previous: str | None = None
    hash: str | None = None


class Head(Document):
    """How far a chain is: its newest event's number and hash."""

    shard: str
    sequence: int = Field(ge=1)
    hash: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Anchor(Document):
    """The heads of all chains at one time, kept where the writers of the chains cannot change them.

    `id` is a ULID; `previous` is that of the anchor before, None for the first.
    """

    format: Literal[1] = 1
    id: str
    at: AwareDatetime
    previous: str | None = None
    heads: tuple[Head, ...]
