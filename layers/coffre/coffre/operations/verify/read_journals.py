"""Read the packs of a journal, and compare their SHA-256 with the records: what is new, and a share of the rest.

No key is needed. What was found damaged is remembered, so that each inventory reads it again until it is mended or
gone: an inventory alone does not see changed bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from coffre.model.backup import Backup
from coffre.model.errors import IntegrityError, ObjectMissingError
from coffre.model.journal import IntervalEnd, JournalSegment
from coffre.model.rotation import Amount, Problem
from coffre.model.vault_use import JournalDamage
from coffre.model.verification import Damage, Share
from coffre.operations.runs.parallel_map import ordered_map
from coffre.operations.verify.damages import read_pack
from coffre.operations.verify.job import VerifyJob
from coffre.operations.verify.journals import Bases, behind, intervals_listed, lost, until
from coffre.stores.store import ObjectInfo
from coffre.vault.journal import read_begin, read_end, read_segment
from coffre.vault.layout import SegmentKey, interval_end_key, journal_prefix, segment_of, segment_prefix

# The function reads once a day; one day that was missed is made up for.
_NEW: Final = timedelta(days=2)
# A pack has 16 MiB, at most 64: four of them fit into the memory of the smallest function.
_READERS: Final = 4
_READ_BYTES: Final = 256 * 1024 * 1024


@dataclass
class JournalReading:
    """Reads the journal of one target in the vault, or in the copy of this name.

    Attributes
    ----------
    packs
        What was read.
    unfinished
        What was left for lack of time.
    """

    job: VerifyJob
    living: Sequence[Backup]
    target: str
    share: Share
    is_over: Callable[[], bool]
    copy_name: str | None = None
    packs: Amount = field(default_factory=Amount)
    unfinished: str | None = None
    _damaged: set[str] = field(default_factory=set)
    _read: set[str] = field(default_factory=set)

    def run(self) -> tuple[Problem, ...]:
        """Return what is wrong, and remember it."""
        bases = Bases(self.job.vault, self.living)
        known = self.job.catalog.latest.damaged_of_journal(self.target, self.copy_name)
        found, listed = list[Problem](), set[str]()
        for (_, interval), own in intervals_listed(self.job.vault, self.target):
            listed.update(info.key for info in own)
            with suppress(ObjectMissingError, IntegrityError):  # the inventory reports records
                found += self._interval(interval, own, bases, known)
        damaged = self._damaged | ((known & listed) - self._read)
        if damaged != known:
            packs = tuple(sorted(damaged))
            self.job.catalog.latest.note_damaged_of_journal(
                JournalDamage(target=self.target, copy_name=self.copy_name, at=self.job.now(), packs=packs)
            )
        return tuple(found)

    def _interval(
        self, interval_id: str, own: Sequence[ObjectInfo], bases: Bases, known: frozenset[str]
    ) -> Iterator[Problem]:
        keys = sorted((key for info in own if (key := segment_of(info.key))), key=lambda key: key.number)
        is_wanted = self._wanted(interval_id, own, known)
        wanted: list[SegmentKey | JournalSegment] = [key for key in keys if is_wanted(key.key, key.number)]
        wants_end = is_wanted(interval_end_key(self.target, interval_id), None)
        if not wanted and not wants_end:
            return
        vault = self.job.vault
        interval = read_begin(vault, self.target, interval_id)[0]
        end: IntervalEnd | None = None
        with suppress(ObjectMissingError):
            end = read_end(vault, self.target, interval_id)
        tail = end.tail if end is not None and wants_end else None
        for segment, damages in ordered_map(
            self._read_segment,
            [*wanted, *([tail] if tail else [])],
            cost_of=lambda _: 1,
            width=_READERS,
            memory_bytes=_READ_BYTES,
        ):
            if segment is None:
                continue
            for pack in segment.packs:
                self.packs = self.packs.plus(pack.length)
                self._read.add(pack.key)
            if damages:
                self._damaged.update(damage.pack for damage in damages if damage.pack is not None)
                since = self._seen_before(keys, segment) or interval.started_at
                over = until(interval, end, bases.of(self.target), behind(keys, segment.number + 1))
                if end is not None and segment is tail:
                    since, over = end.seen_at or since, end.tail_until
                yield lost(interval, damages[0].text.rstrip("."), since, over)

    def _read_segment(self, one: SegmentKey | JournalSegment) -> tuple[JournalSegment | None, list[Damage]]:
        """Return a segment with the damage of its packs; None: there is no time, or its record cannot be read."""
        if self.is_over():
            self.unfinished = f"The time was over before the journal of {self.target} was read."
            return None, []
        try:
            segment = one if isinstance(one, JournalSegment) else read_segment(self.job.vault, one, None)[0]
        except (ObjectMissingError, IntegrityError):  # the inventory reports it
            return None, []
        found = (read_pack(self.job.vault, pack.key, pack.length, pack.sha256) for pack in segment.packs)
        return segment, [damage for damage in found if damage is not None]

    def _wanted(
        self, interval: str, own: Sequence[ObjectInfo], known: frozenset[str]
    ) -> Callable[[str, int | None], bool]:
        """Return what says of a record whether its packs are read: new, of today's share, or damaged before.

        It gets the number of its segment; None: it may be any.
        """
        before = self.job.now() - _NEW
        old = {info.key for info in own if info.last_modified is not None and info.last_modified < before}

        def was_damaged(number: int | None) -> bool:
            own = journal_prefix(self.target, interval)
            prefix = own if number is None else segment_prefix(self.target, interval, number)
            return any(pack.startswith(prefix) for pack in known)

        stored = {info.key for info in own}
        return lambda key, number: key in stored and (key not in old or self.share.holds(key) or was_damaged(number))

    def _seen_before(self, keys: Sequence[SegmentKey], segment: JournalSegment) -> datetime | None:
        """Return the last moment that the segment before one makes."""
        found = [key for key in keys if key.number == segment.number - 1]
        with suppress(ObjectMissingError, IntegrityError):
            return read_segment(self.job.vault, found[0], None)[0].seen_at if found else None
        return None
