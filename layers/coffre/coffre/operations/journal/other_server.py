"""Which server the address of a journal leads to now: a standby, or another one than before."""

from __future__ import annotations

import psycopg2.extensions

from coffre.model.errors import JournalError
from coffre.model.journal import JournalState
from coffre.postgres.journal.publication import asking
from coffre.postgres.journal.slot_errors import standby
from coffre.postgres.source.snapshot_identity import read_identity


def require_primary(session: psycopg2.extensions.connection) -> str | None:
    """Return the server's system identifier; None where the role may not ask.

    Raises
    ------
    JournalError
        `JOURNAL_NOT_POSSIBLE`: it is a standby. Since PostgreSQL 16 it would make a slot, and keep WAL for it.
    """
    with session:
        ask = asking(session)
        found = read_identity(lambda statement: ask(statement, {}))
    if found.is_standby:
        raise standby()
    return found.system


def other_system(state: JournalState) -> JournalError:
    """Return the error of a server that is not the one of the journal's slot, though it may have a slot of that name.

    `pg_upgrade` takes slots along (since 17): they begin at a new position, and all definitions have other numbers.
    """
    return JournalError(
        f"The server is not the one that the replication slot {state.slot} was made on.",
        code="JOURNAL_TIMELINE",
        hint="It is a new major version, or was restored from a copy: changes may be missing, so the journal begins"
        " again with a new slot and a new base.",
    )
