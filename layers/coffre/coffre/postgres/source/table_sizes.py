"""How large tables are: the server opens each to say so, which it can do while `pg_dump` reads the schema."""

from __future__ import annotations

from typing import Final

import psycopg2

from coffre.model.errors import ConnectTransientError
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.connect import connect
from coffre.postgres.source.locks import lock_timeout

# Rows, and what of them is in TOAST: `pg_table_size` looks at nine more files of each table.
SIZES: Final = """
pg_relation_size(c.oid), pg_relation_size(c.oid) + CASE c.reltoastrelid WHEN 0 THEN 0
                                                   ELSE pg_relation_size(c.reltoastrelid) END
"""
_ALL: Final = f"""
SELECT c.oid::bigint, {SIZES} FROM pg_class c WHERE c.relkind = 'r' AND c.oid >= 16384 AND c.relpersistence <> 't'
"""  # noqa: S608 - the part is a constant

type TableSizes = dict[int, tuple[int | None, int | None]]


def table_sizes(connection: Connection, children: Children) -> TableSizes:
    """Return the bytes of the rows of every table and, second, those with its TOAST, by oid.

    An empty answer when there is no room for a session, or a table is locked: then nothing is known yet.
    """
    try:
        with connect(connection) as session, children.cancelling(session), session.cursor() as cursor:
            cursor.execute(lock_timeout(1))
            cursor.execute(_ALL)
            return {oid: (rows, total) for oid, rows, total in cursor.fetchall()}
    except (ConnectTransientError, psycopg2.Error):
        return {}
