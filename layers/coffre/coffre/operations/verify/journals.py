"""Inventory of journals: their records follow one another, and everything that they name exists with its length.

What is wrong is said by the moments that it costs: from what was stored before it, to the next base behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Final, Protocol

from coffre.model.backup import Backup
from coffre.model.errors import IntegrityError, ObjectMissingError
from coffre.model.journal import IntervalEnd, JournalInterval, JournalSegment
from coffre.model.manifest import JournalBase
from coffre.model.rotation import Amount, Problem
from coffre.operations.runs.parallel_map import ordered_map
from coffre.operations.stored_backup.kept_journal import journal_bases
from coffre.operations.verify.damages import read_pack
from coffre.policy.journal import bases_of, needed_base
from coffre.stores.store import ObjectInfo
from coffre.vault.journal import read_begin, read_end, read_segment
from coffre.vault.layout import JOURNAL, SegmentKey, interval_end_key, interval_of, journal_prefix, segment_of
from coffre.vault.vault import Vault

_READERS: Final = 16
# Of the records that are read together; each is small.
_READ_BYTES: Final = 64 * 1024 * 1024
_NOT_STORED: Final = 1 << 64

type _Base = tuple[str, str, JournalBase | None]


@dataclass(frozen=True)
class _Looked:
    """A segment as it was found: its record where it can be read, and what is wrong.

    `follows` is False when it or the one before it is not what was written: it cannot be known which of the two. With
    `is_good` something before it is wrong, if anything is.
    """

    key: SegmentKey
    segment: JournalSegment | None = None
    sha256: str = ""
    why: str | None = None
    follows: bool = True
    is_good: bool = False


class Looking(Protocol):
    """What a look at journals needs of a verification."""

    @property
    def vault(self) -> Vault:
        """Where they are."""

    @property
    def journal_since(self) -> Callable[[str], datetime | None]:
        """Returns since when every moment of a target's journal has to be there; None: it is not known."""

    def is_time_over(self) -> bool:
        """Tell whether to stop."""


class Bases:
    """What the manifests of backups say of a journal, read once for each target."""

    def __init__(self, vault: Vault, living: Iterable[Backup]) -> None:
        self._vault = vault
        self._living = list(living)
        self._known: dict[str, list[_Base]] = {}

    def of(self, target: str) -> list[_Base]:
        """Return those of a target."""
        if target not in self._known:
            self._known[target] = list(
                journal_bases(self._vault, (one for one in self._living if one.target == target))
            )
        return self._known[target]


@dataclass
class JournalLook:
    """A look at the journals of one place, the vault or a copy of it.

    Parameters
    ----------
    living
        The COMPLETED backups that it has.
    suspects
        Packs that were found damaged when they were read: they are read again.

    Attributes
    ----------
    stored
        Everything of journals that was listed.
    records
        By target, those of segments that cannot be read.
    """

    job: Looking
    living: Sequence[Backup]
    suspects: Collection[str] = ()
    stored: Amount = field(default_factory=Amount)
    unfinished: str | None = None
    records: dict[str, set[str]] = field(default_factory=dict)

    def run(self, target: str | None = None) -> Iterator[Problem]:
        """Yield what is wrong with the journals of all targets, or of one, the oldest interval first."""
        bases = Bases(self.job.vault, self.living)
        for (name, interval), own in intervals_listed(self.job.vault, target):
            if self.job.is_time_over():
                self.unfinished = f"The time was over before the journal of {name} was looked at."
                return
            for info in own:
                self.stored = self.stored.plus(info.size)
            self.records.setdefault(name, set())
            with suppress(ObjectMissingError):  # a rotation removes it just now
                yield from self._look_at(name, interval, own, bases.of(name))

    def _look_at(
        self, target: str, interval_id: str, own: Sequence[ObjectInfo], bases: Sequence[_Base]
    ) -> Iterator[Problem]:
        sizes = {info.key: info.size for info in own}
        keys = sorted((key for name in sizes if (key := segment_of(name)) is not None), key=lambda key: key.number)
        end: IntervalEnd | None = None
        try:
            with suppress(ObjectMissingError):
                end = read_end(self.job.vault, target, interval_id)
            interval, sha256 = read_begin(self.job.vault, target, interval_id)
        except ObjectMissingError:
            if keys and self._keys_now(target, interval_id):  # no rotation has removed it just now
                text = (
                    f"The record of the interval {interval_id} of the journal of {target} is missing: no moment of it"
                )
                yield Problem(code="JOURNAL_DAMAGED", target=target, text=f"{text} can be restored.")
            return
        except IntegrityError as error:
            yield Problem(code=error.code, target=target, text=error.message)
            return
        if (why := _lacks(sizes, {frame.pack: None for frame in interval.definitions})) is not None:
            yield lost(interval, why, interval.started_at, until(interval, end, bases, None))
            return
        since = self.job.journal_since(target)
        if since is not None and (lacking := _first_is_missing(interval, end, bases, keys, since)) is not None:
            yield lacking
        older = good = interval.started_at
        for looked in self._chain(keys, sizes, sha256):
            if looked.why is not None:
                begin = good if looked.follows else older
                number = looked.key.number + (0 if looked.is_good else 1)
                yield lost(interval, looked.why, begin, until(interval, end, bases, behind(keys, number)))
            if looked.segment is None:
                self.records[target].add(looked.key.key)
            else:
                older, good = good, looked.segment.seen_at
        if _last_is_missing(end, keys, since) is not None:  # or a drain has stored them since they were listed
            keys = self._keys_now(target, interval_id)
        if (why := _last_is_missing(end, keys, since)) is not None:
            yield lost(interval, why, good, end.seen_at if end else None)
        # Its packs come before the end, which may have come since the listing, and go before it.
        is_kept = end is not None and since is not None and end.ended_at >= since
        if is_kept and end is not None and end.tail is not None and interval_end_key(target, interval_id) in sizes:
            why = _lacks(sizes, {pack.key: pack.length for pack in end.tail.packs}) or self._changed(end.tail)
            if why is not None:
                yield lost(interval, why, end.seen_at or good, end.tail_until)

    def _chain(self, keys: Sequence[SegmentKey], sizes: Mapping[str, int], first: str) -> Iterator[_Looked]:
        """Yield the segments in order, each compared with the one before. The first ones may have been removed."""

        def read(key: SegmentKey) -> _Looked:
            try:
                segment, sha256 = read_segment(self.job.vault, key, None)
            except IntegrityError as error:
                return _Looked(key, why=error.message)
            except ObjectMissingError:
                return _Looked(key, why=self._missing(key))
            why = _lacks(sizes, {pack.key: pack.length for pack in segment.packs})
            return _Looked(key, segment, sha256, why or self._changed(segment))

        number, before = keys[0].number if keys else 1, None
        known = first if number == 1 else ""
        for looked in ordered_map(read, keys, cost_of=lambda _: 1, width=_READERS, memory_bytes=_READ_BYTES):
            key, segment, why, follows = looked.key, looked.segment, looked.why, True
            is_good = why is None and key.number > number
            if key.number != number:
                why = f"the segment {min(key.number, number)} is missing, or there twice"
            elif segment is not None and (
                (known and segment.previous != known) or (before is not None and before.to_lsn != segment.from_lsn)
            ):
                follows, is_good, why = False, True, f"{key.key} does not follow the one before it"
            yield _Looked(key, segment, looked.sha256, why, follows, is_good)
            number, known, before = key.number + 1, looked.sha256, segment

    def _keys_now(self, target: str, interval: str) -> list[SegmentKey]:
        found = (segment_of(info.key) for info in self.job.vault.store.list(journal_prefix(target, interval)))
        return sorted((key for key in found if key is not None), key=lambda key: key.number)

    def _missing(self, key: SegmentKey) -> str | None:
        """Say that a record is missing; None: a rotation has removed it just now, and all that came before it."""
        first = next(iter(self._keys_now(*(interval_of(key.key) or ("", "")))), None)
        return None if first is None or first.number > key.number else f"the record {key.key} is missing"

    def _changed(self, segment: JournalSegment) -> str | None:
        """Read what an earlier look found damaged: only its own bytes can show that it was mended."""
        for pack in segment.packs:
            if pack.key in self.suspects and (found := read_pack(self.job.vault, pack.key, pack.length, pack.sha256)):
                return found.text.rstrip(".")
        return None


def intervals_listed(vault: Vault, target: str | None) -> Iterator[tuple[tuple[str, str], list[ObjectInfo]]]:
    """Yield what is stored of each interval, of all targets or of one, the oldest of each first."""
    objects = vault.store.list(journal_prefix(target) if target else JOURNAL)
    for of, own in groupby(((interval_of(info.key), info) for info in objects), key=lambda pair: pair[0]):
        if of is not None:
            yield of, [info for _, info in own]


def _first_is_missing(
    interval: JournalInterval,
    end: IntervalEnd | None,
    bases: Sequence[_Base],
    keys: Sequence[SegmentKey],
    since: datetime,
) -> Problem | None:
    """Return what is wrong where the first segments are gone although the base that the window needs reads them."""
    fitting = bases_of(interval, end, bases)
    needed = needed_base(fitting, since)
    if needed is None or not keys or keys[0].number == 1 or keys[0].from_lsn <= needed[1].before_lsn:
        return None
    why = f"segments before {keys[0].key} are missing"
    return lost(interval, why, max(since, needed[1].at), until(interval, end, bases, keys[0].from_lsn))


def _last_is_missing(end: IntervalEnd | None, keys: Sequence[SegmentKey], since: datetime | None) -> str | None:
    """Say which segments an end has seen that are gone. What ended before the window may be removed just now."""
    if end is None or end.number is None or since is None or end.ended_at < since:
        return None
    last = keys[-1].number if keys else 0
    return f"the segments from {last + 1} to {end.number} are missing" if last < end.number else None


def _lacks(sizes: Mapping[str, int], named: Mapping[str, int | None]) -> str | None:
    for key, length in named.items():
        if key not in sizes:
            return f"{key} is missing"
        if length is not None and sizes[key] != length:
            return f"{key} has {sizes[key]:,} bytes, not {length:,}"
    return None


def behind(keys: Iterable[SegmentKey], number: int) -> int:
    """Return where bases begin that need no segment before this one: what they do not show can be in this one too."""
    return next((key.from_lsn for key in keys if key.number > number), _NOT_STORED)


def until(
    interval: JournalInterval, end: IntervalEnd | None, bases: Iterable[_Base], behind: int | None
) -> datetime | None:
    """Return when the first base was taken that does not need what is damaged before a position; None: none was.

    Parameters
    ----------
    behind
        None: all of the interval is damaged.
    """
    over = (end.tail_until or end.seen_at or end.ended_at) if end else None
    if behind is None:
        return over
    later = [base.at for _, base in bases_of(interval, end, bases) if base.before_lsn >= behind]
    return min(later, default=over)


def lost(interval: JournalInterval, why: str, since: datetime, until: datetime | None) -> Problem:
    """Return what damage of an interval costs: the moments of a time."""
    to = f"to {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if until else "on"
    return Problem(
        code="JOURNAL_DAMAGED",
        target=interval.target,
        text=f"The journal of {interval.target} is damaged: {why}. From {since.astimezone(UTC):%Y-%m-%d %H:%M} UTC "
        f"{to}, no moment can be restored.",
    )
