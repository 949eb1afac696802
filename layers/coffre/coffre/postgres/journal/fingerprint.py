"""One number for all definitions of a database, and what a backup says so that it can be the base of a journal."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import psycopg2
import psycopg2.extensions

from coffre.model.errors import CoffreError
from coffre.model.manifest import JournalBase
from coffre.postgres.connection.connect import one_line
from coffre.postgres.journal.barriers import marks_of
from coffre.postgres.journal.changes import parse_lsn
from coffre.postgres.journal.definitions import Definitions, read_definitions
from coffre.postgres.journal.other_definitions import other_definitions
from coffre.postgres.source import catalog_drift
from coffre.postgres.source.snapshot_identity import Query, read_identity


def fingerprint(session: psycopg2.extensions.connection, definitions: Definitions | None = None) -> str:
    """Return the SHA-256 of all definitions that the session's transaction sees, and of whose history they are.

    Every change of one makes it another, also one that was taken back; emptying a table does not, nor what is
    temporary. The same definitions of another server, or after a failover, have another one too: positions in the WAL
    mean something else there.

    Parameters
    ----------
    definitions
        Those of the same transaction, if they were read already.
    """
    definitions = definitions or read_definitions(session)
    with session.cursor() as cursor:
        cursor.execute(_NUMBERS)
        numbers = sorted(number for (number,) in cursor)
        cursor.execute(other_definitions(session.server_version))
        ((others,),) = cursor.fetchall()
        cursor.execute(_TIMELINE)
        ((timeline,),) = cursor.fetchall()
        system = read_identity(_answers_of(cursor)).system
    digest = hashlib.sha256(f"{system} {timeline} {others}\n".encode())
    for number in numbers:
        digest.update(b"%d\n" % number)
    for mark in marks_of(definitions):
        digest.update(repr((mark.schema_name, mark.name, mark.shape)).encode("utf-8", "surrogatepass"))
    digest.update(repr(sorted(definitions.views)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _answers_of(cursor: psycopg2.extensions.cursor) -> Query:
    def ask(statement: str) -> list[tuple[Any, ...]]:
        cursor.execute(statement)
        return cursor.fetchall()

    return ask


def read_base(session: psycopg2.extensions.connection, wal_text: str) -> JournalBase:
    """Return what the snapshot of a session's transaction is to a journal.

    Parameters
    ----------
    wal_text
        How far the server's WAL was on disk, read before the snapshot was taken.
    """
    with session.cursor() as cursor:
        cursor.execute(_SNAPSHOT)
        ((snapshot, lsn, at),) = cursor.fetchall()
    return JournalBase(
        snapshot=snapshot,
        before_lsn=parse_lsn(wal_text),
        lsn=parse_lsn(lsn),
        at=at,
        fingerprint=fingerprint(session),
    )


def base_or_why(session: psycopg2.extensions.connection, wal_text: str) -> JournalBase | str:
    """Return what `read_base` does, or why it cannot: the session's transaction continues either way."""
    with session.cursor() as cursor:
        cursor.execute("SAVEPOINT base_of_a_journal")
        try:
            found: JournalBase | str = read_base(session, wal_text)
        except (psycopg2.Error, CoffreError, ValueError) as error:
            if session.closed:
                raise
            cursor.execute("ROLLBACK TO SAVEPOINT base_of_a_journal")
            found = one_line(error) if isinstance(error, psycopg2.Error) else str(error)
        cursor.execute("RELEASE SAVEPOINT base_of_a_journal")
    return found


# The name of a file of WAL begins with its timeline.
_TIMELINE: Final = "SELECT left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_flush_lsn()), 8)"
_SNAPSHOT: Final = """
SELECT pg_catalog.txid_current_snapshot()::text, pg_catalog.pg_current_wal_insert_lsn()::text,
       pg_catalog.clock_timestamp()
"""
# What is temporary belongs to sessions. The version of a table's row type changes when it is renamed, moved or given
# to another owner, and not when it is emptied.
_TEMPORARY: Final = "{0}.nspname ~ '^pg_(toast_)?temp_'"
_OF_NAMESPACE: Final = f"""
SELECT hashtextextended('{{0}} ' || o.oid || ' ' || o.xmin, 0)
FROM {{0}} o JOIN pg_namespace n ON n.oid = o.{{1}} WHERE {_TEMPORARY.format("n")}
"""  # noqa: S608 - constants
_NUMBERS: Final = " ".join(
    (
        "(",
        catalog_drift.OF_SCHEMA,
        ") EXCEPT ALL (SELECT hashtextextended('pg_namespace ' || o.oid || ' ' || o.xmin, 0) FROM pg_namespace o WHERE",
        _TEMPORARY.format("o"),
        *(
            f"UNION ALL {_OF_NAMESPACE.format(*catalog)}"
            for catalog in (
                ("pg_proc", "pronamespace"),
                ("pg_operator", "oprnamespace"),
                ("pg_collation", "collnamespace"),
                ("pg_type", "typnamespace"),
            )
        ),
        ") UNION ALL SELECT hashtextextended('row type ' || t.oid || ' ' || t.xmin, 0) FROM pg_type t",
        "JOIN pg_class c ON c.reltype = t.oid WHERE c.oid >= 16384 AND c.relpersistence <> 't'",
        "AND c.relkind IN ('r', 'p')",
    )
)
