"""What identifies a database, and what is in it: the facts of a plan (docs/confirmation.md says why these)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from typing import Any, Final

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from coffre.model.confirmation import Facts, Overwritten
from coffre.model.names import TableName, shown

DATABASE: Final = "the database"
# Another session may hold a table's lock, and a table may be large: a look must not wait for either.
_PATIENCE: Final = "SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '10s'"
_NEWEST_PATIENCE: Final = "SET LOCAL statement_timeout = '2s'"
_LATEST_OF: Final = 10

# None: all tables of the database.
type Tables = Collection[TableName] | None


def read_facts(session: psycopg2.extensions.connection, tables: Tables, *, kept: str | None = None) -> Facts:
    """Return what has to stay as it is between a plan and the change. The transaction stays open.

    Parameters
    ----------
    tables
        Those that would change; None when the whole database is replaced.
    kept
        The database that would take its place, if it exists already.
    """
    with session.cursor() as cursor:
        exact = {DATABASE: _text(_asked(cursor, _OID))}
        exact["the server"] = _text(_asked(cursor, _SYSTEM))
        exact["the server's timeline (a restored or promoted server has another)"] = _text(_asked(cursor, _TIMELINE))
        exact["the definitions of its tables"] = _definitions(cursor, tables)
        if kept is not None:
            exact["the database that would take its place"] = _text(_asked(cursor, _KEPT, {"kept": kept}))
        size_bytes = _size(cursor, tables)
    return Facts(exact=exact, sizes={} if size_bytes is None else {"its size": size_bytes})


def existing(session: psycopg2.extensions.connection, tables: Collection[TableName]) -> list[TableName]:
    """Return those of the tables that exist."""
    with session.cursor() as cursor:
        cursor.execute(_EXISTING, _names(tables))
        return [(schema, name) for schema, name in cursor.fetchall()]


def measure(session: psycopg2.extensions.connection, tables: Tables) -> Overwritten:
    """Return what a person should know about what would be overwritten, as far as it can be read quickly."""
    with session.cursor() as cursor:
        counts = _row(cursor, _COUNTS_OF if tables is not None else _COUNTS, _names(tables))
        newest = _newest(cursor, tables)
        return Overwritten(
            database=session.info.dbname,
            size_bytes=_size(cursor, tables),
            tables=int(counts[0]) if counts else None,
            rows_estimate=int(counts[1]) if counts else None,
            newest_row=newest[0] if newest else None,
            newest_row_in=newest[1] if newest else None,
        )


def _definitions(cursor: psycopg2.extensions.cursor, tables: Tables) -> str:
    """Return the hash of tables, views, their columns and types.

    Partitions and other children are left out: they come and go with rows. So are staging schemas of restores.
    """
    cursor.execute(_COLUMNS_OF if tables is not None else _COLUMNS, _names(tables))
    digest = hashlib.sha256()
    for row in cursor.fetchall():
        digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()


def _size(cursor: psycopg2.extensions.cursor, tables: Tables) -> int | None:
    size_bytes = _asked(cursor, _SIZE_OF if tables is not None else _SIZE, _names(tables))
    return None if size_bytes is None else int(size_bytes)


def _newest(cursor: psycopg2.extensions.cursor, tables: Tables) -> tuple[str, str] | None:
    """Return the latest time until now in columns of times that begin an index, and where it is."""
    cursor.execute(_TIMES_OF if tables is not None else _TIMES, {**_names(tables), "most": _LATEST_OF})
    found = []
    for schema, table, column in cursor.fetchall():
        query = sql.SQL(_LATEST).format(column=sql.Identifier(column), table=sql.Identifier(schema, table))
        if (time := _asked(cursor, query, patience=_NEWEST_PATIENCE)) is not None:
            found.append((str(time), f"{shown(schema, table)}.{column}"))
    return max(found, default=None)


def _asked(
    cursor: psycopg2.extensions.cursor,
    query: str | sql.Composable,
    values: dict[str, Any] | None = None,
    *,
    patience: str = _PATIENCE,
) -> Any:
    """Return one value, or None where this role or this server does not give it."""
    row = _row(cursor, query, values, patience=patience)
    return row[0] if row else None


def _row(
    cursor: psycopg2.extensions.cursor,
    query: str | sql.Composable,
    values: dict[str, Any] | None = None,
    *,
    patience: str = _PATIENCE,
) -> Sequence[Any] | None:
    cursor.execute("SAVEPOINT coffre_look")
    row: Sequence[Any] | None = None
    try:
        cursor.execute(patience)
        cursor.execute(query, values)
        row = cursor.fetchone()
    except psycopg2.Error:
        if cursor.connection.closed:
            raise
    cursor.execute("ROLLBACK TO SAVEPOINT coffre_look; RELEASE SAVEPOINT coffre_look")
    return row


def _text(value: object) -> str:
    return "unknown" if value is None else str(value)


def _names(tables: Tables) -> dict[str, Any]:
    names = list(tables or ())
    return {"schemas": [name[0] for name in names], "tables": [name[1] for name in names]}


_OID: Final = "SELECT oid::bigint FROM pg_database WHERE datname = current_database()"
_KEPT: Final = "SELECT oid::bigint FROM pg_database WHERE datname = %(kept)s"
_SYSTEM: Final = "SELECT system_identifier FROM pg_control_system()"
# The checkpoint's own is older for a moment after a promotion.
_TIMELINE: Final = """
SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END
"""
_SIZE: Final = "SELECT pg_database_size(current_database())"
_CHOSEN: Final = """
SELECT c.oid FROM unnest(%(schemas)s::name[], %(tables)s::name[]) AS wanted(schema_name, table_name)
JOIN pg_namespace n ON n.nspname = wanted.schema_name
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.table_name AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_EXISTING: Final = f"""
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid IN ({_CHOSEN}) ORDER BY 1, 2
"""  # noqa: S608 - of constants
# Tables with their partitions and other children.
_WITH_CHILDREN: Final = f"""
WITH RECURSIVE chosen AS ({_CHOSEN} UNION SELECT i.inhrelid FROM pg_inherits i JOIN chosen ON i.inhparent = chosen.oid)
"""  # noqa: S608 - of constants
_OF_USERS: Final = """
c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
AND n.nspname !~ '^restored_[0-7][0-9a-hjkmnp-tv-z]{25}$' AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
"""
_COLUMN_FACTS: Final = """
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text, a.attname, format_type(a.atttypid, a.atttypmod),
       a.attnotnull
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
"""
_COLUMNS: Final = f"""{_COLUMN_FACTS}
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {_OF_USERS}
  AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid)
ORDER BY c.oid, a.attnum
"""
_COLUMNS_OF: Final = f"{_COLUMN_FACTS} WHERE c.oid IN ({_CHOSEN}) ORDER BY c.oid, a.attnum"
_SIZE_OF: Final = f"{_WITH_CHILDREN} SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM chosen"  # noqa: S608 - of constants
# 0 or -1 rows: no ANALYZE has been here. The other count is of statistics that arrive late and may count twice.
_COUNT: Final = """
SELECT count(*), coalesce(sum(
    CASE WHEN c.reltuples > 0 THEN c.reltuples ELSE coalesce(pg_stat_get_live_tuples(c.oid), 0) END), 0)::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
"""
_COUNTS: Final = f"{_COUNT} WHERE c.relkind = 'r' AND {_OF_USERS}"
_COUNTS_OF: Final = f"{_WITH_CHILDREN} {_COUNT} WHERE c.relkind = 'r' AND c.oid IN (SELECT oid FROM chosen)"  # noqa: S608 - of constants
# Without the code of policies, which would run as this role.
_TIME_COLUMNS: Final = """
SELECT found.nspname, found.relname, found.attname FROM (
    SELECT DISTINCT n.nspname, c.relname, a.attname, c.relpages
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
    WHERE i.indisvalid AND i.indpred IS NULL AND m.amname = 'btree' AND c.relkind = 'r' AND NOT c.relrowsecurity
      AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype) AND (:which)
) AS found ORDER BY found.relpages DESC, 1, 2, 3 LIMIT %(most)s
"""
_TIMES: Final = _TIME_COLUMNS.replace(":which", _OF_USERS)
_TIMES_OF: Final = _WITH_CHILDREN + _TIME_COLUMNS.replace(":which", "c.oid IN (SELECT oid FROM chosen)")
_LATEST: Final = """
SELECT to_char(max({column})::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') FROM {table}
WHERE {column} > '-infinity' AND {column} <= now()
"""
