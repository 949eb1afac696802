"""Journals in a sweep: what no moment of a target's window needs any more goes (docs/adr/0070).

Segments go from the first one on, each with its record before its packs, and an interval that is over goes whole, its
end last. So a sweep that stops leaves an interval which only begins later, and the next sweep continues.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

from coffre.model.errors import IntegrityError
from coffre.model.manifest import JournalBase
from coffre.operations.rotate.batch_delete import Remover
from coffre.operations.rotate.sweep_job import SweepJob, SweepTally
from coffre.operations.stored_backup.kept_journal import ends_of
from coffre.policy.journal import bases_of, needed_base
from coffre.stores.store import ObjectInfo
from coffre.vault.layout import interval_of, journal_part, segment_of

# What a drain that was killed has stored without a record. No window is longer.
_GRACE: Final = timedelta(days=60)
# What is read from the base on, and the one before it: a transaction in it may have been just being committed.
_STAY: Final = 2

# No position in the WAL is beyond this.
_ANYWHERE: Final = 1 << 64

type Base = tuple[str, str, JournalBase | None]


@dataclass(frozen=True)
class _Rule:
    """What of an interval goes: all of it, or segments that end before a position and came before a time.

    `tail` is the number of the segment that its end names, which has no record of its own; 0: there is none.
    """

    whole: bool = False
    before_lsn: int = 0
    since: datetime | None = None
    tail: int = 0

    def passes(self, group: Sequence[ObjectInfo]) -> bool:
        """Return whether what comes before a segment is not needed."""
        return self.whole or any(
            key.from_lsn <= self.before_lsn and _is_older(group, self.since)
            for info in group
            if (key := segment_of(info.key)) is not None
        )


class JournalWalk:
    """Goes through the journals of all targets, an interval at a time, in bounded memory.

    Parameters
    ----------
    bases, damaged
        By target, what the manifests of its living backups say; of good ones, and of those that are known to be
        damaged, which may be mended, or that the catalog does not list, which it may again.
    blocked
        Why nothing of a target is deleted.
    """

    def __init__(
        self,
        job: SweepJob,
        remover: Remover,
        tally: SweepTally,
        bases: Mapping[str, Sequence[Base]],
        damaged: Mapping[str, Sequence[Base]],
        blocked: Mapping[str, str],
    ) -> None:
        self._job = job
        self._remover = remover
        self._tally = tally
        self._bases = bases
        self._damaged = damaged
        self._blocked = blocked

    def visit(self, objects: Iterable[ObjectInfo]) -> None:
        """Decide about each object below `v1/journal/`."""
        for target, own in groupby(objects, key=lambda info: (interval_of(info.key) or ("", ""))[0]):
            if not target:
                for info in own:
                    self._tally.note_foreign(info)
                continue
            rules = self._rules(target)
            for interval, parts in groupby(own, key=lambda info: (interval_of(info.key) or ("", ""))[1]):
                counted = self._counted(parts)
                if rules is None:
                    deque(counted, maxlen=0)
                elif interval in rules:
                    self._visit(counted, rules[interval])
                else:
                    self._visit_unknown(target, interval, counted)

    def _rules(self, target: str) -> dict[str, _Rule] | None:
        """Return what goes of each interval of a target; None: nothing of its journal goes."""
        since, rules = self._job.journal_since(target), dict[str, _Rule]()
        if since is None or target in self._blocked:
            return None
        try:
            for interval, end, is_past in ends_of(self._job.vault, target, since):
                good = bases_of(interval, end, self._bases.get(target, ()))
                damaged = bases_of(interval, end, self._damaged.get(target, ()))
                tail = end.tail.number if end is not None and end.tail is not None else 0
                rules[interval.id] = _Rule(is_past, _needed_from(good, damaged, since), since, tail)
            if not self._job.dry_run:
                self._job.records.note_journal_kept(target, since)
        except IntegrityError as error:
            text = f"{error.message} Until this is corrected, nothing of the journal of {target} is deleted."
            self._tally.note_problem(error.code, target, text)
            return None
        return rules

    def _counted(self, parts: Iterable[ObjectInfo]) -> Iterator[ObjectInfo]:
        for info in parts:
            self._job.check()
            self._tally.journal = self._tally.journal.plus(info.size)
            yield info

    def _visit(self, parts: Iterator[ObjectInfo], rule: _Rule) -> None:
        """Remove segments from the first one on, until one stays; then the rest of an interval that goes whole."""
        waiting: deque[list[ObjectInfo]] = deque()  # The segment before the first one that is needed stays, too.
        last: list[ObjectInfo] = []
        goes = True
        for part, own in groupby(parts, key=lambda info: journal_part(info.key)):
            group = list(own)
            if part.isdigit() and not _has_record(group) and int(part) != rule.tail:
                self._remove_left(group)
            elif part.isdigit():
                waiting.append(group)
                goes = goes and rule.passes(group) and (len(waiting) <= _STAY or self._remove(waiting.popleft()))
            elif part == "end":
                last = group
            elif rule.whole:
                goes = goes and all(map(self._remove, waiting)) and self._remove(group)
                waiting.clear()
        if rule.whole and goes and all(map(self._remove, waiting)):
            self._remove(last)

    def _visit_unknown(self, target: str, interval: str, parts: Iterator[ObjectInfo]) -> None:
        """Remove what is left of an interval without a record, unless it has segments: then the record was lost."""
        for part, own in groupby(parts, key=lambda info: journal_part(info.key)):
            group = list(own)
            if part.isdigit() and _has_record(group):
                text = (
                    f"The record of the interval {interval} of the journal of {target} is not in {self._job.place}: "
                    "no moment of it can be restored. A copy may have it: coffre mend --journal {target}"
                )
                deque(parts, maxlen=0)
                self._tally.note_problem("JOURNAL_DAMAGED", target, text)
                return
            self._remove_left(group)

    def _remove_left(self, group: Sequence[ObjectInfo]) -> None:
        if _is_older(group, self._job.now - _GRACE):
            self._remove(group)

    def _remove(self, group: Sequence[ObjectInfo]) -> bool:
        """Remove what belongs together, records first; nothing of it as long as any of it is locked."""
        kept = {why for info in group if (why := self._remover.locked(info.key).why_kept(self._job.now))}
        if kept:
            self._tally.note_locked_record(f"journal below {group[0].key.rpartition('/')[0]}: {max(kept)}")
            return False
        for info in sorted(group, key=lambda info: not info.key.endswith(".json")):
            if info.key.endswith(".json"):
                self._remover.remove(info.key)
            else:
                self._remover.remove_soon(info.key)
            self._tally.journal_removed = self._tally.journal_removed.plus(info.size)
        return True


def _needed_from(
    good: Sequence[tuple[str, JournalBase]], damaged: Sequence[tuple[str, JournalBase]], since: datetime
) -> int:
    """Return the position that moments since a time need everything from, also if what is damaged is mended."""
    needed = needed_base(good, since)
    if needed is None:  # What comes before the first base that an interval will ever have makes no moment.
        return 0 if damaged else _ANYWHERE
    mended = needed_base([*good, *damaged], since)
    return min(one[1].before_lsn for one in (needed, mended) if one is not None)


def _has_record(group: Sequence[ObjectInfo]) -> bool:
    return any(segment_of(info.key) is not None for info in group)


def _is_older(group: Sequence[ObjectInfo], than: datetime | None) -> bool:
    """Return whether the store has had all of these since before a time: their own times may be anybody's."""
    return than is not None and all(info.last_modified is not None and info.last_modified < than for info in group)
