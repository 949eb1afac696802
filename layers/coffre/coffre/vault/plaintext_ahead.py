"""One large entry read in order, a few frames ahead of whoever consumes it."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from coffre.model.manifest import Entry
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault, check_entry

# What has been opened and not been consumed; frames of objects have up to 8 MiB.
_AHEAD_BYTES: Final = 32 * 1024 * 1024
_THREADS: Final = 4


def plaintext_ahead(vault: Vault, decoder: FrameDecoder, entry: Entry) -> Generator[bytes]:
    """Yield the plaintext of an entry with frames of its own, each frame checked before it is given out.

    The last piece comes only when the whole is what was recorded. Close the generator to stop before its end.

    Raises
    ------
    IntegrityError
        What `Vault.read_entry` raises.
    """
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="read-ahead")
    waiting: deque[tuple[int, Future[tuple[bytes, bytes]]]] = deque()
    frames = iter(entry.frames)
    whole, ahead, last = hashlib.sha256(), 0, b""
    try:
        for frame in frames:
            waiting.append((frame.size, pool.submit(vault.read_frame, frame, decoder)))
            ahead += frame.size
            while ahead > _AHEAD_BYTES and len(waiting) > 1:
                size, opened = waiting.popleft()
                ahead -= size
                plaintext = opened.result()[0]
                del opened
                whole.update(plaintext)
                yield plaintext
        while waiting:
            last = waiting.popleft()[1].result()[0]
            whole.update(last)
            if waiting:
                yield last
        check_entry(entry, whole.hexdigest())
        if last:
            yield last
    finally:
        pool.shutdown(cancel_futures=True)
