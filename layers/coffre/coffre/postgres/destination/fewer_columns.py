"""Rows of a backup in a table that lacks some of their columns, or computes them itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import psycopg2.extensions
from psycopg2 import sql

from coffre.model.manifest import TableContent
from coffre.model.names import TableName
from coffre.postgres.destination.copy_in import copy_in

_ROWS: Final = sql.Identifier("pg_temp", "coffre_rows")


def copy_some(
    session: psycopg2.extensions.connection,
    table: TableContent,
    chunks: Iterator[bytes],
    encoding: str,
    into: TableName,
    taken: Sequence[str],
) -> int:
    """Load one slice as `copy_in` does, but of its columns only those that are `taken`. The caller commits."""
    columns = sql.SQL(", ").join(map(sql.Identifier, taken))
    with session.cursor() as cursor:
        place = sql.Identifier(*into)
        cursor.execute(sql.SQL("CREATE TEMP TABLE {} AS SELECT {} FROM {} LIMIT 0").format(_ROWS, columns, place))
        for column in table.columns:
            if column not in taken:
                cursor.execute(sql.SQL("ALTER TABLE {} ADD COLUMN {} text").format(_ROWS, sql.Identifier(column)))
        copy_in(session, table, chunks, encoding, ("pg_temp", "coffre_rows"))
        statement = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}")
        cursor.execute(statement.format(place, columns, columns, _ROWS))
        rows = cursor.rowcount
        cursor.execute(sql.SQL("DROP TABLE {}").format(_ROWS))
    return rows
