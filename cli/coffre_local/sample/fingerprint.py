"""Compare databases row by row: the server computes one hash per table, whatever the order of rows and columns."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ, connection, cursor

from coffre_local.sample.session import pinned_connection

UNPOPULATED = "not populated"

# Tables and partitions that hold rows themselves, and materialized views. Foreign tables hold none.
_RELATIONS = """
SELECT n.nspname, c.relname, c.relispopulated,
       array_agg(a.attname::text ORDER BY a.attname) FILTER (WHERE a.attname IS NOT NULL)
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
GROUP BY n.nspname, c.relname, c.relispopulated
ORDER BY n.nspname, c.relname
"""

_SEQUENCES = """
SELECT n.nspname, c.relname
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
ORDER BY n.nspname, c.relname
"""

# 60 bits of each row's MD5 are added up, exactly: sum(bigint) is numeric. A sum does not depend on the order of rows,
# and unlike an exclusive or it notices a duplicate row.
_HASH = """
SELECT count(*), coalesce(sum(('x' || substr(md5({row}::text), 1, 15))::bit(60)::bigint), 0)::text
FROM ONLY {table} AS r
"""


@dataclass(frozen=True, slots=True)
class TableFingerprint:
    """The content of one table or materialized view: equal fingerprints, equal rows in columns of equal names.

    Parameters
    ----------
    rows
        Number of rows.
    hash
        Hexadecimal digits, or `UNPOPULATED` for a materialized view that was never filled.
    """

    rows: int
    hash: str


type SequenceState = tuple[int, bool]
"""`last_value` and `is_called`."""


def fingerprint(dsn: str) -> dict[str, TableFingerprint]:
    """Hash every table, partition and materialized view of a database, in one snapshot.

    Works on any database, and compares across servers of PostgreSQL 14 to 18. Columns are taken by name, since a
    restore may order those of inherited tables differently. Large objects and foreign tables are not looked at.

    Returns
    -------
    dict
        By qualified name with both parts quoted, sorted by schema and name.

    Raises
    ------
    psycopg2.errors.InsufficientPrivilege
        A table may not be read, or row security would hide rows of it.
    """
    with _snapshot(dsn) as (conn, cur):
        cur.execute(_RELATIONS)
        found: dict[str, TableFingerprint] = {}
        for schema, name, populated, columns in cur.fetchall():
            content = _table_fingerprint(cur, schema, name, columns or []) if populated else _UNFILLED
            found[_quoted(conn, schema, name)] = content
        return found


def sequences(dsn: str) -> dict[str, SequenceState]:
    """Read the state of every sequence, those of identity and serial columns too, by quoted qualified name."""
    with _snapshot(dsn) as (conn, cur):
        cur.execute(_SEQUENCES)
        return {_quoted(conn, schema, name): _sequence_state(cur, schema, name) for schema, name in cur.fetchall()}


_UNFILLED = TableFingerprint(rows=0, hash=UNPOPULATED)


@contextmanager
def _snapshot(dsn: str) -> Iterator[tuple[connection, cursor]]:
    with pinned_connection(dsn, isolation=ISOLATION_LEVEL_REPEATABLE_READ) as conn, conn.cursor() as cur:
        yield conn, cur


def _quoted(conn: connection, schema: str, name: str) -> str:
    # Always quoted: which words need quotes differs between the versions that are compared.
    return sql.Identifier(schema, name).as_string(conn)


def _table_fingerprint(cur: cursor, schema: str, name: str, columns: list[str]) -> TableFingerprint:
    row = sql.SQL("ROW({})").format(sql.SQL(", ").join(sql.Identifier("r", column) for column in columns))
    cur.execute(sql.SQL(_HASH).format(row=row, table=sql.Identifier(schema, name)))
    rows, total = cur.fetchone() or (0, "0")
    digest = hashlib.sha256(json.dumps([columns, rows, total]).encode()).hexdigest()
    return TableFingerprint(rows=rows, hash=digest[:32])


def _sequence_state(cur: cursor, schema: str, name: str) -> SequenceState:
    cur.execute(sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(schema, name)))
    last_value, is_called = cur.fetchone() or (0, False)
    return last_value, is_called
