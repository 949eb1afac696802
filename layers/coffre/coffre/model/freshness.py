"""How fresh backups and copies are: what the level `fresh` of a verification asks, and its answer."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from coffre.model.document import FrozenModel
from coffre.model.kinds import Level


class Checked(StrEnum):
    """What is asked about a target."""

    BACKUP = "backup"
    VERIFIED = "verified"
    COPY = "copy"
    OFFSITE = "offsite"


class Check(FrozenModel):
    """One question and its answer. `last_backup` and its `age_hours` are of the backup that the answer is about.

    `limit_hours` is the age from which it fails; `text` says what is wrong, or why nothing can be asked yet.
    `copy_name` is the copy that `offsite` is about (`copy` is about what the vault has of what the catalog recorded),
    and `code` says what is wrong with it.
    """

    check: Checked
    target: str
    status: Literal["ok", "failed"]
    copy_name: str | None = None
    code: str | None = None
    last_backup: str | None = None
    last_backup_at: datetime | None = None
    age_hours: float | None = None
    limit_hours: float | None = None
    text: str | None = None

    @property
    def is_ok(self) -> bool:
        """Whether nothing has to be done."""
        return self.status == "ok"


class Settled(FrozenModel):
    """A run that died silently, and what its record says now."""

    id: str
    kind: Literal["backup", "restore"]
    target: str
    status: str


class Component(FrozenModel):
    """All checks of one component together: `failed` when one is.

    `last_backup_at` and `age_hours` are of the newest good backup: of the target, or the copy, whose is the oldest.
    None: one of them has none. `not_configured`: there is nothing to ask about.
    """

    status: Literal["ok", "failed", "not_configured"]
    last_backup_at: datetime | None = None
    age_hours: float | None = None


class FreshReport(FrozenModel):
    """The answer of the level `fresh`: 200 when every check is ok, else 500.

    `statusCode` is the same number, under the name that monitors of HTTP expect. The components are None in answers of
    earlier versions.
    """

    level: Literal[Level.FRESH] = Level.FRESH
    status: Literal[200, 500]
    statusCode: Literal[200, 500] | None = None  # noqa: N815 - the name that monitors of HTTP answers know
    database: Component | None = None
    storage: Component | None = None
    offsite: Component | None = None
    checked_at: datetime
    checks: tuple[Check, ...]
    settled: tuple[Settled, ...] = ()
