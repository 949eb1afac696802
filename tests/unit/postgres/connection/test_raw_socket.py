"""What a TLS connection holds is given out to its last byte before anybody is told that it ended."""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Iterator
from typing import Any, cast

import psycopg2
import pytest

from coffre.postgres.connection.raw_socket import CLOSED, TlsChannel

WANT_READ, ZERO_RETURN = 2, 6


class Session:
    """As much of a session as a channel asks for."""

    pgconn_ptr = 1

    def __init__(self, descriptor: int) -> None:
        self.fileno = lambda: descriptor


class OpenSsl:
    """Hands out records, one a call; then it answers as it is told to."""

    def __init__(self, records: list[bytes], then: int) -> None:
        self._records = records
        self._then = then

    def PQsslStruct(self, connection: int, name: bytes) -> int:  # noqa: N802
        return 1

    def ERR_clear_error(self) -> None:  # noqa: N802
        pass

    def SSL_read(self, ssl: int, to: int, room: int) -> int:  # noqa: N802
        if not self._records:
            return -1
        record = self._records.pop(0)
        if len(record) > room:
            self._records.insert(0, record[room:])
        ctypes.memmove(to, record, min(len(record), room))
        return min(len(record), room)

    def SSL_get_error(self, ssl: int, count: int) -> int:  # noqa: N802
        return self._then


@pytest.fixture
def session() -> Iterator[Session]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Session(ours.fileno())


def channel(session: Session, records: list[bytes], then: int) -> TlsChannel:
    return TlsChannel(cast(Any, session), lambda: None, OpenSsl(records, then))


def test_the_servers_last_words_come_before_the_end_of_the_connection(session: Session) -> None:
    ended, buffer = channel(session, [b"last ", b"words"], ZERO_RETURN), bytearray(20)

    assert ended.receive(buffer, 3) == len(b"last words")
    assert buffer[3:13] == b"last words"
    with pytest.raises(psycopg2.OperationalError, match=CLOSED):
        ended.receive(buffer, 0)


def test_records_are_read_until_there_is_no_more_or_no_room(session: Session) -> None:
    channels = channel(session, [b"one", b"two", b"three"], WANT_READ)
    buffer = bytearray(b"-" * 10)

    assert channels.receive(buffer, 2) == 8
    assert buffer == b"--onetwoth"
    assert channels.receive(buffer, 0) == 3
    assert buffer == b"reenetwoth"
