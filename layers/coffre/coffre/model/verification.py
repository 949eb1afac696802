"""What a verification read and found: answers of the function `verify` (that of `fresh` is in `freshness`)."""

from __future__ import annotations

from datetime import date, datetime
from hashlib import sha256
from math import isqrt
from typing import Literal

from pydantic import Field

from coffre.model.document import FrozenModel
from coffre.model.errors import IntegrityError
from coffre.model.kinds import Level as Level
from coffre.model.rotation import Amount, Problem

_LISTED = 20
# What a restore finds though every stored byte is as it was recorded: reading alone cannot say that it is mended.
FOUND_BY_RESTORING = frozenset({"ROWS_DIFFER", "OBJECTS_DIFFER"})


class Share(FrozenModel):
    """One of `parts` about equal shares of all packs: another one each day, so that `parts` days see every pack."""

    parts: int = Field(ge=1)
    day: int

    @classmethod
    def of_day(cls, share: float, day: date) -> Share:
        """Return the share of a day; 1.0 is everything, 0.1 about a tenth.

        The number of shares is prime: who looks every second or third day gets to all of them too.
        """
        parts = max(1, round(1 / share))
        while any(parts % divisor == 0 for divisor in range(2, isqrt(parts) + 1)):
            parts += 1
        return cls(parts=parts, day=day.toordinal())

    def holds(self, pack: str) -> bool:
        """Return whether a pack is looked at on this day."""
        return int.from_bytes(sha256(pack.encode()).digest()[:8]) % self.parts == self.day % self.parts

    def __str__(self) -> str:
        return "all" if self.parts == 1 else f"1/{self.parts}"


class Damage(FrozenModel):
    """Something of a backup that is not as it was recorded.

    With `offset` and `length`, one frame of `pack`; with `pack` alone, all of that pack; without, the backup's own
    records. `packs` are those that the next backup must not point at.
    """

    code: str
    text: str
    pack: str | None = None
    offset: int | None = None
    length: int | None = None
    entry: str | None = None
    packs: tuple[str, ...] = ()

    @classmethod
    def of(cls, error: IntegrityError, **where: object) -> Damage:
        """Describe an error with where it was found."""
        text = f"{error.message} {error.detail}" if error.detail else error.message
        return cls.model_validate({"code": error.code, "text": text, "pack": error.pack, **where})

    @classmethod
    def of_frame(cls, error: IntegrityError) -> Damage:
        """Describe an error with the frame that it is about, if it is about one: others can refer to it too."""
        if error.frame is None:
            return cls.of(error)
        pack, offset, length = error.frame
        if error.code == "PACK_MISSING":
            return cls.of(error, pack=pack)
        return cls.of(error, pack=pack, offset=offset, length=length)


class DamageReport(FrozenModel):
    """Everything that is known to be wrong with one backup. The vault keeps it with the backup's records.

    `packs` are those that later backups do not point at; `damages` are the first of `total`.
    """

    backup_id: str
    target: str
    found_at: datetime
    level: Level
    total: int = 0
    damages: tuple[Damage, ...] = ()
    packs: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The worst finding in a sentence or two."""
        if not self.damages:
            return "nothing is known to be wrong"
        more = f" And {self.total - 1:,} more." if self.total > 1 else ""
        code = "" if self.level is Level.DRILL else f" [{self.damages[0].code}]"
        return f"{self.damages[0].text}{code}{more}"

    @property
    def is_of_stored_bytes(self) -> bool:
        """Whether stored bytes are known to be wrong, and nothing that reading them cannot see."""
        return self.total > 0 and not any(damage.code in FOUND_BY_RESTORING for damage in self.damages)

    @classmethod
    def on(cls, backup_id: str, target: str, level: Level, found_at: datetime, damages: list[Damage]) -> DamageReport:
        """Put together what was found."""
        packs = {pack for damage in damages for pack in (damage.pack, *damage.packs) if pack is not None}
        return cls(
            backup_id=backup_id,
            target=target,
            found_at=found_at,
            level=level,
            total=len(damages),
            damages=tuple(damages[:_LISTED]),
            packs=tuple(sorted(packs)),
        )


class Examined(FrozenModel):
    """A backup of which all was read, or as much as time allowed."""

    backup_id: str
    target: str
    outcome: Literal["verified", "damaged", "unreadable", "unfinished", "deleted"]
    text: str | None = None


class VerificationReport(FrozenModel):
    """The answer of the levels `inventory` and `read`: 200 when nothing is wrong, else 500.

    `packs` are those that were looked for, or of which something was read; `checksums` is how many were compared by the
    store's own checksum. `damaged` are the backups that are damaged, the newest first; `healthy` is by target the
    newest backup to restore, None when the target has none. `lock_problems` are about Object Lock, `journal_problems`
    about journals, with the moments that they cost; `journal` is what was listed of them, or read. `unfinished` says
    what was left for lack of time. `copy_name` names the copy that was looked at (None: the vault), and `stored` is
    everything in its packs and its journals.
    """

    id: str
    level: Literal[Level.INVENTORY, Level.READ]
    status: Literal[200, 500] = 200
    copy_name: str | None = None
    stored: Amount = Amount.model_construct()
    target: str | None = None
    share: str = "all"
    backups: int = 0
    packs: Amount = Amount.model_construct()
    checksums: int = 0
    checksums_not_kept: int = 0
    entries: int = 0
    frames: Amount = Amount.model_construct()
    living: dict[str, Amount] = Field({})
    examined: tuple[Examined, ...] = ()
    damaged: tuple[DamageReport, ...] = ()
    problems: tuple[Problem, ...] = ()
    lock_problems: tuple[Problem, ...] = ()
    journal: Amount = Amount.model_construct()
    journal_problems: tuple[Problem, ...] = ()
    healthy: dict[str, str | None] = Field({})
    unfinished: str | None = None
    duration_ms: int = 0
