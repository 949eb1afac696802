"""What is true when the answer to a commit is lost: the server is asked, not guessed at."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

import psycopg2
import psycopg2.extensions

from coffre.model.backup import OUTCOME_UNKNOWN
from coffre.model.errors import CoffreError, RestoreError

# A server that was restarted answers again by then; a run that ends has no more time.
_SECONDS: Final = 6.0
_PAUSE_SECONDS: Final = 0.2

type Session = AbstractContextManager[psycopg2.extensions.connection]
type IsDone = Callable[[psycopg2.extensions.cursor], bool]


def took_effect(open_session: Callable[[], Session], backend: int, is_done: IsDone) -> bool | None:
    """Return whether a transaction was committed; None when the server does not answer, or still works on it.

    Parameters
    ----------
    open_session
        Opens another session of the same server.
    backend
        The process that had the transaction: while it exists, it may still commit.
    is_done
        Looks for what the transaction made.
    """
    until = time.monotonic() + _SECONDS
    while True:
        try:
            with open_session() as session, session.cursor() as cursor:
                cursor.execute("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)", (backend,))
                ((is_working,),) = cursor.fetchall()
                if (done := is_done(cursor)) or not is_working:
                    return done
        except (CoffreError, psycopg2.Error):
            pass
        if time.monotonic() >= until:
            return None
        time.sleep(_PAUSE_SECONDS)


def commit(
    session: psycopg2.extensions.connection,
    open_session: Callable[[], Session],
    is_done: IsDone,
    unknown: Callable[[], RestoreError],
) -> None:
    """Commit what changes a database in use. When the answer is lost, what is true counts.

    Raises
    ------
    psycopg2.Error
        Nothing was committed.
    RestoreError
        What `unknown` returns: it is not known whether it was.
    """
    backend = session.info.backend_pid
    try:
        _send(session)
    except psycopg2.Error as error:
        if not session.closed:
            raise
        done = took_effect(open_session, backend, is_done)
        if done is None:
            raise unknown() from error
        if not done:
            raise


def _send(session: psycopg2.extensions.connection) -> None:
    session.commit()


def outcome_unknown(what: str, look: str) -> RestoreError:
    """Return the error for a change whose outcome is not known. `look` says how a person finds out."""
    return RestoreError(
        f"The server did not answer the last statement: it is not known whether {what}.",
        code=OUTCOME_UNKNOWN,
        hint=look,
    )
