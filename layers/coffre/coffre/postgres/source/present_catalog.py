"""The catalog as it is now, seen by a session without a snapshot: what of it is no longer as a snapshot shows it?"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import psycopg2
import psycopg2.extensions

from coffre.model.errors import SchemaChangedError
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.connect import connect
from coffre.postgres.connection.query_errors import explain_query_error
from coffre.postgres.source import catalog_drift
from coffre.postgres.source.catalog_drift import Fact

_HINT: Final = "What changes tables should run at another time. With a new snapshot it may succeed."


class PresentCatalog:
    """Compares what snapshots show with the present, and knows who waits for locks of this process. Thread-safe.

    One for each process that reads; it needs one connection.

    Attributes
    ----------
    patience_seconds
        How long another session may wait for a lock of the backup, and the backup for a lock of another session.
    """

    def __init__(
        self, session: psycopg2.extensions.connection, connection: Connection, *, patience_seconds: int
    ) -> None:
        self.patience_seconds = patience_seconds
        self._session = session
        self._connection = connection
        self._turn = threading.Lock()
        self._lettings: dict[int, Callable[[], None]] = {}

    def require(self, shown: Collection[Fact], tables: Mapping[int, str]) -> None:
        """Make sure that the tables and what their rows are printed with are as a snapshot shows them.

        What it says of tables holds as long as they are locked, from before this was called.

        Parameters
        ----------
        shown
            The answer to `catalog_drift.shown_of_tables` in the snapshot.
        tables
            Their names by oid, quoted for a statement.

        Raises
        ------
        SchemaChangedError
            With the names of the tables that were changed, if it is tables.
        """
        known = [(oid, width) for oid, width, _ in shown if oid]
        oids, widths = ([table[place] for table in known] for place in (0, 1))
        gone = set(shown).difference(self._query(_OF_TABLES, {"oids": oids, "widths": widths}))
        changed = {oid for oid, *_ in gone if oid} | tables.keys() - {oid for oid, *_ in shown}
        if changed:
            names = tuple(tables[oid] for oid in sorted(changed))
            raise SchemaChangedError(
                f"The table {names[0].removeprefix('ONLY ')} was truncated, rewritten, altered, renamed or dropped, "
                "or its schema was altered, after the backup's snapshot was taken and before the table was read.",
                hint=_HINT,
                tables=names,
            )
        if gone:
            raise SchemaChangedError(
                "A label of an enum, a field of a composite type, or a name that rows are printed with was changed "
                "before they were read.",
                hint=_HINT,
            )

    def require_schema(self, shown: set[Any]) -> None:
        """Make sure that the schema is as a snapshot shows it: `shown` is the answer to `catalog_drift.OF_SCHEMA`.

        Raises
        ------
        SchemaChangedError
            It is not; what `pg_dump` wrote of it may be wrong.
        """
        if shown.difference(self._query(catalog_drift.OF_SCHEMA)):
            raise SchemaChangedError(
                "A function, a type, a view or the like was changed or dropped while it was being read.", hint=_HINT
            )

    @contextmanager
    def letting_go(self, backend: int, let_go: Callable[[], None]) -> Iterator[None]:
        """Register how a session of this process gives up its locks when others wait for them."""
        self._lettings[backend] = let_go
        try:
            yield
        finally:
            del self._lettings[backend]

    def make_way(self) -> str | None:
        """Let go of locks for which another session has waited too long.

        Returns the name of a table, if it is locked by what cannot let go (a client program) or does not (a reader
        whose rows are not taken).
        """
        held = None
        for table, backend, seconds in self._query(_WAITED_FOR, {"seconds": self.patience_seconds}):
            if seconds > 2 * self.patience_seconds or not self.let_go(backend):
                held = str(table)
        return held

    def let_go(self, backend: int) -> bool:
        """Let a session give up its locks; return whether it is one that can."""
        let_go = self._lettings.get(backend)
        if let_go is not None:
            let_go()
        return let_go is not None

    def cancel(self, backend: int) -> None:
        """Cancel the statement of a session of this process, if there is one."""
        self._query("SELECT pg_cancel_backend(%(backend)s)", {"backend": backend})

    def _query(self, statement: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        try:
            with self._turn, self._session.cursor() as cursor:  # which a session that was closed has none of
                cursor.execute(statement, parameters)
                return cursor.fetchall()
        except psycopg2.Error as error:
            raise explain_query_error(self._connection, error) from error


@contextmanager
def present_catalog(connection: Connection, children: Children, *, patience_seconds: int) -> Iterator[PresentCatalog]:
    """Open the session, which has no transaction between its queries, and close it at the end."""
    with connect(connection) as session, children.cancelling(session):
        session.autocommit = True
        try:
            with session.cursor() as cursor:
                cursor.execute(_PREPARE)
        except psycopg2.Error as error:
            raise explain_query_error(connection, error) from error
        yield PresentCatalog(session, connection, patience_seconds=patience_seconds)


# To plan the query takes longer than to execute it for a few tables.
_PREPARE: Final = f"""
SET jit = off; SET plan_cache_mode = force_generic_plan;
PREPARE of_tables (oid[], int2[]) AS {catalog_drift.PRESENT_OF_TABLES}
"""
_OF_TABLES: Final = "EXECUTE of_tables (%(oids)s::bigint[]::oid[], %(widths)s::int2[])"
# Only what is stronger than a lock to read conflicts with our locks. The server keeps the start of waits since 14. All
# sessions of a run have the same application_name, and no other session has it.
_WAITED_FOR: Final = """
SELECT l.relation::regclass, a.pid, w.seconds FROM pg_locks l
CROSS JOIN LATERAL (
    SELECT extract(epoch FROM clock_timestamp() - (to_jsonb(l) ->> 'waitstart')::timestamptz)) AS w(seconds)
JOIN pg_stat_activity a ON a.pid = ANY(pg_blocking_pids(l.pid))
WHERE NOT l.granted AND l.mode = 'AccessExclusiveLock' AND w.seconds > %(seconds)s
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND a.datname = current_database() AND a.usename = session_user
  AND a.application_name = current_setting('application_name')
"""
