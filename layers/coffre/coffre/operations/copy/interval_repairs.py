"""What has to be put back of one interval of a journal: its record, its segments with their packs, its end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

from coffre.model.errors import IntegrityError
from coffre.model.journal import IntervalEnd, JournalInterval, JournalState
from coffre.model.manifest import JournalBase, PackReference
from coffre.operations.copy.interval_ends import begin_of, begin_unit, end_units, likely_end, own_end
from coffre.operations.copy.interval_objects import IntervalObjects, Repair, Unit
from coffre.operations.copy.journal_chain import OwnRecord, RightRecord, SegmentChain, link_of
from coffre.operations.runs.parallel_map import ordered_map
from coffre.policy.journal import bases_of, is_over, needed_base
from coffre.policy.moments import first_needed
from coffre.stores.body import sha256_of
from coffre.vault.codec import FrameDecoder
from coffre.vault.journal import listed_segments
from coffre.vault.layout import SegmentKey, segment_of

_READERS: Final = 16
# Of the records that are read together; each is small.
_READ_BYTES: Final = 64 * 1024 * 1024

type Base = tuple[str, str, JournalBase | None]


@dataclass(frozen=True)
class IntervalRepairs:
    """Finds what the vault lacks of an interval, or has damaged, and what copies have instead.

    Parameters
    ----------
    since
        Since when every moment is kept: what none of them needs is not brought.
    bases
        What the manifests of good backups say of a journal.
    state
        What the catalog knows, if the interval is open.
    suspects
        Packs that a verification has found damaged: they are read.
    decoder
        Opens definitions, if it has the private key.
    is_newest
        Whether no interval has begun after it.
    """

    objects: IntervalObjects
    since: datetime
    bases: Callable[[], Iterable[Base]]
    state: JournalState | None
    suspects: Collection[str]
    decoder: FrameDecoder
    is_newest: bool

    def units(self) -> Iterator[Unit]:
        """Yield what has to be put back, in an order that leaves what can be used wherever it is stopped."""
        objects = self.objects
        end, arrived = own_end(objects), objects.own.get(objects.end_key)
        if is_over(end, arrived.last_modified if arrived else None, self.since):
            return  # a rotation removes it
        begun = begin_of(objects)
        if begun is None:
            return
        interval, known_end = begun[0], end or likely_end(objects, begun[0])
        own = self._records()
        chain = SegmentChain(
            objects.target,
            objects.id,
            own,
            self._offered(max(own, default=0), known_end),
            begun[1],
            {self.state.number: self.state.sha256} if self.state is not None and self.state.number else {},
            objects.copies,
            objects.lost,
        )
        needed = self._needed_number(chain, interval, known_end)
        found = chain.right(_numbers(chain, needed, end))
        last = found[0] if found else None
        if not objects.own and self._is_past(known_end, last):
            objects.lost.clear()
            return
        yield from begin_unit(objects, begun, found[-1] if found else None, self.state, self.decoder)
        yield from self._segments(found, needed)
        is_own = end is not None
        end = end or (yield from end_units(objects, interval, last, self.state))
        if end is not None and end.tail is not None:
            packs = tuple(self._lacking(end.tail.packs, is_good=is_own, is_proven=is_own))
            yield from [Unit(objects.end_key, packs)] if packs else []

    def _is_past(self, end: IntervalEnd | None, last: RightRecord | None) -> bool:
        """Return whether an interval of which the vault has nothing has no moment of the window."""
        if end is not None:
            return end.ended_at < self.since
        return not self.is_newest and last is not None and last.link.seen_at < self.since

    def _records(self) -> dict[int, list[OwnRecord]]:
        """Return the records of segments that the vault has."""

        def read(key: SegmentKey) -> OwnRecord | None:
            for _ in range(2):  # what cannot be read is read again: it may be the network
                body = self.objects.body(key.key)
                if body is not None:
                    try:
                        return OwnRecord(key, sha256_of(body), link_of(key, body))
                    except IntegrityError:
                        continue
            seen = self.objects.seen(key.key)
            return OwnRecord(key, seen) if seen is not None else None

        keys, found = self._listed, dict[int, list[OwnRecord]]()
        for record in ordered_map(read, keys, cost_of=lambda _: 1, width=_READERS, memory_bytes=_READ_BYTES):
            if record is not None:
                found.setdefault(record.key.number, []).append(record)
        return found

    @cached_property
    def _listed(self) -> list[SegmentKey]:
        return [key for name in self.objects.own if (key := segment_of(name)) is not None]

    def _offered(self, last: int, end: IntervalEnd | None) -> dict[int, list[SegmentKey]]:
        """Return what copies have: nothing behind the last segment that the vault, its end or the catalog knows."""
        most = end.number if end is not None else self.state.number if self.state is not None else None
        found: dict[int, list[SegmentKey]] = {}
        for name in sorted(self.objects.offered):
            key = segment_of(name)
            if key is not None and (most is None or key.number <= max(most, last)):
                found.setdefault(key.number, []).append(key)
        return found

    def _needed_number(self, chain: SegmentChain, interval: JournalInterval, end: IntervalEnd | None) -> int | None:
        """Return the number of the first segment that a moment of the window needs; None: no base is known."""
        keys = {number: found[0] for number, found in chain.offered.items()}
        keys |= {number: records[0].key for number, records in chain.own.items()}
        needed = needed_base(bases_of(interval, end, self.bases()), self.since)
        if needed is None or not keys:
            return None
        ordered = [keys[number] for number in sorted(keys)]
        return ordered[first_needed(ordered, needed[1].before_lsn)].number

    def _segments(self, found: Sequence[RightRecord], needed: int | None) -> Iterator[Unit]:
        """Yield those in front from the last one back, so that each is followed by one that exists; then the others."""
        first = min((key.number for key in self._listed), default=0)
        ordered = [one for one in found if one.link.key.number < first]
        ordered += [one for one in reversed(found) if one.link.key.number >= first]
        for one in ordered:
            key, packs = one.link.key, tuple(self._packs(one))
            if one.is_good and not packs:
                continue
            if one.seen is None and first and (needed is None or key.number < needed) and self._is_first(key.number):
                continue  # a rotation has removed it meanwhile, and all that came before it
            yield Unit(
                key.key, packs, None if one.is_good else Repair(key.key, one.link.sha256, one.seen, one.is_proven)
            )

    def _packs(self, one: RightRecord) -> Iterator[Repair]:
        return self._lacking(one.link.packs, is_good=one.is_good, is_proven=one.is_good or one.is_proven)

    def _lacking(self, packs: Iterable[PackReference], *, is_good: bool, is_proven: bool) -> Iterator[Repair]:
        """Yield the packs to put back; those that are listed are read if the record that names them was not good."""
        for pack in packs:
            info = self.objects.own.get(pack.key)
            is_listed = info is not None and info.size == pack.length
            if is_good and is_listed and pack.key not in self.suspects:
                continue
            seen = self.objects.seen(pack.key, pack.sha256)
            if seen != pack.sha256:
                yield Repair(pack.key, pack.sha256, seen, is_proven)

    def _is_first(self, number: int) -> bool:
        """Return whether the vault has no earlier segment any more. The first one that it had goes first."""
        first = min(self._listed, key=lambda key: key.number)
        if first.number < number and self.objects.exists(first.key):
            return False
        listed = listed_segments(self.objects.vault, self.objects.target, self.objects.id)
        return not any(key.number < number for key in listed)


def _numbers(chain: SegmentChain, needed: int | None, end: IntervalEnd | None) -> list[int]:
    """Return the numbers of the segments that have to be there, as far as any place or the end of the vault says."""
    known = {*chain.own, *chain.offered, *chain.known}
    if end is not None and end.number:
        known.add(end.number)
    first = min([*chain.own, *([needed] if needed is not None else [])], default=0)
    return sorted(number for number in known if number >= first)
