"""What a drain sees of its database: how far changes are on disk, and what they have to fit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg2.extensions

from coffre.model.manifest import SequenceValue
from coffre.model.names import qualified
from coffre.postgres.journal import pgoutput
from coffre.postgres.journal.barriers import marked, marks_of
from coffre.postgres.journal.changes import parse_lsn
from coffre.postgres.journal.definitions import Definitions, read_definitions
from coffre.postgres.journal.fingerprint import fingerprint
from coffre.postgres.journal.publication import asking, followed, left_out, read_publication
from coffre.postgres.journal.test_decoding import PLUGIN
from coffre.postgres.journal.transactions import BaseSnapshot
from coffre.postgres.source.snapshot_identity import read_identity

_SEQUENCE_BATCH: Final = 100
_LOOKS_A_DELAY: Final = 10
_LOOKS: Final = 5 * _LOOKS_A_DELAY


@dataclass(frozen=True)
class Durable:
    """Everything whose COMMIT has returned before `at`, by the server's clock, is on disk up to `lsn`."""

    at: datetime
    lsn: int


@dataclass(frozen=True)
class Look:
    """One transaction's view, taken after `durable`: `snapshot` shows what was committed up to there.

    The values of `sequences` are not older than any change up to `durable`. `definitions` and `marked` are of the
    tables that are followed. With the plugin `pgoutput`, `publication` is what `read_publication` says, and `left_out`
    are the tables that it lacks.
    """

    durable: Durable
    snapshot: BaseSnapshot
    system: str | None
    database: str
    definitions: Definitions
    fingerprint: str
    marked: str
    publication: str
    left_out: tuple[str, ...]
    sequences: tuple[SequenceValue, ...]


def hash_of(sequences: tuple[SequenceValue, ...]) -> str:
    """Return one text for all values of sequences."""
    return hashlib.sha256(repr(sequences).encode("utf-8", "surrogatepass")).hexdigest()


def look(session: psycopg2.extensions.connection, pause: Callable[[float], None], plugin: str = PLUGIN) -> Look:
    """Look at the database; the session is in no transaction before and afterwards.

    Raises
    ------
    JournalError
        `JOURNAL_PUBLICATION`
    """
    durable = until_on_disk(session, pause)
    with _one_snapshot(session):
        with session.cursor() as cursor:
            cursor.execute(_SNAPSHOT)
            ((snapshot, lsn),) = cursor.fetchall()
        identity = read_identity(lambda statement: _rows(session, statement))
        definitions = everything = read_definitions(session)
        publication = read_publication(asking(session)) if plugin == pgoutput.PLUGIN else None
        if publication is not None:
            definitions = followed(everything, publication)
        return Look(
            durable,
            BaseSnapshot.parse(snapshot, parse_lsn(lsn)),
            identity.system,
            identity.database,
            definitions,
            fingerprint(session, everything),
            marked(marks_of(definitions)),
            publication.sha256 if publication is not None else "",
            left_out(everything, definitions),
            _sequences(session),
        )


def until_on_disk(session: psycopg2.extensions.connection, pause: Callable[[float], None]) -> Durable:
    """Return the position where the WAL ends now, as soon as it is on disk, where decoding finds it.

    Notes
    -----
    What is on disk can end within a record, of a transaction that is open: reading up to there would wait for the rest
    of it, for as long as nothing else is written. A transaction without any change makes the server write it. It does
    not wait for that, as with `synchronous_commit = off`; it takes at most three times `wal_writer_delay`
    (PostgreSQL 18's documentation, section 28.4).
    """
    with session:
        [(at, written, flushed, delay)] = _rows(session, _POSITIONS)
    if parse_lsn(flushed) < parse_lsn(written):
        with session:
            _rows(session, "SELECT pg_catalog.txid_current()")
        for _ in range(_LOOKS):
            with session:
                [(_, _, flushed, _)] = _rows(session, _POSITIONS)
            if parse_lsn(flushed) >= parse_lsn(written):
                break
            pause(delay / 1000 / _LOOKS_A_DELAY)
    return Durable(at, min(parse_lsn(flushed), parse_lsn(written)))


@contextmanager
def _one_snapshot(session: psycopg2.extensions.connection) -> Iterator[None]:
    session.set_session(isolation_level="REPEATABLE READ", readonly=True)
    try:
        with session:
            yield
    finally:
        if not session.closed:
            session.set_session(isolation_level="default", readonly="default")


def _sequences(session: psycopg2.extensions.connection) -> tuple[SequenceValue, ...]:
    names = _rows(session, _SEQUENCES)
    values = list[SequenceValue]()
    for start in range(0, len(names), _SEQUENCE_BATCH):
        batch = names[start : start + _SEQUENCE_BATCH]
        union = " UNION ALL ".join(
            f"SELECT {place}, last_value, is_called FROM {qualified(*name)}"  # noqa: S608 - quoted
            for place, name in enumerate(batch)
        )
        for place, last_value, is_called in _rows(session, union):
            schema, name = batch[place]
            values.append(
                SequenceValue(schema_name=schema, sequence_name=name, last_value=last_value, is_called=is_called)
            )
    return tuple(values)


def _rows(session: psycopg2.extensions.connection, statement: str) -> list[tuple[Any, ...]]:
    with session.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


_SNAPSHOT: Final = "SELECT pg_catalog.txid_current_snapshot()::text, pg_catalog.pg_current_wal_insert_lsn()::text"
# The positions are read after the clock.
_POSITIONS: Final = """
SELECT clock.at, pg_current_wal_insert_lsn()::text, pg_current_wal_flush_lsn()::text,
       (SELECT setting::int FROM pg_settings WHERE name = 'wal_writer_delay')
FROM (SELECT clock_timestamp() AS at OFFSET 0) AS clock
"""
_SEQUENCES: Final = """
SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.relpersistence = 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE') END
ORDER BY 1, 2
"""
