"""The journal of a target into a copy (docs/adr/0070).

An interval's definitions come before its record, a segment's packs before its record, and the end last: so the copy
never has a record without what it names. Nothing is decrypted; packs are compared with the SHA-256 in the records.
What the copy's own rotation has removed is not brought again: what no moment of the window needs (docs/adr/0070).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Final

from coffre.model.errors import IntegrityError, ObjectMissingError, StoreError
from coffre.model.journal import IntervalEnd, JournalInterval
from coffre.model.manifest import JournalBase
from coffre.operations.stored_backup.kept_journal import ends_of
from coffre.policy.journal import bases_of, needed_base
from coffre.policy.moments import first_needed
from coffre.stores.store import put_new
from coffre.vault.journal import read_segment, segment_keys
from coffre.vault.layout import (
    SegmentKey,
    definitions_prefix,
    interval_end_key,
    interval_key,
    journal_prefix,
    segment_of,
)
from coffre.vault.vault import Vault

_LIMIT_BYTES: Final = 64 * 1024 * 1024


type Base = tuple[str, str, JournalBase | None]


@dataclass(frozen=True)
class JournalCopy:
    """Where a journal is brought, with the locks that it gets there, and since when its moments are kept there."""

    vault: Vault
    since: datetime


def copy_journal(
    source: Vault,
    copy: JournalCopy,
    target: str,
    bases: Callable[[], Iterable[Base]],
    check: Callable[[], None] = lambda: None,
    is_time_over: Callable[[], bool] = lambda: False,
) -> int:
    """Bring what the copy lacks of a target's journal. It can be repeated, and continues where it was stopped.

    Parameters
    ----------
    bases
        What the manifests of the copy's backups say of a journal. Asked only where its first segments are missing:
        those that the first base of the window needs are brought again.
    check
        Called before each object is sent; what it raises stops.
    is_time_over
        Whether to stop between two segments; the next run continues there.

    Returns
    -------
    int
        How many objects were sent.

    Raises
    ------
    IntegrityError
        `JOURNAL_DAMAGED`, `JOURNAL_GAP`, `PACK_DAMAGED`, `PACK_MISSING`: the vault's own journal is damaged there.
        What comes before was sent, and what there is of other intervals.
    StoreError, StoreTransientError
        A store refuses, or does not answer.
    """
    there = {info.key for info in copy.vault.store.list(journal_prefix(target))}
    known = cache(lambda: list(bases()))
    sent, damage = 0, list[IntegrityError]()
    # An end is read before the segments are listed: what comes with it is all that it ends.
    for interval, end, is_past in ends_of(source, target, copy.since, damage.append):
        if is_past and not _is_begun(interval, there):
            continue
        try:
            for unit in _due(source, interval, end, there, known, copy.since):
                for key, sha256 in unit:
                    check()
                    if is_time_over():
                        return sent
                    try:
                        sent += _send(source, copy.vault, key, sha256)
                    except ObjectMissingError:
                        _refuse_lost(source, key, unit[-1][0])
                        break  # a rotation of the vault has removed it meanwhile, its record first
        except IntegrityError as error:
            damage.append(error)
    if damage:
        raise damage[0]
    return sent


type _Unit = list[tuple[str, str | None]]


def _is_begun(interval: JournalInterval, there: set[str]) -> bool:
    """Return whether the copy lacks the end of an interval that it has: without it, it would be open for ever."""
    has_end = interval_end_key(interval.target, interval.id) in there
    return interval_key(interval.target, interval.id) in there and not has_end


def _due(
    source: Vault,
    interval: JournalInterval,
    end: IntervalEnd | None,
    there: set[str],
    bases: Callable[[], Sequence[Base]],
    since: datetime,
) -> Iterator[_Unit]:
    """Yield what the copy lacks of an interval: what belongs together, its record last."""
    target = interval.target
    if interval_key(target, interval.id) not in there:
        found = [info.key for info in source.store.list(definitions_prefix(target, interval.id))]
        yield [*((key, None) for key in found if key not in there), (interval_key(target, interval.id), None)]
    known = [key for one in there if interval.id in one and (key := segment_of(one)) is not None]
    numbers = {key.number for key in known}
    segments = segment_keys(source, target, interval.id, after=None)
    if segments and segments[0].number < min(numbers, default=segments[-1].number + 1):
        needed = needed_base(bases_of(interval, end, bases()), since)
        kept = segments[first_needed(segments, needed[1].before_lsn if needed else 0)].number
        segments = [one for one in segments if one.number >= min([kept, *numbers])]
    for segment in segments:
        if segment.number not in numbers:
            yield _of_segment(source, segment, there)
    end_key = interval_end_key(target, interval.id)
    if end is not None and end_key not in there:
        yield [(end_key, None)]


def _of_segment(source: Vault, segment: SegmentKey, there: Iterable[str]) -> _Unit:
    try:
        packs = read_segment(source, segment, None)[0].packs
    except ObjectMissingError:
        return []
    return [*((pack.key, pack.sha256) for pack in packs if pack.key not in there), (segment.key, None)]


def _exists(source: Vault, key: str) -> bool:
    try:
        source.store.head(key)
    except ObjectMissingError:
        return False
    return True


def _refuse_lost(source: Vault, key: str, record: str) -> None:
    """Raise for an object that is missing while the record that names it is not."""
    if key != record and _exists(source, record):
        raise IntegrityError(
            f"{key} of a journal is missing in the vault.",
            code="PACK_MISSING",
            hint="What follows it was not copied. What else is damaged: coffre verify --level inventory",
        )


def _send(source: Vault, destination: Vault, key: str, sha256: str | None) -> int:
    body = source.store.get(key, limit_bytes=_LIMIT_BYTES)
    if sha256 is not None and hashlib.sha256(body).hexdigest() != sha256:
        raise IntegrityError(
            f"{key} of a journal in the vault is not what was written.",
            code="PACK_DAMAGED",
            hint="It was not copied. What else is damaged: coffre verify --level inventory",
        )
    try:
        put_new(destination.store_of_new, key, body)
    except StoreError as error:
        if error.code != "OBJECT_EXISTS":
            raise
        return 0  # another copier has sent it
    return 1
