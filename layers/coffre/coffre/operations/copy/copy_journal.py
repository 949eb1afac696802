"""The journal of a target into a copy (docs/adr/0070).

An interval's definitions come before its record, a segment's packs before its record, and the end last: so the copy
never has a record without what it names. Nothing is decrypted; packs are compared with the SHA-256 in the records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from coffre.model.errors import IntegrityError, ObjectMissingError, StoreError
from coffre.model.journal import JournalInterval
from coffre.stores.store import put_new
from coffre.vault.journal import intervals, read_segment, segment_keys
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


def copy_journal(
    source: Vault,
    destination: Vault,
    target: str,
    check: Callable[[], None] = lambda: None,
    is_time_over: Callable[[], bool] = lambda: False,
) -> int:
    """Bring what the copy lacks of a target's journal. It can be repeated, and continues where it was stopped.

    Segments before the first one that the copy has are not sent: its own rotation has removed them.

    Parameters
    ----------
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
        What comes before was sent.
    StoreError, StoreTransientError
        A store refuses, or does not answer.
    """
    there = {info.key for info in destination.store.list(journal_prefix(target))}
    sent = 0
    for interval in intervals(source, target):
        for unit in _due(source, interval, there):
            for key, sha256 in unit:
                check()
                if is_time_over():
                    return sent
                try:
                    sent += _send(source, destination, key, sha256)
                except ObjectMissingError:
                    _refuse_lost(source, key, unit[-1][0])
                    break  # a rotation of the vault has removed it meanwhile, its record first
    return sent


type _Unit = list[tuple[str, str | None]]


def _due(source: Vault, interval: JournalInterval, there: set[str]) -> Iterator[_Unit]:
    """Yield what the copy lacks of an interval: what belongs together, its record last."""
    target = interval.target
    if interval_key(target, interval.id) not in there:
        found = [info.key for info in source.store.list(definitions_prefix(target, interval.id))]
        yield [*((key, None) for key in found if key not in there), (interval_key(target, interval.id), None)]
    known = [key for one in there if interval.id in one and (key := segment_of(one)) is not None]
    first = min((key.number for key in known), default=0)
    numbers = {key.number for key in known}
    end = interval_end_key(target, interval.id)
    # Asked before the segments are listed: what comes with an end is all that it ends.
    has_end = end not in there and _exists(source, end)
    for segment in segment_keys(source, target, interval.id, after=None):
        if segment.number >= first and segment.number not in numbers:
            yield _of_segment(source, segment, there)
    if has_end:
        yield [(end, None)]


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
