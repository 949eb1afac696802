"""Compressing frames at the level that pays: a lower one where it makes frames as small as the one asked for.

Higher levels look for longer repetitions. Where data has none (hexadecimal digits of pictures, hashes, keys) they take
five times as long and store more; on many tables of ids and timestamps level 1 or 2 stores less than 3.
What is compressed already gets level 1, which passes it on at 2 GB/s.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

from backports import zstd

_CHEAP_LEVELS: Final = (1, 2)
# One frame of this number is compressed at each candidate level, which takes three times as long. While the choice
# stays the same, trials become rarer, down to one frame of the second number.
_FRAMES_A_TRIAL: Final = 32
_MOST_FRAMES_A_TRIAL: Final = 256
# A smaller frame says too little about those that follow.
_SMALLEST_TRIAL_BYTES: Final = 128 * 1024
# The first choice is made by a part, and soon looked at again: tables of a few frames would otherwise be compressed
# three times over.
_FIRST_TRIAL_BYTES: Final = 256 * 1024
_FRAMES_A_FIRST_TRIAL: Final = 4
# What is cut out of the middle of a frame to see whether it is compressed already, and what it must save to be not.
_SAMPLE_BYTES: Final = 64 * 1024
_COMPRESSED_ALREADY: Final = 0.98
# A level takes the place of a higher one when its frame is larger by at most this factor.
_AS_SMALL: Final = 1.01


@dataclass
class _Choice:
    level: int
    frames_a_trial: int
    frames_left: int


def _next_choice(level: int, before: _Choice | None) -> _Choice:
    a_trial = _FRAMES_A_FIRST_TRIAL if before is None else _FRAMES_A_TRIAL
    if before is not None and before.level == level:
        a_trial = min(max(2 * before.frames_a_trial, _FRAMES_A_TRIAL), _MOST_FRAMES_A_TRIAL)
    return _Choice(level, a_trial, a_trial - 1)


class Levels:
    """Makes zstd frames. Used by many threads; each keeps its contexts.

    Parameters
    ----------
    highest
        The configured level, 1 to 19.
    """

    def __init__(self, highest: int) -> None:
        self._highest = highest
        self._candidates = (*(level for level in _CHEAP_LEVELS if level < highest), highest)
        self._choices: dict[str, _Choice] = {}
        self._local = threading.local()

    def compress(
        self, plaintext: bytes | bytearray | memoryview, alike: str | None, at_least: int | None = None
    ) -> bytes:
        """Return one frame; `alike` names what it has in common with others, a table for example; None: nothing.

        With `at_least` it gets this level, or the configured one if that is higher, and nothing is tried.
        """
        if at_least is not None:
            return self._compress(plaintext, max(at_least, self._highest))
        if alike is None:
            return self._compress(plaintext, 1 if self._is_compressed(plaintext) else self._highest)
        if len(plaintext) < _SMALLEST_TRIAL_BYTES or len(self._candidates) == 1:
            return self._compress(plaintext, self._highest)
        choice = self._choices.get(alike)
        if choice is None or choice.frames_left <= 0:
            return self._try(plaintext, alike, choice)
        choice.frames_left -= 1
        return self._compress(plaintext, choice.level)

    def _is_compressed(self, plaintext: bytes | bytearray | memoryview) -> bool:
        """Return whether a frame is of pictures, archives and the like, by a part of it."""
        if len(plaintext) < 2 * _SAMPLE_BYTES:
            return False
        start = (len(plaintext) - _SAMPLE_BYTES) // 2
        sample = memoryview(plaintext)[start : start + _SAMPLE_BYTES]
        return len(self._compress(sample, 1)) > _COMPRESSED_ALREADY * _SAMPLE_BYTES

    def _try(self, plaintext: bytes | bytearray | memoryview, alike: str, before: _Choice | None) -> bytes:
        if before is not None:
            before.frames_left = before.frames_a_trial  # meanwhile no other thread tries
        start = max(0, (len(plaintext) - _FIRST_TRIAL_BYTES) // 2)
        part = memoryview(plaintext)[start : start + _FIRST_TRIAL_BYTES] if before is None else plaintext
        frames = {level: self._compress(part, level) for level in self._candidates}
        smallest = min(len(frame) for frame in frames.values())
        level = next(level for level, frame in frames.items() if len(frame) <= _AS_SMALL * smallest)
        self._choices[alike] = _next_choice(level, before)
        return self._compress(plaintext, level) if before is None else frames[level]

    def _compress(self, plaintext: bytes | bytearray | memoryview, level: int) -> bytes:
        # A context is kept: a fresh one costs a page fault for every 4 KiB of its tables.
        contexts: dict[int, zstd.ZstdCompressor] = self._local.__dict__.setdefault("by_level", {})
        if level not in contexts:
            contexts[level] = zstd.ZstdCompressor(
                options={
                    zstd.CompressionParameter.compression_level: level,
                    zstd.CompressionParameter.checksum_flag: 1,
                }
            )
        return contexts[level].compress(plaintext, mode=zstd.ZstdCompressor.FLUSH_FRAME)
