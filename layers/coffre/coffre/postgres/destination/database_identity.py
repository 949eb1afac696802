"""Which database a session is in: facts of the server, that two addresses of the same database have in common."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import psycopg2
import psycopg2.extensions

from coffre.model.names import TableName


@dataclass(frozen=True)
class DatabaseIdentity:
    """One database of one running server.

    Parameters
    ----------
    system_identifier
        Of the cluster; None where the role may not read it. A copy of a server's files (a snapshot, a branch) has the
        same one.
    started_at
        When the server was started: a copy was started at another time.
    oid
        Of the database. Unlike its name, no second database of the server has had it.
    """

    system_identifier: int | None
    started_at: datetime
    oid: int

    def is_same(self, other: DatabaseIdentity) -> bool:
        """Return whether both are the same database, as far as both roles see."""
        known = None not in (self.system_identifier, other.system_identifier)
        return (
            self.oid == other.oid
            and self.started_at == other.started_at
            and (not known or self.system_identifier == other.system_identifier)
        )


def identity_of(session: psycopg2.extensions.connection) -> DatabaseIdentity:
    """Ask the server."""
    with session.cursor() as cursor:
        cursor.execute(_DATABASE)
        ((oid, started_at),) = cursor.fetchall()
        cursor.execute("SAVEPOINT before_cluster")
        try:
            cursor.execute("SELECT system_identifier FROM pg_control_system()")
            ((system_identifier,),) = cursor.fetchall()
        except psycopg2.ProgrammingError:  # a platform can take it from its users
            cursor.execute("ROLLBACK TO SAVEPOINT before_cluster")
            system_identifier = None
    return DatabaseIdentity(system_identifier, started_at, oid)


def tables_with_rows(session: psycopg2.extensions.connection) -> dict[TableName, tuple[TableName, ...]]:
    """Return the tables that hold rows of their own, each with the partitioned tables above it.

    Those of extensions are left out.
    """
    with session.cursor() as cursor:
        cursor.execute(_TABLES)
        return {
            (schema, table): tuple(zip(schemas, parents, strict=True))
            for schema, table, schemas, parents in cursor.fetchall()
        }


_DATABASE: Final = """
SELECT oid::bigint, pg_postmaster_start_time() FROM pg_database WHERE datname = current_database()
"""
_TABLES: Final = """
SELECT n.nspname, c.relname, above.schemas, above.tables
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(pn.nspname::text ORDER BY p.oid), '{}') AS schemas,
           coalesce(array_agg(p.relname::text ORDER BY p.oid), '{}') AS tables
    FROM pg_partition_ancestors(c.oid) a JOIN pg_class p ON p.oid = a.relid AND p.oid <> c.oid
    JOIN pg_namespace pn ON pn.oid = p.relnamespace) AS above
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
"""
