"""The journal of a database in the vault: what changed since a base, in segments (docs/format/v1.md).

An **interval** is a stretch of changes of one slot whose rows all fit the same definitions. It ends with a reason, and
never continues. Its **segments** are numbered and chained. A **base** is an ordinary backup whose snapshot was taken
within an interval.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from pydantic import AwareDatetime, Field

from coffre.model.document import FrozenModel
from coffre.model.manifest import Frame, PackReference, SequenceValue, Sha256

_MICROSECOND: Final = timedelta(microseconds=1)


class JournalEnd(StrEnum):
    """Why an interval ended. Only a new base in a new interval continues from there."""

    DEFINITIONS = "definitions"
    REWRITTEN = "rewritten"
    NO_IDENTITY = "no-identity"
    UNKNOWN_TABLE = "unknown-table"
    SLOT_MISSING = "slot-missing"
    SLOT_LOST = "slot-lost"
    SLOT_FOREIGN = "slot-foreign"
    TIMELINE = "timeline"
    TOO_LARGE = "too-large"
    TOO_SLOW = "too-slow"
    UNREADABLE = "unreadable"
    GUARD = "guard"
    SWITCHED_OFF = "switched-off"
    GAP = "gap"


class DefinitionMark(FrozenModel):
    """One table or type among the definitions: a drain, which cannot read what is encrypted, finds what has changed.

    `shape` is part of a hash of what its rows have to fit. `file` and `version` of a table change when it is emptied,
    too; those of a type are 0. `toast`, `command` and `indexes` are `Table`'s; 0 in records of earlier
    versions.
    """

    schema_name: str
    name: str
    shape: str
    file: int = 0
    version: int = 0
    toast: int = 0
    command: int = 0
    indexes: int = 0

    def is_like(self, other: DefinitionMark | None) -> bool:
        """Return whether nothing was changed between two marks of this name."""
        return other is not None and (self.shape, self.file, self.version) == (other.shape, other.file, other.version)


class JournalInterval(FrozenModel):
    """The beginning of an interval, written once.

    `fingerprint` is that of all definitions of the database: a backup whose manifest has the same one, whose snapshot
    was taken at `from_lsn` or later, is a base. `definitions` are frames of a JSON document, which replay needs.
    `recipients` are the public keys that these frames and those of all segments are encrypted to. `names` are marks of
    schemas (without a name) and of enums' labels; empty in records of earlier versions. With the plugin `pgoutput`,
    `publication` is a hash of what the publication says, and `left_out` are the tables that it lacks.
    """

    format: int = 1
    id: str
    target: str
    database: str
    slot: str
    plugin: str
    system: str | None = None
    timeline: int
    from_lsn: int
    started_at: AwareDatetime
    fingerprint: str = Sha256
    recipients: tuple[str, ...] = ()
    definitions: tuple[Frame, ...]
    marks: tuple[DefinitionMark, ...] = ()
    names: tuple[DefinitionMark, ...] = ()
    publication: str = ""
    left_out: tuple[str, ...] = ()


class JournalSegment(FrozenModel):
    """The record of a segment: with it, the segment exists.

    `previous` is the SHA-256 of the record before it, of the interval's record for the first. The transactions are
    those that ended after `from_lsn` and up to `to_lsn`; some may repeat what the segment before it has. `seen_at` is
    the server's clock when `to_lsn` was chosen; with `is_complete` everything that was committed before then is stored.
    `first_commit` and `last_commit` are the earliest and the latest time of a commit in it, not of the first and the
    last: a clock can be set back. `sequences` are their values after the last of its transactions. `marks` are those
    that differ from the interval's, if one of its transactions has emptied a table.
    """

    format: int = 1
    interval: str
    number: int = Field(ge=1)
    previous: str = Sha256
    from_lsn: int
    to_lsn: int
    seen_at: AwareDatetime
    is_complete: bool
    transactions: int
    lines: int
    first_commit: AwareDatetime | None = None
    last_commit: AwareDatetime | None = None
    size: int
    frames: tuple[Frame, ...]
    packs: tuple[PackReference, ...]
    sequences: tuple[SequenceValue, ...] = ()
    marks: tuple[DefinitionMark, ...] = ()

    @property
    def known_until(self) -> datetime | None:
        """The last time that it shows, up to which every commit is in it or in an earlier one; None: it shows none.

        Where it was cut at a position, further commits of the last one's time may be behind it.
        """
        times = [self.seen_at] if self.is_complete else []
        times += [self.last_commit - _MICROSECOND] if self.last_commit is not None else []
        return max(times, default=None)


class IntervalEnd(FrozenModel):
    """The end of an interval: every moment up to `stored_lsn` can be restored, nothing after it, whatever is stored.

    `seen_at` is the server's clock when everything up to `stored_lsn` was known to be stored: the last moment that can
    be asked for by its time. `number` is that of the last segment, so that one that was lost is missed (0: there is
    none; None: a record of an earlier version does not say it). `about` are the tables or types that are the reason, as
    people read them.

    Where definitions have changed, `tail` is what was committed between `stored_lsn` and the drain that found it. One
    of its transactions has changed them, and nothing says which. So what it makes is never called proven, and those
    that do not fit the definitions of the interval are not applied (`postgres/journal/fitting.py`). It is a segment
    that has no record of its own, with the number after the last one's. `touched` are all tables whose rows are those
    of a moment in it only if the change came later, as people read them (None: it is not known).
    """

    reason: JournalEnd
    stored_lsn: int
    number: int | None = Field(default=None, ge=0)
    seen_at: AwareDatetime | None = None
    ended_at: AwareDatetime
    about: tuple[str, ...] = ()
    text: str = ""
    tail: JournalSegment | None = None
    touched: tuple[str, ...] | None = None

    @property
    def last_lsn(self) -> int:
        """Behind which nothing of the interval is stored."""
        return self.tail.to_lsn if self.tail is not None else self.stored_lsn

    @property
    def tail_until(self) -> datetime | None:
        """The last moment that the tail may have, by its time; None: there is no tail."""
        return self.tail.known_until if self.tail is not None else None


class JournalGap(FrozenModel):
    """Moments that cannot be restored: from `since` on (None: it is not known), until the next base.

    `ended` intervals have ended without a base between them, the last one that had one included.
    """

    since: AwareDatetime | None = None
    ended: int = 0


class JournalState(FrozenModel):
    """What the catalog knows of a target's journal. The vault is the truth about what is stored.

    `interval` is the open one; None: a new one begins with the next drain. `number`, `sha256` and `segment_lsn` (its
    end) are of the last segment's record; of the interval's, before the first. `stored_lsn` is not before that: up to
    there nothing else was committed. `seen_at` is the server's clock when everything that was committed before it was
    known to be stored, and `complete_at` the function's. `plugin` and `database_oid` (0: not known yet) are the slot's.
    `from_lsn`, `fingerprint`, `recipients` (None: not known yet) and `publication` are the interval's, `marked` is of
    the definitions at the last drain (empty: not known), and `marks_in` the number of the newest segment with marks (0:
    the interval's). `sequences` is a hash of their values. `base_wanted_at` is since when the open interval has had no
    base, `base_asked_at` when one was asked for last since then, `bases_asked` when within a day. `gap` is before the
    open interval as long as it has no base. `slow` counts the drains that had no time for a step in which a transaction
    ends, `revision` the changes of this state.
    """

    target: str
    revision: int = 0
    slot: str | None = None
    plugin: str = "test_decoding"
    database: str = ""
    database_oid: int = 0
    system: str | None = None
    timeline: int = 0
    interval: str | None = None
    from_lsn: int = 0
    number: int = 0
    sha256: str = ""
    segment_lsn: int = 0
    stored_lsn: int = 0
    seen_at: AwareDatetime | None = None
    drained_at: AwareDatetime | None = None
    complete_at: AwareDatetime | None = None
    retained_bytes: int = 0
    fingerprint: str = ""
    recipients: tuple[str, ...] | None = None
    publication: str = ""
    marked: str = ""
    marks_in: int = 0
    sequences: str = ""
    base_wanted_at: AwareDatetime | None = None
    base_asked_at: AwareDatetime | None = None
    bases_asked: tuple[AwareDatetime, ...] = ()
    gap: JournalGap = Field(default_factory=JournalGap)
    slow: int = 0
    failed_at: AwareDatetime | None = None
    error: str | None = None
    message: str | None = None
