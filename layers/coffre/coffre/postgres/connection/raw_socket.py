"""The bytes below an authenticated session: libpq connects, checks certificates and passwords; we read what follows.

libpq hands out rows one by one, and holds each whole in memory, twice. Between two statements nothing of a session is
in libpq's hands, so that its socket (or its TLS connection) can be used for large blocks instead.
"""

from __future__ import annotations

import ctypes
import os
import select
from collections.abc import Callable
from typing import Any, Final

import psycopg2
import psycopg2.extensions

# How long a wait lasts before it is checked whether the run still wants it.
_WAIT_MILLISECONDS: Final = 500
_SSL_WANT_READ: Final = 2
_SSL_WANT_WRITE: Final = 3
CLOSED: Final = "server closed the connection unexpectedly"


class Channel:
    """Sends and receives the session's bytes. Not thread-safe.

    Parameters
    ----------
    session
        Connected, with no statement under way, and not used for anything else until this is over.
    check
        Called while waiting; what it raises ends the wait.
    """

    def __init__(self, session: psycopg2.extensions.connection, check: Callable[[], None]) -> None:
        self._session = session  # libpq closes the socket with it
        self._check = check
        self._descriptor = session.fileno()
        os.set_blocking(self._descriptor, False)
        self._readable = self._poll(select.POLLIN)
        self._writable = self._poll(select.POLLOUT)

    def send(self, data: bytes) -> None:
        """Send all of it."""
        rest = memoryview(data)
        while rest:
            sent = self._write(rest)
            rest = rest[sent:]
            if not sent:
                self._wait(self._writable)

    def receive(self, buffer: bytearray, start: int) -> int:
        """Wait for bytes, put them into the buffer from `start` on, and return how many they are.

        Raises
        ------
        psycopg2.OperationalError
            When the connection is cut.
        """
        while not (count := self._read(buffer, start)):
            self._wait(self._readable)
        return count

    def _poll(self, events: int) -> select.poll:
        poll = select.poll()
        poll.register(self._descriptor, events)
        return poll

    def _wait(self, poll: select.poll) -> None:
        while not poll.poll(_WAIT_MILLISECONDS):
            self._check()

    def _write(self, data: memoryview) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise psycopg2.OperationalError(f"{CLOSED}: {error.strerror}") from error

    def _read(self, buffer: bytearray, start: int) -> int:
        """Return 0 when there is nothing now."""
        try:
            with memoryview(buffer) as view:
                count = os.readv(self._descriptor, [view[start:]])
        except BlockingIOError:
            return 0
        except OSError as error:
            raise psycopg2.OperationalError(f"{CLOSED}: {error.strerror}") from error
        if not count:
            raise psycopg2.OperationalError(CLOSED)
        return count


class TlsChannel(Channel):
    """The same through the TLS connection that libpq made: its own OpenSSL, which the driver was loaded with."""

    def __init__(self, session: psycopg2.extensions.connection, check: Callable[[], None], library: Any) -> None:
        super().__init__(session, check)
        self._library = library
        self._ssl = library.PQsslStruct(session.pgconn_ptr, b"OpenSSL")
        if not self._ssl:
            raise psycopg2.OperationalError("SSL error: the TLS connection is not OpenSSL's")

    def _write(self, data: memoryview) -> int:
        self._library.ERR_clear_error()
        return self._done(self._library.SSL_write(self._ssl, bytes(data), len(data)))

    def _read(self, buffer: bytearray, start: int) -> int:
        window = ctypes.c_char.from_buffer(buffer, start)
        address, room = ctypes.addressof(window), len(buffer) - start
        filled, count = 0, 1
        self._library.ERR_clear_error()
        # A call brings one record, mostly of 8 KiB.
        while count > 0 and filled < room:
            count = self._library.SSL_read(self._ssl, address + filled, room - filled)
            filled += max(count, 0)
        # What came is given out before it is asked why no more did: the server says the reason, and closes.
        return filled or self._done(count)

    def _done(self, count: int) -> int:
        if count > 0:
            return count
        reason = self._library.SSL_get_error(self._ssl, count)
        if reason == _SSL_WANT_WRITE:
            self._wait(self._writable)
        elif reason != _SSL_WANT_READ:
            raise psycopg2.OperationalError(f"{CLOSED} (SSL error {reason})")
        return 0


def open_channel(session: psycopg2.extensions.connection, check: Callable[[], None]) -> Channel:
    """Return the channel below a session."""
    return TlsChannel(session, check, _library()) if session.info.ssl_in_use else Channel(session, check)


def _library() -> Any:
    """Return the functions of libpq and OpenSSL as the driver itself finds them.

    They are called with Python's lock held (`PyDLL`): a record takes microseconds, less than to hand the lock over.
    """
    import psycopg2._psycopg

    library = ctypes.PyDLL(psycopg2._psycopg.__file__)
    library.PQsslStruct.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.PQsslStruct.restype = ctypes.c_void_p
    for transfer in (library.SSL_read, library.SSL_write):
        transfer.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
        transfer.restype = ctypes.c_int
    library.SSL_get_error.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.SSL_get_error.restype = ctypes.c_int
    library.ERR_clear_error.argtypes = []
    library.ERR_clear_error.restype = None
    return library
