"""What the catalog keeps of what was measured in the vault: how much it holds, and what of its journals is damaged."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from coffre.model.document import FrozenModel

if TYPE_CHECKING:
    from coffre.model.rotation import SweepReport


class VaultUse(FrozenModel):
    """What the vault held when a sweep measured it: what the catalog keeps of its report.

    `size_bytes` are in packs, of which some backup needs `used_bytes`; `needed_bytes` and `plaintext_bytes` are as in
    the report. `journal_bytes` is everything of the journals.
    """

    measured_at: datetime
    packs: int
    size_bytes: int
    used_bytes: int
    needed_bytes: int
    plaintext_bytes: int
    journal_bytes: int = 0

    @classmethod
    def of(cls, swept: SweepReport, measured_at: datetime) -> VaultUse:
        """Return what is left after a sweep."""
        return cls(
            measured_at=measured_at,
            packs=swept.packs.objects - swept.packs_removed.objects,
            size_bytes=swept.packs.size_bytes - swept.packs_removed.size_bytes,
            used_bytes=swept.living.size_bytes - swept.wasted_bytes,
            needed_bytes=swept.needed_bytes,
            plaintext_bytes=swept.plaintext_bytes,
            journal_bytes=swept.journal_bytes,
        )

    @property
    def held_bytes(self) -> int:
        """What backups and journals take."""
        return self.size_bytes + self.journal_bytes

    @property
    def saved_bytes(self) -> int:
        """What deduplication saves: the bytes that more than one backup needs are stored once."""
        return max(0, self.needed_bytes - self.used_bytes)


class JournalKept(FrozenModel):
    """Since when moments of a target's journal are kept: what was needed for earlier ones alone has been deleted.

    `copy_name` is that of the copy of the vault in which it was; None: the vault itself.
    """

    target: str
    copy_name: str | None = None
    since: datetime


class JournalDamage(FrozenModel):
    """The packs of a target's journal that were damaged when they were read last, and the records of segments.

    `copy_name` is that of the copy of the vault which was read; None: the vault itself.
    """

    target: str
    copy_name: str | None = None
    at: datetime
    packs: tuple[str, ...] = ()
