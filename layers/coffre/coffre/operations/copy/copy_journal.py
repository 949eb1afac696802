"""The journal of a target into a copy (docs/adr/0070).

An interval's definitions come before its record, a segment's packs before its record, and the end last: so the copy
never has a record without what it names. Nothing is decrypted; packs are compared with the SHA-256 in the records.
What the copy's own rotation has removed is not brought again: what no moment of the window needs (docs/adr/0070).
What the vault has lost, or has damaged, costs the copy that alone: the rest follows, and a restore from the copy has
the same moments as one from the vault.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Final, NamedTuple

from coffre.model.errors import IntegrityError, ObjectMissingError, StoreError
from coffre.model.journal import IntervalEnd, JournalInterval
from coffre.model.manifest import JournalBase
from coffre.operations.stored_backup.kept_journal import ends_of
from coffre.policy.journal import bases_of, needed_base
from coffre.policy.moments import first_needed
from coffre.stores.store import put_new
from coffre.vault.journal import listed_segments, read_segment
from coffre.vault.layout import (
    SegmentKey,
    definitions_prefix,
    interval_end_key,
    interval_key,
    journal_prefix,
    segment_of,
)
from coffre.vault.segment_runs import cut_error
from coffre.vault.vault import Vault

_LIMIT_BYTES: Final = 64 * 1024 * 1024


type Base = tuple[str, str, JournalBase | None]


@dataclass(frozen=True)
class JournalCopy:
    """Where a journal is brought, with the locks that it gets there, and since when its moments are kept there."""

    vault: Vault
    since: datetime


class SentJournal(NamedTuple):
    """How many objects were sent, and what the vault cannot give that the copy lacks: a sentence for each."""

    objects: int
    lacking: tuple[str, ...]


def copy_journal(
    source: Vault,
    copy: JournalCopy,
    target: str,
    bases: Callable[[], Iterable[Base]],
    check: Callable[[], None] = lambda: None,
    is_time_over: Callable[[], bool] = lambda: False,
) -> SentJournal:
    """Bring what the copy lacks of a target's journal. It can be repeated, and continues where it was stopped.

    What is damaged or missing in the vault is left out, and sent by the run that finds it put back.

    Parameters
    ----------
    bases
        What the manifests of the copy's backups say of a journal. Asked only where its first segments are missing:
        those that the first base of the window needs are brought again.
    check
        Called before each object is sent; what it raises stops.
    is_time_over
        Whether to stop between two segments; the next run continues there.

    Raises
    ------
    StoreError, StoreTransientError
        A store refuses, or does not answer.
    """
    there = {info.key for info in copy.vault.store.list(journal_prefix(target))}
    known = cache(lambda: list(bases()))
    sent, lacking = 0, list[str]()

    def leave_out(error: IntegrityError) -> None:
        lacking.append(error.message)

    # An end is read before the segments are listed: what comes with it is all that it ends.
    for interval, end, is_past in ends_of(source, target, copy.since, leave_out):
        if is_past and not _is_begun(interval, there):
            continue
        for unit in _due(source, _Interval(interval, end, there, leave_out), known, copy.since):
            try:
                for key, sha256 in unit:
                    if key in there:  # the end, whose tail was lost once
                        continue
                    check()
                    if is_time_over():
                        return SentJournal(sent, tuple(lacking))
                    sent += _send(source, copy.vault, key, sha256, unit[-1][0])
                    there.add(key)
            except ObjectMissingError:
                continue  # a rotation of the vault has removed it meanwhile, its record first
            except IntegrityError as error:
                leave_out(error)
                if unit[-1][0] == interval_key(target, interval.id):
                    break  # nothing of it can be read without its record
    return SentJournal(sent, tuple(lacking))


type _Unit = list[tuple[str, str | None]]


def _is_begun(interval: JournalInterval, there: set[str]) -> bool:
    """Return whether the copy lacks the end of an interval that it has: without it, it would be open for ever."""
    has_end = interval_end_key(interval.target, interval.id) in there
    return interval_key(interval.target, interval.id) in there and not has_end


@dataclass(frozen=True)
class _Interval:
    """An interval of the vault, and the keys of what the copy has of the target's journal."""

    record: JournalInterval
    end: IntervalEnd | None
    there: set[str]
    leave_out: Callable[[IntegrityError], None]


def _due(source: Vault, interval: _Interval, bases: Callable[[], Sequence[Base]], since: datetime) -> Iterator[_Unit]:
    """Yield what the copy lacks of an interval: what belongs together, its record last."""
    record, there = interval.record, interval.there
    target = record.target
    if interval_key(target, record.id) not in there:
        found = [info.key for info in source.store.list(definitions_prefix(target, record.id))]
        yield [*((key, None) for key in found if key not in there), (interval_key(target, record.id), None)]
    known = [key for one in there if record.id in one and (key := segment_of(one)) is not None]
    numbers = {key.number for key in known}
    segments = listed_segments(source, target, record.id)
    if segments and segments[0].number < min(numbers, default=segments[-1].number + 1):
        needed = needed_base(bases_of(record, interval.end, bases()), since)
        kept = segments[first_needed(segments, needed[1].before_lsn if needed else 0)].number
        segments = [one for one in segments if one.number >= min([kept, *numbers])]
    for segment in segments:
        if segment.number not in numbers:
            yield _of_segment(source, segment, interval)
    _name_missing(interval, numbers.union(one.number for one in segments))
    end_key = interval_end_key(target, record.id)
    tail = interval.end.tail.packs if interval.end is not None and interval.end.tail is not None else ()
    if lacking := [(pack.key, pack.sha256) for pack in tail if pack.key not in there]:
        yield [*lacking, (end_key, None)]
    if interval.end is not None and end_key not in there:  # without the tail, if the vault has lost that
        yield [(end_key, None)]


def _of_segment(source: Vault, segment: SegmentKey, interval: _Interval) -> _Unit:
    try:
        packs = read_segment(source, segment, None)[0].packs
    except ObjectMissingError:
        return []
    except IntegrityError as error:
        interval.leave_out(error)
        return []
    return [*((pack.key, pack.sha256) for pack in packs if pack.key not in interval.there), (segment.key, None)]


def _name_missing(interval: _Interval, numbers: set[int]) -> None:
    """Name the segments that neither the vault nor the copy has; the first ones may have been deleted."""
    last = interval.end.number + 1 if interval.end is not None and interval.end.number is not None else None
    ordered = sorted({*numbers, *([last] if last is not None else [])})
    for before, after in itertools.pairwise(ordered):
        if after > before + 1:
            which = (
                f"segment {before + 1} is" if after == before + 2 else f"segments from {before + 1} to {after - 1} are"
            )
            interval.leave_out(cut_error(interval.record, f"the {which} missing"))


def _exists(source: Vault, key: str) -> bool:
    try:
        source.store.head(key)
    except ObjectMissingError:
        return False
    return True


def _send(source: Vault, destination: Vault, key: str, sha256: str | None, record: str) -> int:
    """Send an object, and return how many were sent; raises `IntegrityError` if it is not what the record names."""
    try:
        body = source.store.get(key, limit_bytes=_LIMIT_BYTES)
    except ObjectMissingError:
        if key != record and _exists(source, record):
            raise IntegrityError(f"{key} of a journal is missing in the vault.", code="PACK_MISSING") from None
        raise
    if sha256 is not None and hashlib.sha256(body).hexdigest() != sha256:
        raise IntegrityError(f"{key} of a journal in the vault is not what was written.", code="PACK_DAMAGED")
    try:
        put_new(destination.store_of_new, key, body)
    except StoreError as error:
        if error.code != "OBJECT_EXISTS":
            raise
        return 0  # another copier has sent it
    return 1
