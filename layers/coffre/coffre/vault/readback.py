"""Reading stored bytes back to see whether they are what was recorded; damage is reported, and the rest is read."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

from coffre.concurrency.generator_pool import GeneratorPool
from coffre.model.errors import IntegrityError
from coffre.model.manifest import Entry, Frame
from coffre.model.verification import Damage
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault, check_entry, twice

# As in `readahead`: frames of about 2 MiB, open and compressed. Nothing else uses the memory here.
_FRAMES_AHEAD: Final = 12
_THREADS: Final = 6
# Of a large entry: how often the time is looked at.
_LOOK_FRAMES: Final = 16

type _Opened = Future[bytes | Damage]


@dataclass
class ReadEntry:
    """An entry, whether anything was read of it, and what was wrong with that. A shared frame is in `frames` once.

    `cut` is the number of its frames that were passed when the time was over; nothing follows then.
    """

    entry: Entry
    is_read: bool = False
    frames: list[Frame] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    cut: int | None = None


def _never() -> bool:
    return False


def read_back(
    vault: Vault,
    decoder: FrameDecoder,
    entries: Iterable[Entry],
    wanted: Callable[[Frame], bool],
    *,
    is_over: Callable[[], bool] = _never,
    skip: int = 0,
) -> Generator[ReadEntry]:
    """Yield every entry, in order, after reading those of its frames that are wanted.

    Of the first entry `skip` frames are not read: an earlier reading found them good. Within an entry of many frames,
    `is_over` may end it.

    A frame that neighbours share is read once. What is damaged is read twice before it is called so. A list of entries
    that is damaged ends it, after the entries before it. Whatever else the store raises ends it. Close the generator to
    stop before its end.
    """
    waiting: deque[_Step] = deque()
    check = _Check()
    last: tuple[Frame, _Opened] | None = None
    damages: list[IntegrityError] = []
    with GeneratorPool(_THREADS, "read-back") as pool:
        for entry in _until_damage(entries, damages):
            if not entry.frames:
                waiting.append(_Step(entry))
            for number, frame in enumerate(entry.frames):
                if number > skip and number % _LOOK_FRAMES == 0 and is_over():
                    while waiting:
                        yield from check.take(waiting.popleft())
                    yield check.cut(number)
                    return
                if number < skip:
                    waiting.append(_Step(entry, number))
                elif last is not None and last[0] == frame:
                    waiting.append(_Step(entry, number, last[1]))
                elif wanted(frame):
                    last = frame, pool.submit(_open, vault, decoder, frame)
                    waiting.append(_Step(entry, number, last[1], is_first=True))
                else:
                    waiting.append(_Step(entry, number))
                while len(waiting) > _FRAMES_AHEAD:
                    yield from check.take(waiting.popleft())
            skip = 0
        last = None
        while waiting:
            yield from check.take(waiting.popleft())
        if damages:
            raise damages[0]


def _until_damage(entries: Iterable[Entry], damages: list[IntegrityError]) -> Generator[Entry]:
    """Yield entries up to a damaged list, and note its damage."""
    try:
        yield from entries
    except IntegrityError as error:
        damages.append(error)


@dataclass(frozen=True)
class _Step:
    """One frame of an entry; without `opened` it is not read."""

    entry: Entry
    number: int = 0
    opened: _Opened | None = None
    is_first: bool = False


class _Check:
    """Puts entries together again, and compares the SHA-256 of each that was read whole."""

    def __init__(self) -> None:
        self._now: ReadEntry | None = None
        self._hash = hashlib.sha256()
        self._is_whole = True

    def take(self, step: _Step) -> Generator[ReadEntry]:
        if self._now is None:
            self._now = ReadEntry(step.entry)
            self._hash, self._is_whole = hashlib.sha256(), True
        if step.entry.frames:
            self._add(self._now, step)
        if step.number >= len(step.entry.frames) - 1:
            if self._is_whole and not _is_unread(step.entry):
                self._compare(self._now)
            yield self._now
            self._now = None

    def cut(self, number: int) -> ReadEntry:
        """Return the entry that is under way, of which this number of frames was passed."""
        assert self._now is not None  # noqa: S101 - for mypy: its last frame was not taken
        self._now.cut = number
        return self._now

    def _add(self, now: ReadEntry, step: _Step) -> None:
        frame = step.entry.frames[step.number]
        found = step.opened.result() if step.opened else None
        now.is_read = now.is_read or step.opened is not None
        if step.is_first:
            now.frames.append(frame)
        if isinstance(found, Damage):
            now.damages.append(found.model_copy(update={"entry": step.entry.name}))
        if isinstance(found, bytes):
            self._hash.update(_own_part(step.entry, frame, found))
        else:
            self._is_whole = False

    def _compare(self, now: ReadEntry) -> None:
        try:
            check_entry(now.entry, self._hash.hexdigest())
        except IntegrityError as error:
            packs = tuple(sorted({frame.pack for frame in now.entry.frames}))
            now.damages.append(Damage.of(error, entry=now.entry.name, packs=packs))


def _is_unread(entry: Entry) -> bool:
    """Report an object that the backup records as unread."""
    return entry.object is not None and entry.object.unread is not None


def _own_part(entry: Entry, frame: Frame, plaintext: bytes) -> bytes | memoryview:
    if len(entry.frames) == 1 and frame.size != entry.size:
        return memoryview(plaintext)[entry.start : entry.start + entry.size]
    return plaintext


def _open(vault: Vault, decoder: FrameDecoder, frame: Frame) -> bytes | Damage:
    try:
        return twice(lambda: vault.read_frame(frame, decoder)[0])
    except IntegrityError as error:
        return Damage.of_frame(error)
