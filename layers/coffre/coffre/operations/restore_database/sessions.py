"""Sessions of a restore at its destination."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import psycopg2
import psycopg2.extensions

from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.runs.session_pool import SessionPool
from coffre.postgres.connection.connect import connect
from coffre.postgres.destination.copy_in import translated


@contextmanager
def loading_session(job: RestoreJob, *, lasts: bool = False) -> Iterator[psycopg2.extensions.connection]:
    """Give a session at the destination whose errors are explained, and which is cancelled when the run is stopped.

    With `lasts` each statement is a transaction, which the server finishes when the run only pauses.
    """
    with translated(job.connection), connect(job.connection, lasts=lasts) as session, job.children.cancelling(session):
        _set_up(session, job)
        yield session


@contextmanager
def clearing_session(job: RestoreJob) -> Iterator[psycopg2.extensions.connection]:
    """Give a session for clearing away after an error, when everything else has been ended."""
    with translated(job.connection), connect(job.connection) as session:
        _set_up(session, job)
        yield session


def _set_up(session: psycopg2.extensions.connection, job: RestoreJob) -> None:
    """Set what the destination's provider asks for."""
    if job.settings:
        with session.cursor() as cursor:
            for name, value in job.settings.items():
                cursor.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))
        session.commit()


def borrowed(
    sessions: SessionPool[psycopg2.extensions.connection], session: psycopg2.extensions.connection | None
) -> AbstractContextManager[psycopg2.extensions.connection]:
    return sessions.borrow() if session is None else nullcontext(session)
