"""The record of an interval with its definitions, and that of its end: what has to be put back of them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from coffre.model.errors import EncryptionError, IntegrityError
from coffre.model.journal import IntervalEnd, JournalInterval, JournalState
from coffre.model.manifest import Frame
from coffre.operations.copy.from_copies import same_as
from coffre.operations.copy.interval_objects import IntervalObjects, Repair, Unit
from coffre.operations.copy.journal_chain import RightRecord
from coffre.stores.body import sha256_of
from coffre.vault.codec import FrameDecoder
from coffre.vault.journal import parse_record
from coffre.vault.layout import definitions_prefix, segment_prefix


def begin_of(objects: IntervalObjects) -> tuple[JournalInterval, str] | None:
    """Return the interval's record, that of a copy if need be, and its SHA-256; None: no place has one."""
    body = objects.body(objects.begin_key)
    try:
        if body is not None:
            return _parse_begin(objects, body), sha256_of(body)
    except IntegrityError:
        pass  # of a copy
    try:
        body = objects.copies.find(objects.begin_key, partial(_parse_begin, objects))
    except IntegrityError as error:
        objects.lost[objects.begin_key] = error.message
        return None
    return _parse_begin(objects, body), sha256_of(body)


def begin_unit(
    objects: IntervalObjects,
    begun: tuple[JournalInterval, str],
    first: RightRecord | None,
    state: JournalState | None,
    decoder: FrameDecoder,
) -> Iterator[Unit]:
    """Yield what has to be put back of an interval's record and definitions.

    Parameters
    ----------
    first
        The first segment that there is: that of the number 1 knows the interval's record.
    state
        What the catalog knows, if the interval is open.
    """
    (interval, sha256), key = begun, objects.begin_key
    expected, is_proven = None, False
    if first is not None and first.link.key.number == 1:
        expected, is_proven = first.link.previous, first.is_good or first.is_proven
    elif state is not None and state.number == 0:
        expected, is_proven = state.sha256, True
    if expected is not None and expected != sha256:
        try:
            body = objects.copies.find(key, same_as(key, expected))
            interval, sha256 = _parse_begin(objects, body), expected
        except IntegrityError as error:
            objects.lost[key] = error.message
            return
    seen = objects.seen(key, sha256)
    packs = tuple(_definitions(objects, interval, decoder))
    lacking = next((frame.pack for frame in interval.definitions if frame.pack in objects.lost), None)
    if lacking is not None and seen is None:
        objects.lost[key] = f"It is of no use without {lacking}, which no copy has."
    elif packs or seen != sha256:
        yield Unit(key, packs, None if seen == sha256 else Repair(key, sha256, seen, is_proven))


def _parse_begin(objects: IntervalObjects, body: bytes) -> JournalInterval:
    record = parse_record(objects.begin_key, body, JournalInterval)
    prefix = f"{definitions_prefix(objects.target, objects.id)}-"
    is_own = all(frame.pack.startswith(prefix) for frame in record.definitions)
    if (record.target, record.id) != (objects.target, objects.id) or not is_own:
        raise IntegrityError(f"{objects.begin_key} is the record of another interval.", code="JOURNAL_DAMAGED")
    return record


def _definitions(objects: IntervalObjects, interval: JournalInterval, decoder: FrameDecoder) -> Iterator[Repair]:
    """Yield what has to be put back of the definitions."""
    for key, frames in groupby(interval.definitions, key=lambda frame: frame.pack):
        opened = _Frames(key, tuple(frames), decoder)
        own = objects.body(key)
        try:
            if own is None or not opened.is_good(own):
                body = objects.copies.find(key, opened.check)
                yield Repair(key, sha256_of(body), objects.seen(key), opened.is_open)
        except IntegrityError as error:
            objects.lost[key] = error.message


@dataclass
class _Frames:
    """The frames of a pack with definitions. Without the key their length alone can be compared."""

    key: str
    frames: Sequence[Frame]
    decoder: FrameDecoder
    is_open: bool = True

    def is_good(self, body: bytes) -> bool:
        try:
            self.check(body)
        except IntegrityError:
            return False
        return True

    def check(self, body: bytes) -> None:
        length = max(frame.offset + frame.length for frame in self.frames)
        if len(body) != length:
            raise IntegrityError(f"{self.key} has {len(body):,} bytes, not {length:,}.", code="PACK_TRUNCATED")
        try:
            for frame in self.frames:
                self.decoder.open(body[frame.offset : frame.offset + frame.length], frame)
        except EncryptionError:
            self.is_open = False


def own_end(objects: IntervalObjects) -> IntervalEnd | None:
    """Return the end that the vault has; None: it has none, or one that cannot be read."""
    body = objects.body(objects.end_key)
    try:
        return parse_record(objects.end_key, body, IntervalEnd) if body is not None else None
    except IntegrityError:
        return None


def likely_end(objects: IntervalObjects, interval: JournalInterval) -> IntervalEnd | None:
    """Return the end that a copy has, before it is known which segments there are."""
    if objects.end_key not in objects.offered:
        return None
    try:
        body = objects.copies.find(objects.end_key, partial(_check_end, objects, interval, None), is_guess=True)
    except IntegrityError:
        return None
    return parse_record(objects.end_key, body, IntervalEnd)


def end_units(
    objects: IntervalObjects, interval: JournalInterval, last: RightRecord | None, state: JournalState | None
) -> Generator[Unit, None, IntervalEnd | None]:
    """Yield the end of an interval of which the vault has none that can be read. Nothing proves one of a copy.

    Not where the catalog says that the interval is open: a drain would have to stop there. Returns what it says; None:
    there is none.
    """
    key = objects.end_key
    seen = objects.seen(key)
    if seen is None and key not in objects.offered:
        return None
    if seen is None and state is not None:
        objects.copies.refused[key] = "The catalog says that the interval has not ended: the next drain decides."
        return None
    try:
        body = objects.copies.find(key, partial(_check_end, objects, interval, last))
    except IntegrityError as error:
        if seen is not None:
            objects.lost[key] = error.message
        return None
    yield Unit(key, (), Repair(key, sha256_of(body), seen, is_proven=False))
    return parse_record(key, body, IntervalEnd)


def _is_own_tail(objects: IntervalObjects, end: IntervalEnd) -> bool:
    if end.tail is None:
        return True
    prefix, named = (
        f"{segment_prefix(objects.target, objects.id, end.tail.number)}-",
        {one.key for one in end.tail.packs},
    )
    is_own = end.tail.interval == objects.id and all(key.startswith(prefix) for key in named)
    return is_own and named.issuperset(frame.pack for frame in end.tail.frames)


def _check_end(objects: IntervalObjects, interval: JournalInterval, last: RightRecord | None, body: bytes) -> None:
    end = parse_record(objects.end_key, body, IntervalEnd)
    is_before = last is not None and (
        end.stored_lsn < last.link.to_lsn or (end.number is not None and end.number < last.link.key.number)
    )
    if not _is_own_tail(objects, end):
        raise IntegrityError(f"{objects.end_key} names what is not of the interval.", code="JOURNAL_DAMAGED")
    if is_before or end.ended_at < interval.started_at or end.stored_lsn < interval.from_lsn:
        raise IntegrityError(f"{objects.end_key} does not fit what is stored of the interval.", code="JOURNAL_DAMAGED")
