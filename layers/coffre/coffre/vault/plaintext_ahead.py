"""One large entry read in order, a few frames ahead of whoever consumes it."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from coffre.model.manifest import Entry, Frame
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault, check_entry

# What has been opened and not been consumed: eight frames.
_AHEAD_BYTES: Final = 16 * 1024 * 1024
_THREADS: Final = 4


def plaintext_ahead(vault: Vault, decoder: FrameDecoder, entry: Entry) -> Generator[bytes]:
    """Yield the plaintext of an entry with frames of its own, each frame checked before it is given out.

    The last piece comes only when the whole is what was recorded. Close the generator to stop before its end.

    Raises
    ------
    IntegrityError
        What `Vault.read_entry` raises.
    """

    def opened(frame: Frame) -> bytes:
        return vault.read_frame(frame, decoder)[0]

    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="read-ahead")
    waiting: deque[tuple[int, Future[bytes]]] = deque()
    frames = iter(entry.frames)
    whole, ahead, last = hashlib.sha256(), 0, b""
    try:
        for frame in frames:
            waiting.append((frame.size, pool.submit(opened, frame)))
            ahead += frame.size
            while ahead > _AHEAD_BYTES and len(waiting) > 1:
                size, future = waiting.popleft()
                ahead -= size
                plaintext = future.result()
                del future
                whole.update(plaintext)
                yield plaintext
        while waiting:
            last = waiting.popleft()[1].result()
            whole.update(last)
            if waiting:
                yield last
        check_entry(entry, whole.hexdigest())
        if last:
            yield last
    finally:
        pool.shutdown(cancel_futures=True)
