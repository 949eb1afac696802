"""Inventory of journals: their records follow one another, and everything that they name exists with its length.

What is wrong is said by the moments that it costs: from what was stored before it, to the next base behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Final

from coffre.model.backup import Backup
from coffre.model.errors import IntegrityError, ObjectMissingError
from coffre.model.journal import IntervalEnd, JournalInterval, JournalSegment
from coffre.model.manifest import JournalBase
from coffre.model.rotation import Problem
from coffre.operations.runs.parallel_map import ordered_map
from coffre.operations.stored_backup.journal_bases import journal_bases
from coffre.operations.verify.job import VerifyJob
from coffre.policy.journal import bases_of, needed_base
from coffre.stores.store import ObjectInfo
from coffre.vault.journal import interval_sha256, read_end, read_interval, read_segment
from coffre.vault.layout import JOURNAL, SegmentKey, interval_of, journal_prefix, segment_of

_READERS: Final = 16
# Of the records that are read together; each is small.
_READ_BYTES: Final = 64 * 1024 * 1024

type _Base = tuple[str, str, JournalBase | None]


@dataclass(frozen=True)
class _Looked:
    """A segment as it was found: its record where it can be read, and what is wrong.

    `follows` is False when it or the one before it is not what was written: it cannot be known which of the two.
    """

    key: SegmentKey
    segment: JournalSegment | None = None
    sha256: str = ""
    why: str | None = None
    follows: bool = True


def look_at_journals(job: VerifyJob, living: Sequence[Backup], target: str | None = None) -> Iterator[Problem]:
    """Yield what is wrong with the journals of all targets, or of one, the oldest interval first.

    Parameters
    ----------
    living
        The COMPLETED backups of these targets.
    """
    objects = job.vault.store.list(journal_prefix(target) if target else JOURNAL)
    for of, own in groupby((info for info in objects if interval_of(info.key)), key=lambda info: interval_of(info.key)):
        name, interval = of or ("", "")
        if job.is_time_over():
            return
        with suppress(ObjectMissingError):  # a rotation removes it just now
            yield from _look_at(job, name, interval, list(own), living)


def _look_at(
    job: VerifyJob, target: str, interval_id: str, own: Sequence[ObjectInfo], living: Sequence[Backup]
) -> Iterator[Problem]:
    sizes = {info.key: info.size for info in own}
    keys = sorted((key for name in sizes if (key := segment_of(name)) is not None), key=lambda key: key.number)
    end: IntervalEnd | None = None
    try:
        with suppress(ObjectMissingError):
            end = read_end(job.vault, target, interval_id)
        interval = read_interval(job.vault, target, interval_id)
        sha256 = interval_sha256(job.vault, target, interval_id)
    except ObjectMissingError:
        if keys:
            text = f"The record of the interval {interval_id} of the journal of {target} is missing: no moment of it"
            yield Problem(code="JOURNAL_DAMAGED", target=target, text=f"{text} can be restored.")
        return
    except IntegrityError as error:
        yield Problem(code=error.code, target=target, text=error.message)
        return
    bases = list(journal_bases(job.vault, (one for one in living if one.target == target)))
    if (why := _lacks(sizes, {frame.pack: None for frame in interval.definitions})) is not None:
        yield _lost(interval, why, interval.started_at, _until(interval, end, bases, None))
        return
    since = job.journal_since(target)
    if since is not None and (lacking := _first_is_missing(interval, end, bases, keys, since)) is not None:
        yield lacking
    older = good = interval.started_at
    for looked in _chain(job, keys, sizes, sha256):
        if looked.why is not None:
            yield _lost(interval, looked.why, good if looked.follows else older, _until(interval, end, bases, looked))
        if looked.segment is not None:
            older, good = good, looked.segment.seen_at


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
    later = [base.at for _, base in fitting if base.before_lsn >= keys[0].from_lsn]
    until = min(later, default=(end.seen_at or end.ended_at) if end else None)
    return _lost(interval, f"segments before {keys[0].key} are missing", max(since, needed[1].at), until)


def _chain(job: VerifyJob, keys: Sequence[SegmentKey], sizes: Mapping[str, int], first: str) -> Iterator[_Looked]:
    """Yield the segments in order, each compared with the one before. The first ones may have been removed."""

    def read(key: SegmentKey) -> _Looked:
        try:
            segment, sha256 = read_segment(job.vault, key, None)
        except IntegrityError as error:
            return _Looked(key, why=error.message)
        except ObjectMissingError:
            return _Looked(key, why=f"the record {key.key} is missing")
        return _Looked(key, segment, sha256, _lacks(sizes, {pack.key: pack.length for pack in segment.packs}))

    number, before = keys[0].number if keys else 1, None
    known = first if number == 1 else ""
    for looked in ordered_map(read, keys, cost_of=lambda _: 1, width=_READERS, memory_bytes=_READ_BYTES):
        key, segment, why, follows = looked.key, looked.segment, looked.why, True
        if key.number != number:
            why = f"the segment {min(key.number, number)} is missing, or there twice"
        elif segment is not None and (
            (known and segment.previous != known) or (before is not None and before.to_lsn != segment.from_lsn)
        ):
            follows, why = False, f"{key.key} does not follow the one before it"
        yield _Looked(key, segment, looked.sha256, why, follows)
        number, known, before = key.number + 1, looked.sha256, segment


def _lacks(sizes: Mapping[str, int], named: Mapping[str, int | None]) -> str | None:
    for key, length in named.items():
        if key not in sizes:
            return f"{key} is missing"
        if length is not None and sizes[key] != length:
            return f"{key} has {sizes[key]:,} bytes, not {length:,}"
    return None


def _until(
    interval: JournalInterval, end: IntervalEnd | None, bases: Iterable[_Base], looked: _Looked | None
) -> datetime | None:
    """Return when the first base was taken that does not need what is damaged; None: none was."""
    if looked is None:
        return end.seen_at or end.ended_at if end else None
    behind = looked.segment.to_lsn if looked.segment else looked.key.from_lsn + 1
    later = [base.at for _, base in bases_of(interval, end, bases) if base.before_lsn >= behind]
    return min(later, default=(end.seen_at or end.ended_at) if end else None)


def _lost(interval: JournalInterval, why: str, since: datetime, until: datetime | None) -> Problem:
    to = f"to {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if until else "on"
    return Problem(
        code="JOURNAL_DAMAGED",
        target=interval.target,
        text=f"The journal of {interval.target} is damaged: {why}. From {since.astimezone(UTC):%Y-%m-%d %H:%M} UTC "
        f"{to}, no moment can be restored.",
    )
