"""Packs: stored objects that hold frames one after another.

A pack's key starts with the id of the backup that wrote it and is never written twice, so that a repeated part (after a
crash or a retry) cannot change what another attempt refers to.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

from coffre.model.manifest import Frame, PackReference
from coffre.stores.store import Store
from coffre.vault.codec import FrameEncoder, Plaintext

# A single PUT each: no multipart bookkeeping, nothing to abort. 16 MiB is where S3's throughput per connection levels
# off, and two packs a stream (one filling, one on its way) keep the memory small.
PACK_SIZE_BYTES: Final = 16 * 1024 * 1024
# The start of a frame that is looked at once more before it leaves: more than the header of any age file with the
# recipients that a person would configure.
_HEADER_BYTES: Final = 64 * 1024


# Together with frames, buffers and the interpreter, four streams stay below 300 MB whatever the data.
_PACKS_FOR_FEW_STREAMS: Final = 8


def packs_for(streams: int) -> int:
    """Return how many packs a job with so many streams may have in memory."""
    return max(streams + 1, min(2 * streams, _PACKS_FOR_FEW_STREAMS))


class PackRoom:
    """How many packs of a job may be in memory at once, filling or on their way. Whoever begins one more waits.

    It never waits forever: a pack that is filled needs no second one to be sent.
    """

    def __init__(self, packs: int) -> None:
        self._free = threading.BoundedSemaphore(packs)

    def take(self) -> None:
        """Wait until there is room for a pack."""
        self._free.acquire()

    def give_back(self) -> None:
        """Make room for another pack."""
        self._free.release()


class PackWriter:
    """Appends frames to packs and uploads each full pack in the background.

    Use as a context manager: leaving waits until the last pack is stored; leaving by an error stores nothing more.

    Parameters
    ----------
    store
        Where packs go.
    prefix
        Key prefix of this part's packs, for example `v1/packs/<backup id>/000007`.
    encoder
        Makes the stored bytes; the writer asks it to check them once more before they leave.
    room
        Shared with the other writers of the job; by itself a writer fills one pack while others are on their way.
    uploads
        How many may be on their way at once.
    """

    def __init__(
        self, store: Store, prefix: str, encoder: FrameEncoder, room: PackRoom | None = None, *, uploads: int = 1
    ) -> None:
        self._store = store
        self._prefix = f"{prefix}-{secrets.token_hex(4)}"
        self._encoder = encoder
        self._room = room or PackRoom(uploads + 1)
        self._pack = bytearray()
        self._offsets: list[int] = []
        self._count = 0
        self._uploader = ThreadPoolExecutor(max_workers=uploads, thread_name_prefix="pack-upload")
        self._at_once = uploads
        self._uploads: deque[Future[None]] = deque()
        self.packs: list[PackReference] = []

    def append(self, plaintext: Plaintext, sha256: str, alike: str | None = "") -> Frame:
        """Encode one frame and append it; returns where it is going to be. `alike`: see `FrameEncoder.encode`."""
        stored = self._encoder.encode(plaintext, alike)
        if self._offsets and len(self._pack) + len(stored) > PACK_SIZE_BYTES:
            self._send()
        if not self._offsets:
            self._room.take()
        frame = Frame(
            pack=f"{self._prefix}-{self._count:04d}",
            offset=len(self._pack),
            length=len(stored),
            size=len(plaintext),
            sha256=sha256,
        )
        self._offsets.append(len(self._pack))
        self._pack += stored
        return frame

    def close(self) -> None:
        """Store what is left and wait for it. Raises what the store raised."""
        if self._offsets:
            self._send()
        self._wait_for(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self._uploader.shutdown(wait=True)
            if self._offsets:
                self._room.give_back()

    def _send(self) -> None:
        self._wait_for(self._at_once - 1)
        key = f"{self._prefix}-{self._count:04d}"
        pack, self._pack = self._pack, bytearray()
        offsets, self._offsets = self._offsets, []
        self._count += 1
        self._uploads.append(self._uploader.submit(self._put, key, pack, offsets))

    def _put(self, key: str, pack: bytearray, offsets: list[int]) -> None:
        try:
            if self._encoder.encrypts:
                for offset in offsets:
                    self._encoder.check_encrypted(pack[offset : offset + _HEADER_BYTES])
            sha256 = hashlib.sha256(pack).hexdigest()
            self._store.put(key, memoryview(pack), sha256=sha256)
            self.packs.append(PackReference(key=key, length=len(pack), sha256=sha256, live_bytes=len(pack)))
        finally:
            self._room.give_back()

    def _wait_for(self, left: int) -> None:
        """Wait until at most so many uploads are on their way. Raises what the store raised."""
        while len(self._uploads) > left:
            self._uploads.popleft().result()
