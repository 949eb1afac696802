"""The holder: the transaction whose snapshot everything is read in, and what there is to read in it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import psycopg2
import psycopg2.errors
import psycopg2.extensions

from coffre.model.manifest import RelationName, SequenceValue
from coffre.model.names import qualified
from coffre.model.provider import Provider
from coffre.policy import slicing
from coffre.policy.profiles import Profile, detect
from coffre.policy.slicing import TableExtent
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.connect import connect
from coffre.postgres.connection.free_connections import free_connections
from coffre.postgres.connection.partition_routes import read_routes
from coffre.postgres.connection.provider_facts import read_provider_facts
from coffre.postgres.connection.query_errors import explain_query_error
from coffre.postgres.connection.server_facts import ServerFacts, read_facts
from coffre.postgres.source import catalog_drift
from coffre.postgres.source.locks import lock_timeout
from coffre.postgres.source.materialized_views import in_order_of_refresh
from coffre.postgres.source.present_catalog import PresentCatalog
from coffre.postgres.source.sequences import read_sequences
from coffre.postgres.source.snapshot_identity import Identity, read_identity
from coffre.postgres.source.snapshot_queries import (
    EXTENSION_KEYS,
    EXTENSION_SEQUENCES,
    EXTENSION_TABLES,
    NAMES,
    OWNED_SEQUENCES,
    SIZES_OF,
    TABLES,
)
from coffre.postgres.source.standby import refuse_unlogged
from coffre.postgres.source.table_sizes import TableSizes
from coffre.postgres.source.unstored import Unstored, chosen_members, find_unstored, unread_definitions

_BLOCK_BYTES: Final = 8192


class Holder:
    """An open `REPEATABLE READ READ ONLY` transaction with an exported snapshot. Threads take turns.

    Parameters
    ----------
    wal_text
        How far the server's WAL was on disk before the snapshot; None where no journal is possible.
    """

    def __init__(
        self, session: psycopg2.extensions.connection, connection: Connection, wal_text: str | None = None
    ) -> None:
        self._session = session
        self.wal_text = wal_text
        # Between a statement that fails and the way back to its savepoint, no other statement would be answered.
        self._turn = threading.RLock()
        self._connection = connection
        self._schema_shown: set[Any] | None = None
        self.snapshot = str(self._query("SELECT pg_catalog.pg_export_snapshot()")[0][0])
        self._run("SAVEPOINT planning")

    def end_planning(self) -> None:
        """Release every lock that was taken to plan. The snapshot stays; nothing else is asked of the holder then."""
        self._run("ROLLBACK TO SAVEPOINT planning; RELEASE SAVEPOINT planning")

    def keep_alive(self) -> None:
        """Ask something: no pooler, and no limit for idle sessions, takes the holder for forgotten."""
        self._run("SELECT")

    def remember_schema(self) -> set[Any]:
        """Read what the snapshot shows of the schema, to compare it later: there is time while `pg_dump` works."""
        self._schema_shown = set(self._query(catalog_drift.OF_SCHEMA))
        return self._schema_shown

    def profile(self, provider: Provider) -> Profile:
        """Return the profile of the server: the one of this name, or the one that it is recognized as."""
        return detect(read_provider_facts(self._query, self._connection.host), provider)

    def identity(self) -> Identity:
        """Read what makes this snapshot the same one, wherever it is imported."""
        return read_identity(self._query)

    def facts(self) -> ServerFacts:
        """Read what the manifest says about the source."""
        return read_facts(self._query)

    def tables(
        self,
        present: PresentCatalog,
        toc: Sequence[TocEntry],
        members: Sequence[int] = (),
        sizes: TableSizes | None = None,
    ) -> list[TableExtent]:
        """Return the tables whose rows belong into the backup: those that `pg_dump` took, and extensions' own.

        `members` are the oids of further members of extensions, which `pg_dump` leaves out; `sizes` are those that are
        known already.

        None stays locked: each is locked while it is read. It is checked that nothing has changed the schema since the
        snapshot; `pg_dump` prints parts of it as they were when it asked.

        Raises
        ------
        SchemaChangedError
            A new snapshot may succeed.
        DumpError
            `STANDBY_UNLOGGED`
        """
        dumped = [entry.oid for entry in toc if entry.description == "TABLE"]
        created = [entry.oid for entry in toc if entry.description == "EXTENSION"]
        rows = self._query(TABLES, {"tables": dumped}) + self._query(EXTENSION_TABLES, {"extensions": created})
        rows += [(*row[:5], True, row[6]) for row in self._query(TABLES, {"tables": list(members)})]
        refuse_unlogged(self._query, self._connection, [row[0] for row in rows])
        then, self._schema_shown = self._schema_shown or self.remember_schema(), None
        names = {oid: f"ONLY {qualified(schema, name)}" for oid, schema, name in self._query(NAMES, {"tables": dumped})}
        names |= {row[0]: f"ONLY {qualified(row[1], row[2])}" for row in rows}
        # Two sessions look, so both can look at the same time.
        with ThreadPoolExecutor(1, "catalog") as alongside:
            schema = alongside.submit(present.require_schema, then)
            shown = self._query(catalog_drift.shown_of_tables(names))
            schema.result()
        present.require(shown, names)
        size_of = self._sizes([row[0] for row in rows], sizes or {})
        after = {oid: tuple(needs) for oid, needs in self._query(EXTENSION_KEYS, {"extensions": created})}
        return [
            TableExtent(
                oid,
                schema,
                name,
                tuple(columns),
                size_of[oid][0] // _BLOCK_BYTES,
                size_of[oid][1],
                where,
                mine,
                is_complex
                and size_of[oid][0] // _BLOCK_BYTES > slicing.SLICE_BLOCKS
                and not self._can_plan(schema, name),
                after.get(oid, ()),
                oid in members,
            )
            for oid, schema, name, columns, where, mine, is_complex in rows
        ]

    def _sizes(self, oids: Sequence[int], known: TableSizes) -> dict[int, tuple[int, int]]:
        """Return the size of each table, and that with its TOAST; a table that was dropped meanwhile has none."""
        found = {oid: known[oid] for oid in oids if oid in known}
        if missing := [oid for oid in oids if oid not in found]:
            found |= {oid: (rows, total) for oid, rows, total in self._query(SIZES_OF, {"tables": missing})}
        return {oid: (found.get(oid, (0, 0))[0] or 0, found.get(oid, (0, 0))[1] or 0) for oid in oids}

    def _can_plan(self, schema: str, name: str) -> bool:
        statement = f"EXPLAIN SELECT FROM ONLY {qualified(schema, name)} WHERE ctid >= '(0,0)'"
        return self._attempt(statement) is not None

    def tables_without_rows(self, toc: Sequence[TocEntry]) -> list[TableExtent]:
        """Return the tables of which nothing will be read; they are not locked."""
        oids = [entry.oid for entry in toc if entry.description == "TABLE"]
        rows = self._query(TABLES, {"tables": oids})
        return [TableExtent(oid, schema, name, (), 0, 0) for oid, schema, name, *_ in rows]

    def roots(self, tables: Sequence[TableExtent]) -> dict[int, RelationName]:
        """Return the root for each partition whose rows another server may route elsewhere, by the partition's oid."""
        encoding = str(self._query("SELECT pg_catalog.current_setting('server_encoding')")[0][0])
        routes = read_routes(self._query, [(table.schema, table.name) for table in tables], encoding)
        return {
            route.oid: RelationName(schema_name=route.root[0], relation_name=route.root[1])
            for route in routes
            if route.goes_through_root()
        }

    def sequences(self, toc: Sequence[TocEntry], members: Sequence[int] = ()) -> tuple[SequenceValue, ...]:
        """Read the sequences' values. Those that tables of `members` own are not in the table of contents."""
        return read_sequences(self._query, toc, members)

    def members(self, patterns: Sequence[str]) -> tuple[list[int], list[str]]:
        """Return the oids of extensions' members that fit, and the patterns that none fits (`unstored`)."""
        return chosen_members(self._query, patterns)

    def unstored(self, toc: Sequence[TocEntry], tables: Iterable[TableExtent], *, is_chosen: bool) -> list[Unstored]:
        """Return the relations whose rows are in the snapshot and not in the backup, which has these tables."""
        sequences = {entry.oid for entry in toc if entry.description == "SEQUENCE"}
        created = [entry.oid for entry in toc if entry.description == "EXTENSION"]
        tables = list(tables)
        sequences |= {oid for (oid,) in self._query(EXTENSION_SEQUENCES, {"extensions": created})}
        members = [table.oid for table in tables if table.is_member]
        sequences |= {oid for (oid,) in self._query(OWNED_SEQUENCES, {"tables": members})}
        stored = {table.oid for table in tables} | sequences
        return list(find_unstored(self._query, toc, stored, is_chosen=is_chosen, may_have_rows=self._may_have_rows))

    def unread_definitions(self, toc: Sequence[TocEntry]) -> tuple[str, ...]:
        """Return a sentence for each definition that the role cannot read."""
        return unread_definitions(self._query, toc)

    def _may_have_rows(self, oid: int, schema: str, name: str) -> bool:
        if self._query("SELECT pg_relation_size(%(oid)s::bigint::oid)", {"oid": oid}) == [(0,)]:
            return False
        found = self._attempt(f"SELECT EXISTS (SELECT FROM ONLY {qualified(schema, name)})")  # noqa: S608 - quoted
        return found is None or bool(found[0][0])

    def _attempt(self, statement: str) -> list[tuple[Any, ...]] | None:
        """Execute what may be refused, and return its rows; None when it was. The transaction continues."""
        with self._turn, self._translated(), self._session.cursor() as cursor:
            cursor.execute("SAVEPOINT before_attempt")
            try:
                cursor.execute(statement)
                found = cursor.fetchall()
            except (psycopg2.ProgrammingError, psycopg2.DataError, psycopg2.errors.LockNotAvailable):
                cursor.execute("ROLLBACK TO SAVEPOINT before_attempt")
                found = None
            cursor.execute("RELEASE SAVEPOINT before_attempt")
            return found

    def materialized_views(self, toc: Sequence[TocEntry]) -> tuple[RelationName, ...]:
        """Return the populated materialized views in an order in which they can be refreshed."""
        return in_order_of_refresh(self._query, toc)

    def ask[T](self, read: Callable[[psycopg2.extensions.connection], T]) -> T:
        """Return what is read in the holder's transaction."""
        with self._turn, self._translated():
            return read(self._session)

    def free_connections(self) -> int:
        """Return how many more connections the server has room for now."""
        return free_connections(self._query)

    def _query(self, statement: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        with self._turn, self._translated(), self._session.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall()

    def _run(self, statement: str) -> None:
        with self._turn, self._translated(), self._session.cursor() as cursor:
            cursor.execute(statement)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except psycopg2.Error as error:
            raise explain_query_error(self._connection, error) from error


@contextmanager
def hold_snapshot(
    connection: Connection, children: Children, *, lock_timeout_seconds: int, for_journal: bool = False
) -> Iterator[Holder]:
    """Open the holder. Its snapshot can be imported by others until the block is left."""
    with connect(connection) as session, children.cancelling(session):
        try:
            wal_text = _wal_position(session) if for_journal else None
            session.set_session(isolation_level="REPEATABLE READ", readonly=True)
            with session.cursor() as cursor:
                cursor.execute(lock_timeout(lock_timeout_seconds))
        except psycopg2.Error as error:
            raise explain_query_error(connection, error) from error
        yield Holder(session, connection, wal_text)


def _wal_position(session: psycopg2.extensions.connection) -> str | None:
    try:
        with session, session.cursor() as cursor:
            cursor.execute(_WAL_POSITION)
            found = cursor.fetchall()[0][0]
    except psycopg2.Error:
        if session.closed:
            raise
        return None  # a backup without it is a good one, and no base
    return None if found is None else str(found)


# A standby has no position of its own.
_WAL_POSITION: Final = """
SELECT CASE WHEN current_setting('wal_level') = 'logical' AND NOT pg_is_in_recovery()
       THEN pg_current_wal_flush_lsn() END::text
"""
