"""A slot read by the replication protocol: rows come while the server reads, and it keeps no answer.

The stream is of a temporary copy of the slot. What is confirmed on the way, also by the driver itself, moves that copy
alone; the slot is advanced by SQL when the segment is stored, as after a peek.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack
from typing import Final

import psycopg2.errors
import psycopg2.extensions
from psycopg2.extras import ReplicationCursor

from coffre.model.errors import CoffreError, JournalError, JournalTransientError
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.connect import connect_replicating, one_line
from coffre.postgres.journal import pgoutput, slot
from coffre.postgres.journal.changes import Line
from coffre.postgres.journal.pgoutput import Message
from coffre.postgres.journal.slot_errors import translated

_ENCODING: Final = """
SELECT pg_catalog.pg_encoding_to_char(encoding)::text, pg_catalog.pg_encoding_max_length(encoding)
FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
"""
_COPY: Final = "SELECT pg_catalog.pg_copy_logical_replication_slot(%s, %s, true)"
# The server ends a session that says nothing for wal_sender_timeout: a minute by default.
_SAY_SECONDS: Final = 10.0
_ASK_SECONDS: Final = 0.5
_LOOK_EVERY: Final = 1000


def stream(
    connection: Connection,
    ours: slot.Ownership,
    upto_lsn: int,
    check: Callable[[], None],
    options: slot.Options = slot.OPTIONS,
) -> Generator[Line]:
    """Yield the lines of all transactions that were committed up to a position, and leave the slot where it is.

    The last transaction can end behind the position. One line is held, whatever the size of a transaction.

    Parameters
    ----------
    check
        Called while the server has nothing to send; what it raises ends the stream.

    Raises
    ------
    JournalError
        `JOURNAL_NO_STREAM`: the address, the server or the role does not allow it, or not now: then its cause is a
        `TransientError`; `JOURNAL_UNREADABLE`.
    JournalTransientError
        The session was cut.
    """
    with ExitStack() as stack:
        try:
            session = stack.enter_context(connect_replicating(connection))
            cursor = session.cursor()
            encoding = _encoding(session, cursor, ours)
            _start(cursor, ours, options)
        except CoffreError as error:
            raise _no_stream(ours, error) from error
        with translated(ours.name):
            if ours.plugin == pgoutput.PLUGIN:
                yield from pgoutput.lines_of(_messages(cursor, upto_lsn, check, pgoutput.commit_of_begin), encoding)
            else:
                yield from _texts(_messages(cursor, upto_lsn, check, _begin_of_text), encoding)


def _encoding(session: psycopg2.extensions.connection, cursor: ReplicationCursor, ours: slot.Ownership) -> str:
    """Return Python's name of the encoding of what comes: `test_decoding` sends texts as the database has them."""
    if ours.plugin == pgoutput.PLUGIN:
        return psycopg2.extensions.encodings[session.encoding]
    with translated(ours.name):
        cursor.execute(_ENCODING)
        [(name, longest)] = cursor.fetchall()
    found = psycopg2.extensions.encodings.get(name)
    if found is None or (longest > 1 and name != "UTF8"):  # Python's tables of characters may be others
        raise JournalError(f"The text of a database in {name} is converted by the server in a SELECT alone.")
    return found


def _start(cursor: ReplicationCursor, ours: slot.Ownership, asked: slot.Options) -> None:
    """Begin with a copy of the slot, which is gone when the session is."""
    options = asked[ours.plugin]
    with translated(ours.name):
        copy = slot.new_name("stream")
        try:
            cursor.execute(_COPY, (ours.name, copy))
        except psycopg2.errors.ConfigurationLimitExceeded as error:  # ours is one of those: it has worked before
            raise JournalTransientError(
                f"No replication slot is free for a copy of {ours.name}.",
                detail=one_line(error),
                hint="It is tried again. Drop a slot that is not used, or raise max_replication_slots.",
            ) from error
        cursor.start_replication(
            slot_name=copy, options=dict(zip(options[::2], options[1::2], strict=True)), decode=False
        )


def _messages(
    cursor: ReplicationCursor,
    upto_lsn: int,
    check: Callable[[], None],
    commit_of_begin: Callable[[bytes], int | None],
) -> Iterator[Message]:
    """Yield messages until no transaction up to a position is left.

    `commit_of_begin` returns where a transaction that a message begins will end; 0: it does not say; None: it is none.
    """
    is_open, said, number = False, 0.0, 0
    while True:
        found = cursor.read_message()
        number += 1
        if found is None:
            if not is_open and cursor.wal_end >= upto_lsn:
                return
            check()
            if time.monotonic() - said > _ASK_SECONDS:
                cursor.send_feedback(reply=True)  # type: ignore[no-untyped-call]  # it says how far it has come
                said = time.monotonic()
            select.select([cursor], [], [], _ASK_SECONDS)
            continue
        if number % _LOOK_EVERY == 0 and time.monotonic() - said > _SAY_SECONDS:
            cursor.send_feedback(force=True)  # type: ignore[no-untyped-call]
            said = time.monotonic()
        commit = commit_of_begin(found.payload)
        if commit is not None:
            if commit >= upto_lsn:
                return
            is_open = True
        yield Message(found.data_start, 0, found.payload)
        if found.payload.startswith(b"C"):  # COMMIT of both plugins
            is_open = False
            if found.data_start >= upto_lsn:
                return


def _begin_of_text(payload: bytes) -> int | None:
    return 0 if payload.startswith(b"BEGIN") else None


def _texts(messages: Iterable[Message], encoding: str) -> Iterator[Line]:
    begun: str | None = None
    xid = 0
    for lsn, _, payload in messages:
        text = payload.decode(encoding)
        if text.startswith("BEGIN "):
            xid, begun = int(text[len("BEGIN ") :]), text
            continue
        if begun is not None:  # it comes with its first change, whose position it has, and without any in a stream
            yield Line(lsn - 1 if text.startswith("COMMIT ") else lsn, xid, begun)
            begun = None
        yield Line(0 if text.startswith("table ") else lsn, xid, text)


def _no_stream(ours: slot.Ownership, error: CoffreError) -> JournalError:
    return JournalError(
        f"The replication slot {ours.name} cannot be read by the replication protocol.",
        code="JOURNAL_NO_STREAM",
        detail=f"{error.message} {error.detail or ''}".strip(),
        hint="It needs an address that is no pooler's, a free slot and a free WAL sender (max_wal_senders).",
    )
