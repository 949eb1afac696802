"""What is compared of two restored databases of one server: a hash of the rows of each table, whatever their order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import psycopg2.extensions
from psycopg2 import sql

from coffre.model.names import TableName


@dataclass(frozen=True)
class Directions:
    """The sequences that count down, those that begin again at their end, of which no value is behind another, and
    those that are unlogged, as those of unlogged tables are from PostgreSQL 15 on: no drain reads them.
    """

    descending: frozenset[TableName]
    cycling: frozenset[TableName]
    unlogged: frozenset[TableName]


def hash_rows(session: psycopg2.extensions.connection, table: TableName, columns: Iterable[str]) -> str:
    """Return the number of a table's own rows, and two sums over the SHA-256 of each.

    A row is the text of its columns, in the order of their names, with the settings that every session begins with
    (`connect`). Equal texts only mean equal values on one server: both sides have to be hashed by the same one.
    """
    listed = sql.SQL(", ").join(map(sql.Identifier, sorted(columns)))
    with session.cursor() as cursor:
        cursor.execute(sql.SQL(_HASH).format(listed, sql.Identifier(*table)))
        ((rows, *sums),) = cursor.fetchall()
    session.rollback()
    return " ".join(map(str, (rows, *sums)))


def rows_of(hashed: str) -> int:
    """Return the number of rows in a hash of `hash_rows`."""
    return int(hashed.partition(" ")[0])


def read_directions(session: psycopg2.extensions.connection) -> Directions:
    """Return which sequences do not simply count up."""
    with session.cursor() as cursor:
        cursor.execute(_DIRECTIONS)
        found = cursor.fetchall()
    session.rollback()
    return Directions(
        frozenset((schema, name) for schema, name, is_down, _, _ in found if is_down),
        frozenset((schema, name) for schema, name, _, is_cycling, _ in found if is_cycling),
        frozenset((schema, name) for schema, name, _, _, is_unlogged in found if is_unlogged),
    )


_HASH: Final = """
SELECT count(*), coalesce(sum(('x' || substr(h, 1, 16))::bit(64)::bigint), 0),
       coalesce(sum(('x' || substr(h, 17, 16))::bit(64)::bigint), 0)
FROM (
    SELECT encode(sha256(convert_to(ROW({})::text, getdatabaseencoding()::text)), 'hex') AS h FROM ONLY {}
) AS hashed
"""
_DIRECTIONS: Final = """
SELECT n.nspname::text, c.relname::text, s.seqincrement < 0, s.seqcycle, c.relpersistence = 'u'
FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE s.seqincrement < 0 OR s.seqcycle OR c.relpersistence = 'u'
"""
