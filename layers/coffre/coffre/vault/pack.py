"""Packs: stored objects that hold frames one after another.

A pack's key starts with the id of the backup that wrote it and is never written twice, so that a repeated part (after a
crash or a retry) cannot change what another attempt refers to.
"""

from __future__ import annotations

import hashlib
import secrets
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

from coffre.model.manifest import Frame, PackReference
from coffre.stores.store import Store
from coffre.vault.codec import FrameEncoder, Plaintext

# A single PUT each: no multipart bookkeeping, nothing to abort. 16 MiB is where S3's throughput per connection levels
# off, and two packs a stream (one filling, one on its way) keep the memory small.
PACK_SIZE_BYTES: Final = 16 * 1024 * 1024


class PackWriter:
    """Appends frames to packs and uploads each full pack in the background, one at a time.

    Use as a context manager: leaving waits until the last pack is stored; leaving by an error stores nothing more.

    Parameters
    ----------
    store
        Where packs go.
    prefix
        Key prefix of this part's packs, for example `v1/packs/<backup id>/000007`.
    encoder
        Makes the stored bytes; the writer asks it to check them once more before they leave.
    """

    def __init__(self, store: Store, prefix: str, encoder: FrameEncoder) -> None:
        self._store = store
        self._prefix = f"{prefix}-{secrets.token_hex(4)}"
        self._encoder = encoder
        self._frames: list[bytes] = []
        self._filled = 0
        self._count = 0
        self._uploader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pack-upload")
        self._upload: Future[None] | None = None
        self.packs: list[PackReference] = []

    def append(self, plaintext: Plaintext, sha256: str) -> Frame:
        """Encode one frame and append it; returns where it is going to be."""
        stored = self._encoder.encode(plaintext)
        if self._filled and self._filled + len(stored) > PACK_SIZE_BYTES:
            self._send()
        frame = Frame(
            pack=f"{self._prefix}-{self._count:04d}",
            offset=self._filled,
            length=len(stored),
            size=len(plaintext),
            sha256=sha256,
        )
        self._frames.append(stored)
        self._filled += len(stored)
        return frame

    def close(self) -> None:
        """Store what is left and wait for it. Raises what the store raised."""
        if self._frames:
            self._send()
        self._wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self._uploader.shutdown(wait=True, cancel_futures=True)

    def _send(self) -> None:
        self._wait()
        key = f"{self._prefix}-{self._count:04d}"
        frames, self._frames, self._filled = self._frames, [], 0
        self._count += 1
        self._upload = self._uploader.submit(self._put, key, frames)

    def _put(self, key: str, frames: list[bytes]) -> None:
        if self._encoder.encrypts:
            for frame in frames:
                self._encoder.check_encrypted(frame)
        body = b"".join(frames)
        frames.clear()
        sha256 = hashlib.sha256(body).hexdigest()
        self._store.put(key, body, sha256=sha256)
        self.packs.append(PackReference(key=key, length=len(body), sha256=sha256, live_bytes=len(body)))

    def _wait(self) -> None:
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.result()
