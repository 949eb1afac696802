"""Packs: stored objects that hold frames one after another.

A pack's key starts with the id of the backup that wrote it and is never written twice, so that a repeated part (after a
crash or a retry) cannot change what another attempt refers to.
"""

from __future__ import annotations

import secrets
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final, Self

from coffre.concurrency.memory_budget import MemoryBudget
from coffre.model.locks import Lock
from coffre.model.manifest import Frame, PackReference
from coffre.stores.body import sha256_of, size_of
from coffre.stores.store import Store
from coffre.vault.codec import FrameEncoder, Plaintext

# A single PUT each: no multipart bookkeeping, nothing to abort. 16 MiB is where S3's throughput per connection levels
# off, and two packs a stream (one filling, one on its way) keep the memory small.
PACK_SIZE_BYTES: Final = 16 * 1024 * 1024

# Together with frames, buffers and the interpreter, four streams stay below 300 MB whatever the data.
_PACKS_FOR_FEW_STREAMS: Final = 8


def packs_for(streams: int) -> int:
    """Return how many packs a job with this number of streams may have in memory."""
    return max(streams + 1, min(2 * streams, _PACKS_FOR_FEW_STREAMS))


def budget_for(packs: int) -> MemoryBudget:
    """Return the budget of a job that may have this number of packs in memory, filling or being uploaded.

    A writer that waits for it never waits forever: the other writers need no second pack to send a full one.
    """
    return MemoryBudget(packs * PACK_SIZE_BYTES)


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
    budget
        Shared with the other writers of the job. Without it, a writer fills one pack while its uploads run.
    uploads
        How many packs may be uploaded at the same time.
    lock
        The lock that the store sets on each pack, for the references to them.
    """

    def __init__(
        self,
        store: Store,
        prefix: str,
        encoder: FrameEncoder,
        budget: MemoryBudget | None = None,
        *,
        uploads: int = 1,
        lock: Lock | None = None,
    ) -> None:
        self._store = store
        self._lock = lock
        self._prefix = f"{prefix}-{secrets.token_hex(4)}"
        self._encoder = encoder
        self._budget = budget or budget_for(uploads + 1)
        self._frames: list[bytes] = []
        self._length = 0
        self._count = 0
        self._uploader = ThreadPoolExecutor(max_workers=uploads, thread_name_prefix="pack-upload")
        self._parallel = uploads
        self._uploads: set[Future[None]] = set()
        self.packs: list[PackReference] = []

    def append(
        self, plaintext: Plaintext, sha256: str, alike: str | None = "", *, at_least: int | None = None
    ) -> Frame:
        """Encode one frame and append it; returns where it is going to be. The options: see `FrameEncoder.encode`."""
        stored = self._encoder.encode(plaintext, alike, at_least=at_least)
        if self._frames and self._length + len(stored) > PACK_SIZE_BYTES:
            self._send()
        if not self._frames:
            self._budget.take(PACK_SIZE_BYTES)
        frame = Frame(
            pack=f"{self._prefix}-{self._count:04d}",
            offset=self._length,
            length=len(stored),
            size=len(plaintext),
            sha256=sha256,
        )
        self._frames.append(stored)
        self._length += len(stored)
        return frame

    def close(self) -> None:
        """Store what is left and wait for it. Raises what the store raised."""
        if self._frames:
            self._send()
        self._wait_for(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self._uploader.shutdown(wait=True)
            if self._frames:
                self._budget.give_back(PACK_SIZE_BYTES)

    def _send(self) -> None:
        self._wait_for(self._parallel - 1)
        key = f"{self._prefix}-{self._count:04d}"
        frames, self._frames, self._length = self._frames, [], 0
        self._count += 1
        self._uploads.add(self._uploader.submit(self._put, key, frames))

    def _put(self, key: str, frames: list[bytes]) -> None:
        try:
            if self._encoder.encrypts:
                for frame in frames:
                    self._encoder.check_encrypted(frame)
            sha256, length = sha256_of(frames), size_of(frames)
            self._store.put(key, frames, sha256=sha256, if_absent=True)
            self.packs.append(
                PackReference(
                    key=key,
                    length=length,
                    sha256=sha256,
                    live_bytes=length,
                    locked_until=self._lock.until if self._lock else None,
                    lock_mode=self._lock.mode if self._lock else None,
                )
            )
        finally:
            self._budget.give_back(PACK_SIZE_BYTES)

    def _wait_for(self, left: int) -> None:
        """Wait until at most this number of uploads still run. Raises what the store raised."""
        while len(self._uploads) > left:
            done, self._uploads = wait(self._uploads, return_when=FIRST_COMPLETED)
            for upload in done:
                upload.result()
