"""Units of work over one session: transactions of their own, or savepoints in one that is open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg2
import psycopg2.extensions

# The server cannot continue: cancelled, shut down, no resources, the system's errors (but not a library that it does
# not have), connection, read-only.
_FATAL: Final = ("57", "53", "58000", "58030", "08", "25006")


@contextmanager
def unit(session: psycopg2.extensions.connection, *, is_nested: bool) -> Iterator[None]:
    """Run a block as a transaction, or as a part of the one that is open, that leaves nothing when it fails."""

    def say(statement: str) -> None:
        with session.cursor() as cursor:
            cursor.execute(statement)

    if is_nested:
        say("SAVEPOINT coffre_unit")
    try:
        yield
        if not is_nested:
            session.commit()
    except Exception:
        if not session.closed and is_nested:
            say("ROLLBACK TO SAVEPOINT coffre_unit; RELEASE SAVEPOINT coffre_unit")
        elif not session.closed:
            session.rollback()
        raise
    if is_nested:
        say("RELEASE SAVEPOINT coffre_unit")


def is_fatal(error: psycopg2.Error) -> bool:
    """Whether an error says nothing about the statement: the server, the connection or the run cannot continue."""
    return (error.pgcode or "08").startswith(_FATAL)
