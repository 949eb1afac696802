"""A whole stream in one age file, for exports: their readers have no frames to open."""

from __future__ import annotations

import io
from collections.abc import Buffer, Callable, Iterator, Sequence

import pyrage

from coffre.model.errors import EncryptionError
from coffre.vault.codec import FrameEncoder, parse_recipient


def encrypt_stream(chunks: Iterator[bytes], write: Callable[[bytes], object], recipients: Sequence[str]) -> None:
    """Write the age file of a stream, in constant memory.

    What reading or writing raises is raised as it is.

    Raises
    ------
    EncryptionError
        `RECIPIENT_INVALID`; `ENCRYPTION_MISSING` when the header made is not for exactly these recipients: nothing has
        been written then.
    """
    keys = [parse_recipient(recipient) for recipient in recipients]
    source, sink = _Source(chunks), _Sink(write, FrameEncoder(recipients))
    try:
        pyrage.encrypt_io(source, sink, keys)
    except pyrage.EncryptError as error:
        if cause := source.error or sink.error:
            raise cause from error
        raise EncryptionError("The stream could not be encrypted.", detail=str(error)) from error
    if cause := sink.error or source.error:  # the library says nothing of an error at its last write
        raise cause
    sink.release()


class _Source(io.BufferedIOBase):
    """The stream as age reads it; it hides what was raised here."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._current = memoryview(b"")
        self.error: BaseException | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            while not self._current:
                self._current = memoryview(next(self._chunks))
        except StopIteration:
            return b""
        except BaseException as error:
            self.error = error
            raise
        block, self._current = self._current[:size], self._current[size:]
        return bytes(block)


class _Sink(io.BufferedIOBase):
    """Where age writes; it holds the header back until it is checked."""

    def __init__(self, write: Callable[[bytes], object], encoder: FrameEncoder) -> None:
        self._write = write
        self._encoder = encoder
        self._head: bytes | None = b""
        self.error: BaseException | None = None

    def write(self, data: Buffer, /) -> int:
        block = bytes(data)
        try:
            if self._head is None:
                self._write(block)
            else:
                self._head += block
                if b"\n--- " in self._head:
                    self.release()
        except BaseException as error:
            self.error = error
            raise
        return len(block)

    def release(self) -> None:
        """Write what was held back, if it is what was asked for."""
        if self._head is not None:
            self._encoder.check_encrypted(self._head)
            self._write(self._head)
            self._head = None
