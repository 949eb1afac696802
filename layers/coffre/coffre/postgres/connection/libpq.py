"""Calls of libpq that the driver does not offer, or makes while it holds the interpreter. None of these holds it."""

from __future__ import annotations

import ctypes
import select
import time
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

import psycopg2
import psycopg2.extensions

_FAILED: Final = 0
_READING: Final = 1
_OK: Final = 3
_MILLISECONDS: Final = 1000


class CancelRequest:
    """Asks a server to cancel what a session is doing: over a connection of its own, encrypted as the session's is.

    Made while the session is connected; it may be sent when the session is in use, or closed.
    """

    def __init__(self, session: psycopg2.extensions.connection) -> None:
        self._library = _library()
        self._pointer = self._library.PQcancelCreate(session.pgconn_ptr)
        self._state = _OK

    def start(self) -> None:
        """Begin to send it, without waiting."""
        is_begun = self._pointer and self._library.PQcancelStart(self._pointer)
        self._state = _OK + 1 if is_begun else _FAILED  # any number that is neither: it begins with writing

    def go_on(self) -> None:
        """Do what is possible without waiting."""
        self._state = self._library.PQcancelPoll(self._pointer)

    @property
    def is_under_way(self) -> bool:
        """Whether the server has not taken it yet, and nothing went wrong."""
        return self._state not in (_FAILED, _OK)

    @property
    def waits_for(self) -> tuple[int, int]:
        """The descriptor, and what it has to be ready for before the request can continue."""
        events = select.POLLIN if self._state == _READING else select.POLLOUT
        return int(self._library.PQcancelSocket(self._pointer)), events

    def close(self) -> None:
        """Free it."""
        self._library.PQcancelFinish(self._pointer)
        self._pointer = None


def send_all(requests: Iterable[CancelRequest], *, seconds: float) -> bool:
    """Send requests, all of them together, and return whether the servers have answered all of them within the time."""
    deadline = time.monotonic() + seconds
    under_way = list(requests)
    for request in under_way:
        request.start()
    while under_way := [request for request in under_way if request.is_under_way]:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        poll = select.poll()
        by_descriptor: dict[int, CancelRequest] = {}
        for request in under_way:
            descriptor, events = request.waits_for
            poll.register(descriptor, events)
            by_descriptor[descriptor] = request
        for descriptor, _ in poll.poll(left * _MILLISECONDS):
            by_descriptor[descriptor].go_on()
    return True


def flush(session: psycopg2.extensions.connection) -> None:
    """Hand all that a COPY has written so far to the system, and wait until there is room for its end.

    The driver sends the end of a COPY while it holds the interpreter. A server that reads slowly, or not at all, would
    stop every thread with it, the one that looks at the time too.
    """
    if session.closed or _library().PQflush(session.pgconn_ptr) != 0:
        return  # the driver finds out what is wrong
    poll = select.poll()
    poll.register(session.fileno(), select.POLLOUT)
    poll.poll()


@cache
def _library() -> Any:
    """Return the functions as the driver itself finds them; the interpreter is free while they run (`CDLL`)."""
    import psycopg2._psycopg

    library = ctypes.CDLL(psycopg2._psycopg.__file__)
    library.PQcancelCreate.restype = ctypes.c_void_p
    for name in ("PQcancelCreate", "PQcancelStart", "PQcancelPoll", "PQcancelSocket", "PQcancelFinish", "PQflush"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    library.PQcancelFinish.restype = None
    return library
