"""Small entries share frames: neighbours are read one after another, and the frame is fetched and opened once."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import Final

from coffre.model.manifest import Entry, Frame
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault, check_entry

# Threads work at neighbours: they are at the end of one frame and at the beginning of the next. A shared frame has at
# most about 1 MiB.
_KEPT_FRAMES: Final = 2


class SharedFrames:
    """Reads entries that are a part of a frame. Thread-safe."""

    def __init__(self, vault: Vault, decoder: FrameDecoder) -> None:
        self._vault = vault
        self._decoder = decoder
        self._lock = threading.Lock()
        self._kept: OrderedDict[Frame, bytes] = OrderedDict()

    def read(self, entry: Entry) -> bytes:
        """Return the checked plaintext of an entry that `is_shared`.

        Raises
        ------
        IntegrityError
            `PACK_MISSING`, `FRAME_DAMAGED`, `OBJECT_TRUNCATED` or `ENTRY_DAMAGED`.
        """
        frame = entry.frames[0]
        with self._lock:  # others mostly want the same one
            if (plaintext := self._kept.get(frame)) is None:
                plaintext, _ = self._vault.read_frame(frame, self._decoder)
                self._kept[frame] = plaintext
                if len(self._kept) > _KEPT_FRAMES:
                    self._kept.popitem(last=False)
        content = plaintext[entry.start : entry.start + entry.size]
        check_entry(entry, hashlib.sha256(content).hexdigest())
        return content


def is_shared(entry: Entry) -> bool:
    """Whether an entry is one of several in its frame."""
    return len(entry.frames) == 1 and entry.frames[0].size != entry.size
