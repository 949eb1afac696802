"""Frames that several readers want at about the same time: solid ones, which neighbours share."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import Final

from coffre.model.manifest import Frame
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault

# Solid frames are 1 MiB; after incremental backups neighbours are in the frames of several backups.
_KEPT_BYTES: Final = 24 * 1024 * 1024


class FrameCache:
    """Opens each frame once for all threads that ask for it while it is kept; the one used longest ago goes first."""

    def __init__(self, vault: Vault, decoder: FrameDecoder, kept_bytes: int = _KEPT_BYTES) -> None:
        self._vault = vault
        self._decoder = decoder
        self._kept_bytes = kept_bytes
        self._lock = threading.Lock()
        self._frames: OrderedDict[tuple[str, int], tuple[Future[bytes], int]] = OrderedDict()
        self._size = 0

    def read(self, frame: Frame) -> bytes:
        """Return the checked plaintext of a frame; raises what `Vault.read_frame` raises."""
        key = frame.pack, frame.offset
        with self._lock:
            found = self._frames.get(key)
            if found is not None:
                self._frames.move_to_end(key)
            else:
                opened: Future[bytes] = Future()
                self._keep(key, opened, frame.size)
        if found is not None:
            return found[0].result()
        try:
            plaintext, _ = self._vault.read_frame(frame, self._decoder)
        except BaseException as error:
            with self._lock:
                self._forget(key, opened)
            opened.set_exception(error)
            raise
        opened.set_result(plaintext)
        return plaintext

    def _keep(self, key: tuple[str, int], opened: Future[bytes], size_bytes: int) -> None:
        self._frames[key] = opened, size_bytes
        self._size += size_bytes
        while self._size > self._kept_bytes and len(self._frames) > 1:
            _, (_, dropped) = self._frames.popitem(last=False)
            self._size -= dropped

    def _forget(self, key: tuple[str, int], opened: Future[bytes]) -> None:
        found = self._frames.get(key)
        if found is not None and found[0] is opened:
            del self._frames[key]
            self._size -= found[1]
