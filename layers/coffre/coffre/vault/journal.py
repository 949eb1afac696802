"""The journal of a database in the vault (docs/format/v1.md): intervals, and segments that are chained by hashes.

A segment's packs are stored first, then its record; the record's arrival is the commit. A number is given out once: the
store is asked to replace nothing, so that of two drains at the same time one learns that it came too late. What a drain
that was killed left without a record is never read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from coffre.model.errors import IntegrityError, ObjectMissingError, StoreError
from coffre.model.journal import IntervalEnd, JournalInterval, JournalSegment
from coffre.stores.store import Store, put_new
from coffre.vault.codec import FrameDecoder
from coffre.vault.layout import (
    SegmentKey,
    interval_end_key,
    interval_key,
    interval_of,
    journal_prefix,
    segment_key,
    segment_of,
)
from coffre.vault.vault import Vault


def begin_interval(vault: Vault, interval: JournalInterval) -> str:
    """Write the record of an interval: with it, it exists. Returns the SHA-256 that its first segment names.

    Raises
    ------
    StoreError
        `OBJECT_EXISTS`
    """
    return _put(vault, interval_key(interval.target, interval.id), interval)


def end_interval(vault: Vault, target: str, interval: str, end: IntervalEnd) -> IntervalEnd:
    """Write why an interval ended. One that has ended stays as it is: the first reason counts, and is returned.

    One that cannot be read cannot be written again either.
    """
    with suppress(ObjectMissingError):
        return _first_end(vault, target, interval, end)
    try:
        _put(vault, interval_end_key(target, interval), end)
    except StoreError as error:
        if error.code != "OBJECT_EXISTS":  # another drain was faster
            raise
        return _first_end(vault, target, interval, end)
    return end


def _first_end(vault: Vault, target: str, interval: str, end: IntervalEnd) -> IntervalEnd:
    try:
        return read_end(vault, target, interval)
    except IntegrityError:
        return end


def commit_segment(vault: Vault, target: str, segment: JournalSegment) -> str:
    """Write the record of a segment whose packs are stored, and return its SHA-256.

    Raises
    ------
    StoreError
        `OBJECT_EXISTS`: another drain was faster, and has followed the same record.
    """
    key = segment_key(target, segment.interval, segment.number, segment.from_lsn)
    return _put(vault, key, segment)


def intervals(
    vault: Vault, target: str, on_damage: Callable[[IntegrityError], None] | None = None
) -> list[JournalInterval]:
    """Return the intervals of a target that exist, the oldest first.

    With `on_damage` one whose record is damaged is left out, and its error is given to it.

    Raises
    ------
    IntegrityError
        `JOURNAL_DAMAGED`
    """
    found = []
    for interval in interval_ids(vault, target):
        try:
            found.append(read_interval(vault, target, interval))
        except ObjectMissingError:
            continue  # begun by a drain that was killed before it wrote the record
        except IntegrityError as error:
            if on_damage is None:
                raise
            on_damage(error)
    return found


def interval_ids(vault: Vault, target: str) -> list[str]:
    """Return the ids of a target's intervals of which anything is stored, the oldest first."""
    keys = (interval_of(info.key) for info in vault.store.list(journal_prefix(target)))
    return sorted({key[1] for key in keys if key is not None})


def read_interval(vault: Vault, target: str, interval: str) -> JournalInterval:
    """Return the record of an interval; raises `ObjectMissingError` and what `intervals` raises."""
    return read_begin(vault, target, interval)[0]


def read_begin(vault: Vault, target: str, interval: str) -> tuple[JournalInterval, str]:
    """Return the record of an interval, and the SHA-256 that its first segment names; raises as `read_interval`."""
    key = interval_key(target, interval)
    return _read(vault, key, lambda body: parse_record(key, body, JournalInterval))


def interval_sha256(vault: Vault, target: str, interval: str) -> str:
    """Return the SHA-256 of an interval's record, which its first segment names."""
    return read_begin(vault, target, interval)[1]


def read_end(vault: Vault, target: str, interval: str) -> IntervalEnd:
    """Return why an interval ended; raises `ObjectMissingError` while it is open."""
    key = interval_end_key(target, interval)
    return _read(vault, key, lambda body: parse_record(key, body, IntervalEnd))[0]


def read_definitions_of(vault: Vault, interval: JournalInterval, decoder: FrameDecoder) -> bytes:
    """Return the document that `store_definitions` was given; raises what `Vault.read_frame` raises."""
    return b"".join(vault.read_frame(frame, decoder)[0] for frame in interval.definitions)


def segment_keys(vault: Vault, target: str, interval: str, after: int | None = 0) -> list[SegmentKey]:
    """Return the keys of an interval's segments with a number greater than `after`, in order.

    Parameters
    ----------
    after
        None: from the first one that has not been deleted.

    Raises
    ------
    IntegrityError
        `JOURNAL_GAP`: a number is missing, or there twice.
    """
    keys = [key for key in listed_segments(vault, target, interval) if key.number > (after or 0)]
    first = after + 1 if after is not None else keys[0].number if keys else 1
    for expected, key in enumerate(keys, first):
        if key.number != expected:
            raise _damaged(
                key.key, "JOURNAL_GAP", f"the segment {min(expected, key.number)} is missing, or there twice"
            )
    return keys


def listed_segments(vault: Vault, target: str, interval: str) -> list[SegmentKey]:
    """Return the keys of an interval's segments by their numbers, whatever is missing."""
    found = (segment_of(info.key) for info in vault.store.list(journal_prefix(target, interval)))
    return sorted((key for key in found if key is not None), key=lambda key: key.number)


def read_segment(vault: Vault, key: SegmentKey, previous: str | None) -> tuple[JournalSegment, str]:
    """Return the record of a segment, and the SHA-256 that the next one names.

    Parameters
    ----------
    previous
        The SHA-256 of the record before it; None: it is not known.

    Raises
    ------
    IntegrityError
        `JOURNAL_DAMAGED`: it cannot be read, or does not follow the one before.
    """

    def parse(body: bytes) -> JournalSegment:
        segment = parse_segment(key, body)
        if previous is not None and segment.previous != previous:
            raise _damaged(key.key, "JOURNAL_DAMAGED", "it does not follow the record before it")
        return segment

    return _read(vault, key.key, parse)


def parse_segment(key: SegmentKey, body: bytes) -> JournalSegment:
    """Return the record of a segment that these bytes are; raises as `parse_record`, also for another segment's."""
    segment = parse_record(key.key, body, JournalSegment)
    if (segment.number, segment.from_lsn) != (key.number, key.from_lsn):
        raise _damaged(key.key, "JOURNAL_DAMAGED", "it is not what its name says")
    return segment


def parse_record[T: (JournalInterval, JournalSegment, IntervalEnd)](key: str, body: bytes, kind: type[T]) -> T:
    """Return the record that these bytes are; raises `IntegrityError` (`JOURNAL_DAMAGED`)."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise _damaged(key, "JOURNAL_DAMAGED", "it cannot be read") from error


def read_lines(vault: Vault, segment: JournalSegment, decoder: FrameDecoder) -> Iterator[list[Any]]:
    """Yield the lines of a segment as `[lsn, xid, data]`, each frame checked before anything of it is given out.

    Raises
    ------
    IntegrityError
        `JOURNAL_DAMAGED`, and what `Vault.read_frame` raises.
    """
    rest = b""
    for frame in segment.frames:
        *lines, rest = (rest + vault.read_frame(frame, decoder)[0]).split(b"\n")
        yield from map(json.loads, lines)
    if rest:
        raise _damaged(segment.frames[-1].pack, "JOURNAL_DAMAGED", "its last line has no end")


def _put(vault: Vault, key: str, record: JournalInterval | JournalSegment | IntervalEnd) -> str:
    return put_new(vault.store_of_new, key, record.model_dump_json(exclude_none=True).encode())


def _read[T](vault: Vault, key: str, parse: Callable[[bytes], T]) -> tuple[T, str]:
    """Read a record; where a copy of the vault exists, it is asked for one that is damaged or missing."""

    def read(store: Store) -> tuple[T, str]:
        body = store.get(key)
        return parse(body), hashlib.sha256(body).hexdigest()

    return vault.checked(key, read)


def _damaged(key: str, code: str, why: str) -> IntegrityError:
    target, _ = interval_of(key) or ("TARGET", "")
    return IntegrityError(
        f"{key} of a journal is damaged: {why}.",
        code=code,
        hint=f"Moments of other intervals (`coffre journal list {target}`) and backups are not affected.",
    )
