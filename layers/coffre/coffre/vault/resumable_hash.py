"""A SHA-256 whose state can be stored, so that another invocation continues it: `hashlib` keeps its own to itself.

Only objects that one invocation may not finish are hashed so: the loop in C (`layers/coffre/copydata/sha256.c`) makes
some 230 MB/s of a core, more than a function reads, and `hashlib` several times that.
"""

from __future__ import annotations

import ctypes
import struct
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

LIBRARY: Final = Path(__file__).with_name("libsha256.so")
_BLOCK_BYTES: Final = 64
_STATE_BYTES: Final = 32
# FIPS 180-4, 5.3.3: the fractional parts of the square roots of the first eight primes.
_START: Final = (
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
)  # fmt: skip


def is_available() -> bool:
    """Return whether the loop in C was built, and for this machine."""
    return _library() is not None


class ResumableSha256:
    """As `hashlib.sha256()`, with a state. The bytes taken so far are `size`; not thread-safe.

    Raises
    ------
    OSError
        The loop in C was not built: see `is_available`.
    """

    def __init__(self) -> None:
        library = _library()
        if library is None:
            raise OSError(f"{LIBRARY} was not built for this machine.")
        self._take_blocks = library.coffre_sha256_blocks
        self._words = (ctypes.c_uint32 * 8)(*_START)
        self._rest = b""
        self.size = 0

    @classmethod
    def of_state(cls, state: str, size: int) -> Self:
        """Continue from what `state` returned after `size` bytes.

        Raises
        ------
        ValueError
            They are not those of a state.
        """
        own, data = cls(), bytes.fromhex(state)
        if len(data) != _STATE_BYTES or size < 0 or size % _BLOCK_BYTES:
            raise ValueError("not the state of a SHA-256")
        own._words = (ctypes.c_uint32 * 8)(*struct.unpack(">8I", data))
        own.size = size
        return own

    def state(self) -> str:
        """Return the eight words of the state, in hexadecimal. They tell as much of the bytes as a hash does.

        Raises
        ------
        ValueError
            The size so far is no multiple of 64: the state would have to hold some of the bytes themselves.
        """
        if self._rest:
            raise ValueError("the state of a SHA-256 is taken at the border of a block")
        return struct.pack(">8I", *self._words).hex()

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take more bytes."""
        view = memoryview(data).cast("B")
        self.size += len(view)
        if self._rest:
            missing = _BLOCK_BYTES - len(self._rest)
            self._rest += view[:missing]
            view = view[missing:]
            if len(self._rest) < _BLOCK_BYTES:
                return
            self._blocks(self._rest)
        whole = len(view) - len(view) % _BLOCK_BYTES
        if whole:
            self._blocks(view[:whole])
        self._rest = bytes(view[whole:])

    def hexdigest(self) -> str:
        """Return the hash of the bytes so far, in hexadecimal; more can follow."""
        padding = b"\x80" + bytes((55 - self.size) % _BLOCK_BYTES) + (8 * self.size).to_bytes(8, "big")
        words = (ctypes.c_uint32 * 8)(*self._words)
        last = self._rest + padding
        self._take_blocks(words, last, len(last) // _BLOCK_BYTES)
        return struct.pack(">8I", *words).hex()

    def _blocks(self, data: bytes | memoryview) -> None:
        if isinstance(data, memoryview) and data.readonly:
            # ctypes takes the address of what can be written, and of bytes.
            data = data.tobytes()
        where = data if isinstance(data, bytes) else ctypes.addressof(ctypes.c_char.from_buffer(data))
        self._take_blocks(self._words, where, len(data) // _BLOCK_BYTES)


@cache
def _library() -> Any:
    try:
        library = ctypes.CDLL(str(LIBRARY))
    except OSError:
        return None
    library.coffre_sha256_blocks.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64]
    library.coffre_sha256_blocks.restype = None
    return library
