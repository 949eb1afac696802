"""What a rotation decided and did: the answer of the function `rotate`, and what `coffre rotate` shows."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from coffre.model.backup import Tier
from coffre.model.document import FrozenModel


class Action(StrEnum):
    """What becomes of a backup."""

    KEEP = "keep"
    DELETE = "delete"


class Decision(FrozenModel):
    """What becomes of one backup, and why, in words for a person.

    `held_back` says that its tiers would let it go, and that something safer than age keeps it. `size_bytes` is what
    the decision counted it with. `waits_until` is the end of the lock that alone keeps it (Object Lock).
    """

    backup_id: str
    target: str
    tiers: tuple[Tier, ...]
    taken_at: datetime
    action: Action
    reason: str
    held_back: bool = False
    size_bytes: int = 0
    waits_until: datetime | None = None


class Problem(FrozenModel):
    """Something that a person has to look at, and on whose account packs of the target are kept."""

    code: str
    target: str | None
    text: str


class Amount(FrozenModel):
    """A number of objects and their bytes."""

    objects: int = 0
    size_bytes: int = 0

    def plus(self, size_bytes: int) -> Amount:
        """Return the amount with one more object."""
        return Amount(objects=self.objects + 1, size_bytes=self.size_bytes + size_bytes)

    def plus_all(self, other: Amount) -> Amount:
        """Return both together."""
        return Amount(objects=self.objects + other.objects, size_bytes=self.size_bytes + other.size_bytes)


class SweepReport(FrozenModel):
    """What is in the vault, and what was (or would be) removed.

    `wasted_bytes` are in packs that some backup needs, and are used by none as far as the manifests say: at most half
    of each pack that the next backup points at. `needed_bytes` is what all backups need,
    each counted on its own, and `plaintext_bytes` what they hold. `waiting` packs are referenced by nothing and will go
    later. `journal` is everything of the journals.
    """

    packs: Amount = Amount.model_construct()
    living: Amount = Amount.model_construct()
    wasted_bytes: int = 0
    needed_bytes: int = 0
    plaintext_bytes: int = 0
    records_removed: Amount = Amount.model_construct()
    packs_removed: Amount = Amount.model_construct()
    waiting: Amount = Amount.model_construct()
    waits: tuple[str, ...] = ()
    foreign: Amount = Amount.model_construct()
    foreign_keys: tuple[str, ...] = ()
    journal: Amount = Amount.model_construct()
    journal_removed: Amount = Amount.model_construct()
    problems: tuple[Problem, ...] = ()

    @property
    def journal_bytes(self) -> int:
        """What is left of the journals."""
        return self.journal.size_bytes - self.journal_removed.size_bytes

    @property
    def held_bytes(self) -> int:
        """What is left of packs and journals."""
        return self.packs.size_bytes - self.packs_removed.size_bytes + self.journal_bytes


class LockReport(FrozenModel):
    """The locks that a rotation extended: of how many objects, which this number of backups refer to.

    The next rotation continues with those of `unfinished` backups, for which there was no time.
    """

    backups: int = 0
    objects: int = 0
    unfinished: int = 0


class RotationReport(FrozenModel):
    """One rotation.

    `not_configured` are targets with backups, of which nothing goes because no retention is known. `sweep` is None when
    nothing had to be removed from the vault, and `locks` in a vault without Object Lock. `skipped` says why nothing was
    done at all. `copy_name` names the copy that was rotated; None: the vault. `to_copy_again`
    are backups of which damaged objects were deleted in the copy, so that the copier sends them again.
    """

    id: str
    dry_run: bool
    copy_name: str | None = None
    decisions: tuple[Decision, ...] = ()
    decisions_left_out: int = 0
    not_configured: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    to_copy_again: tuple[str, ...] = ()
    locks: LockReport | None = None
    sweep: SweepReport | None = None
    skipped: str | None = None

    @property
    def all_problems(self) -> tuple[Problem, ...]:
        """Those of the decisions and those of the sweep."""
        return (*self.problems, *(self.sweep.problems if self.sweep else ()))
