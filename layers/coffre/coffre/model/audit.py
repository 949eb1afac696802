"""The audit: who did what, when, from where and with which result, as one link of a chain."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

type AuditResult = Literal["done", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: the name of a person (an ARN) or of a function.

    `verified` is False when the caller alone claims to be it.
    """

    name: str
    verified: bool = False


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing that a person or a function did, or was refused.

    `action` is a noun and a verb (`restore.started`), `subject` the id of what it was done to (a backup, a restore),
    `detail` a sentence for a person, `origin` from where it came (a function or the command, and the region). Never a
    secret.
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
