"""What of a journal is in packs: the lines of its segments, and the definitions of its intervals."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from coffre.model.manifest import Frame, PackReference
from coffre.vault.codec import FrameEncoder
from coffre.vault.entries import FRAME_SIZE_BYTES
from coffre.vault.layout import definitions_prefix, segment_prefix
from coffre.vault.pack import PackWriter
from coffre.vault.vault import Vault

# zstd's, of a segment that fits into one frame, as nearly all do: half a second at most pays for a tenth of the bytes.
# What is larger comes in a hurry.
_LEVEL_OF_FEW: Final = 16


@dataclass(frozen=True)
class Stored:
    """Plaintext that is stored: its frames, the packs that have them, and its size in bytes."""

    frames: tuple[Frame, ...]
    packs: tuple[PackReference, ...]
    size: int


def store_definitions(
    vault: Vault, target: str, interval: str, encoder: FrameEncoder, document: bytes
) -> tuple[Frame, ...]:
    """Store the definitions of an interval, which its record will name."""
    return _store(vault, definitions_prefix(target, interval), encoder, [document]).frames


def store_lines(
    vault: Vault, target: str, interval: str, number: int, encoder: FrameEncoder, pieces: Iterable[bytes]
) -> Stored:
    """Store the lines of a segment, in memory for two packs; `pieces` are its bytes, cut anywhere."""
    return _store(vault, segment_prefix(target, interval, number), encoder, pieces)


def _store(vault: Vault, prefix: str, encoder: FrameEncoder, pieces: Iterable[bytes]) -> Stored:
    frames, size = list[Frame](), 0
    with PackWriter(vault.store_of_new, prefix, encoder) as packs, ThreadPoolExecutor(1, "journal-frames") as storing:
        # A frame is compressed and encrypted while the lines of the next one come.
        appended: Future[Frame] | None = None
        for plaintext in _frame_sized(pieces):
            if appended is not None:
                frames.append(appended.result())
            level = None if size or len(plaintext) >= FRAME_SIZE_BYTES else _LEVEL_OF_FEW
            appended = storing.submit(_append, packs, plaintext, prefix, level)
            size += len(plaintext)
        if appended is not None:
            frames.append(appended.result())
    return Stored(tuple(frames), tuple(packs.packs), size)


def _append(packs: PackWriter, plaintext: bytes, prefix: str, level: int | None) -> Frame:
    return packs.append(plaintext, hashlib.sha256(plaintext).hexdigest(), prefix, at_least=level)


def _frame_sized(pieces: Iterable[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) >= FRAME_SIZE_BYTES:
            yield bytes(waiting[:FRAME_SIZE_BYTES])
            del waiting[:FRAME_SIZE_BYTES]
    if waiting:
        yield bytes(waiting)
