"""What a slot has up to a position, by SQL, while the slot stays where it is.

The answer of `pg_logical_slot_peek_changes` is kept whole by the server before its first row comes, in temporary files
beyond `work_mem`: the bound is how far a step may read. A single transaction is never divided.

The text of `test_decoding` comes by `COPY`, and its escapes become those of the stored lines without a look at single
rows. Memory is that of a few pieces, however long a row is.
"""

from __future__ import annotations

import codecs
import json
import math
import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from typing import Any, Final

import psycopg2
import psycopg2.extensions

from coffre.model.errors import CoffreError, JournalError
from coffre.model.journal_lines import pieces_of
from coffre.postgres.connection.libpq import CancelRequest, send_all
from coffre.postgres.connection.raw_socket import open_channel
from coffre.postgres.journal import pgoutput, test_decoding
from coffre.postgres.journal.changes import Line, lsn_text
from coffre.postgres.journal.pgoutput import Message
from coffre.postgres.journal.refuse_pooler import NAME_IF_PINNED
from coffre.postgres.journal.slot import OPTIONS, Options
from coffre.postgres.journal.slot_errors import translated
from coffre.postgres.source.copy_out import CopyOut, QueryFailedError

LONG_LINE_BYTES: Final = 16 << 20
"""The tables of a TRUNCATE are named before that: a statement of a hundred thousand tables."""
MOST_MESSAGE_BYTES: Final = 128 << 20
"""Of a row by `pgoutput`: to write it as a line takes ten times its size of memory; the function has 3 GB."""
_FRAME_BYTES: Final = 128 * 1024
# For a server to end a statement whose answer is not wanted any more.
_END_SECONDS: Final = 5.0
# Of rows that are fetched together, a few are asked for first: a row can have hundreds of megabytes.
_FEWEST_ROWS: Final = 16
_MOST_ROWS: Final = 1000
_FETCHED_BYTES: Final = 1 << 20


def lines(
    session: psycopg2.extensions.connection, name: str, upto_lsn: int, plugin: str = test_decoding.PLUGIN
) -> Generator[Line]:
    """Yield the lines of all transactions that were committed up to a position; raises what `pieces` raises.

    The last transaction can end behind the position.
    """
    if plugin == pgoutput.PLUGIN:
        yield from _messages(session, name, upto_lsn)
        return
    with closing(_copied(session, name, upto_lsn)) as found:
        for line in whole_lines(found):
            yield Line(*json.loads(line))


def pieces(
    session: psycopg2.extensions.connection,
    name: str,
    upto_lsn: int,
    plugin: str = test_decoding.PLUGIN,
    options: Options = OPTIONS,
) -> Generator[bytes]:
    """Yield the same lines as they are stored, many in a piece.

    Only a line of more than `LONG_LINE_BYTES` comes in several pieces, and the first of them has about that size.

    Raises
    ------
    JournalError
        `JOURNAL_TOO_LARGE`: the server may not keep so large an answer.
    JournalTransientError
        `JOURNAL_SLOT_BUSY`
    ConnectError
        `TRANSACTION_POOLER`
    """
    if plugin == pgoutput.PLUGIN:
        with closing(_messages(session, name, upto_lsn)) as found:
            yield from pieces_of(found)
        return
    yield from _copied(session, name, upto_lsn, options)


def whole_lines(found: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines one by one, each in one piece."""
    begun = list[bytes]()
    for piece in found:
        begun.append(piece)
        if piece.endswith(b"\n"):
            yield from b"".join(begun)[:-1].split(b"\n")
            begun.clear()


def _copied(
    session: psycopg2.extensions.connection, name: str, upto_lsn: int, options: Options = OPTIONS
) -> Generator[bytes]:
    with session.cursor() as cursor:
        asked = cursor.mogrify(_COPY, (name, lsn_text(upto_lsn), list(options[test_decoding.PLUGIN]))).decode()
    text = _Text(psycopg2.extensions.encodings[session.encoding])
    with translated(name), closing(_rows_of(session, asked)) as rows:
        for row in rows:
            yield from text.pieces(row)
        text.end()


def _rows_of(session: psycopg2.extensions.connection, statement: str) -> Generator[memoryview]:
    """Yield the rows of a `COPY`. When this is left before its end, the session is free for what follows, or closed."""
    ends_at = math.inf

    def check() -> None:
        if time.monotonic() > ends_at:
            raise psycopg2.OperationalError("the server did not end a statement")

    copy = CopyOut(open_channel(session, check), memoryview(bytearray(_FRAME_BYTES)))
    answer = next(copy.run([statement]))
    try:
        for rows in answer:  # noqa: UP028 - it is read on below
            yield rows
    except GeneratorExit:
        ends_at = time.monotonic() + _END_SECONDS
        _end(session, answer, check)
        raise
    except QueryFailedError as error:
        if not str(error).startswith("ERROR"):  # FATAL: the server has ended the session
            session.close()
        raise
    except BaseException:
        session.close()
        raise


def _end(session: psycopg2.extensions.connection, answer: Iterable[memoryview], check: Callable[[], None]) -> None:
    """Have the server end a statement, and pass over what it has sent: the driver knows nothing of it."""
    try:
        with closing(CancelRequest(session)) as request:
            send_all([request], seconds=_END_SECONDS)
        with suppress(QueryFailedError):
            for _ in answer:
                check()  # a channel does it only while the server is silent
    except BaseException as error:
        session.close()
        if not isinstance(error, psycopg2.Error | CoffreError):
            raise


class _Text:
    """Makes the stored form of lines from the text of a `COPY`, which comes in pieces that are cut anywhere."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._is_utf8 = codecs.lookup(encoding).name == "utf-8"
        self._checker = codecs.getincrementaldecoder("utf-8")()
        self._waiting = bytearray()
        self._is_within = False

    def pieces(self, rows: memoryview) -> Iterator[bytes]:
        """Yield what can be said of the text so far.

        Raises
        ------
        UnicodeDecodeError
            A text is not of the session's encoding: after the whole lines before it.
        """
        unread = self._unread(rows) if self._is_utf8 else None
        if unread is not None:
            rows = rows[: max(unread.start - len(unread.object) + len(rows), 0)]  # the checker had begun a character
        self._waiting += rows
        if self._is_within:
            yield from self._continued()
        # What waited before has no end of a line.
        if rows and (end := self._waiting.rfind(b"\n", -len(rows)) + 1):
            # Each line feed begins another line; the last one does not.
            yield b"[" + self._stored(self._waiting[:end])[:-1]
            del self._waiting[:end]
        if unread is not None:
            raise unread
        if self._is_utf8 and not self._is_within and len(self._waiting) > LONG_LINE_BYTES:
            self._is_within = True
            yield b"[" + self._part()

    def _unread(self, rows: memoryview) -> UnicodeDecodeError | None:
        """Return what is wrong with a text; None: nothing."""
        try:
            self._checker.decode(rows)
        except UnicodeDecodeError as error:
            return error
        return None

    def end(self) -> None:
        """Check that the text does not end within a character."""
        self._checker.decode(b"", final=True)

    def _continued(self) -> Iterator[bytes]:
        """Yield more of a long line, up to its end."""
        if end := self._waiting.find(b"\n") + 1:
            self._is_within = False
            yield bytes(self._stored(self._waiting[:end])[:-1])
            del self._waiting[:end]
        elif part := self._part():
            yield part

    def _part(self) -> bytes:
        """Return what waits, but for a backslash whose letter is still to come."""
        waiting = self._waiting
        end = len(waiting) - (len(waiting) - len(waiting.rstrip(b"\\"))) % 2
        part = bytes(self._stored(waiting[:end]))
        del waiting[:end]
        return part

    def _stored(self, text: bytearray) -> bytearray:
        """Return text with the escapes of JSON: but for three things it has those of `COPY`.

        Tabs and line feeds stand between columns and lines alone.
        """
        if not self._is_utf8:
            text = bytearray(text.decode(self._encoding).encode())
        text = text.replace(b'"', rb"\"")
        if b"\\" in text and rb"\v" in text:
            text = bytearray(_ESCAPE.sub(_escaped, text))
        if len(text.translate(None, _CONTROLS)) != len(text):
            text = bytearray(_CONTROL.sub(_escaped, text))
        return text.replace(b"\t,\t", b",").replace(b"\t", b',"').replace(b"\n", b'"]\n[')


def _escaped(found: re.Match[bytes]) -> bytes:
    character = found[0]
    if len(character) > 1:
        return rb"\u000b" if character == rb"\v" else character
    return b"\\u%04x" % ord(character)


def _messages(session: psycopg2.extensions.connection, name: str, upto_lsn: int) -> Generator[Line]:
    """Yield lines of `pgoutput`. The session is in a transaction of its own until the end."""
    with translated(name), session, session.cursor(name="coffre_journal") as cursor:
        asked = (MOST_MESSAGE_BYTES, name, lsn_text(upto_lsn), list(OPTIONS[pgoutput.PLUGIN]))
        cursor.execute(_SELECT, asked)
        encoding = psycopg2.extensions.encodings[session.encoding]
        yield from pgoutput.lines_of(_within_memory(_rows(cursor)), encoding)


def _within_memory(rows: Iterable[tuple[int, int, Any, int]]) -> Iterator[Message]:
    for lsn, xid, data, size in rows:
        if data is None:
            raise JournalError(
                f"A row of {size:,} bytes at {lsn_text(lsn)} is too large for pgoutput: up to {MOST_MESSAGE_BYTES:,}"
                " are followed.",
                code="JOURNAL_UNREADABLE",
                hint="Keep tables with such rows out of the publication, or use the plugin test_decoding, which follows"
                " rows of any size.",
            )
        yield Message(lsn, xid, bytes(data))


def _rows(cursor: psycopg2.extensions.cursor) -> Iterator[tuple[int, int, Any, int]]:
    """Yield the rows of a cursor, as many at a time as the ones before say that memory has room for."""
    count = _FEWEST_ROWS
    while rows := cursor.fetchmany(count):
        size = sum(length for _, _, _, length in rows)
        yield from rows
        count = min(_MOST_ROWS, 4 * count, 1 + _FETCHED_BYTES * len(rows) // (size + 1))


_CONTROLS: Final = bytes({*range(1, 32)} - {*b"\t\n"})
_CONTROL: Final = re.compile(b"[" + _CONTROLS + b"]")
_ESCAPE: Final = re.compile(rb"\\.")
_SELECT: Final = f"""
SELECT (lsn - '0/0')::bigint, xid::text::bigint, CASE WHEN length(data) <= %s THEN data END, length(data)
FROM pg_logical_slot_peek_binary_changes({NAME_IF_PINNED}, %s, NULL, VARIADIC %s)
"""  # noqa: S608 - a constant
# What is printed for NULL is the comma between both numbers: nothing else costs the server so little. A change has no
# position of its own (`Line`).
_COPY: Final = f"""
COPY (SELECT CASE WHEN starts_with(data, 'table ') THEN 0 ELSE (lsn - '0/0')::bigint END, NULL, xid, data FROM
      pg_logical_slot_peek_changes({NAME_IF_PINNED}, %s, NULL, VARIADIC %s)) TO STDOUT (NULL ',')
"""  # noqa: S608 - a constant
