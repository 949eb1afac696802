"""Materialized views of a destination: which read a table, and filling them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from coffre.model.errors import RestoreError
from coffre.model.manifest import RelationName
from coffre.model.names import TableName, shown
from coffre.postgres.connection.connect import one_line
from coffre.postgres.destination.copy_in import is_refusal


def refresh_materialized_views(
    session: psycopg2.extensions.connection,
    views: Iterable[RelationName],
    refused: Callable[[RelationName, RestoreError], None],
) -> list[str]:
    """Fill the materialized views, each after those that it reads and in its own transaction.

    Returns those that do not exist. `refused` gets the others that could not be filled, with the error
    `REFRESH_FAILED`.
    """
    missing = []
    for view in views:
        name = sql.Identifier(view.schema_name, view.relation_name)
        try:
            with session.cursor() as cursor:
                # A view sees what its owner sees, as at the source; our sessions would take hidden rows for an error.
                cursor.execute("SET LOCAL row_security = on")
                cursor.execute("SELECT to_regclass(%s)", (name.as_string(cursor),))
                if cursor.fetchall() == [(None,)]:
                    missing.append(shown(view.schema_name, view.relation_name))
                else:
                    cursor.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(name))
            session.commit()
        except psycopg2.Error as error:
            if session.closed or not is_refusal(error):
                raise
            session.rollback()
            refused(view, _refresh_failed(view, one_line(error)))
    return missing


def _refresh_failed(view: RelationName, detail: str) -> RestoreError:
    return RestoreError(
        f"The materialized view {shown(view.schema_name, view.relation_name)} could not be filled.",
        code="REFRESH_FAILED",
        detail=detail,
        hint="The rows of all tables are restored; the view's own query fails at the destination.",
    )


def views_reading(session: psycopg2.extensions.connection, tables: Iterable[TableName]) -> set[TableName]:
    """Return the materialized views that read any of the tables, through other views and partitioned tables too."""
    schemas, names = zip(*tables, strict=True)
    with session.cursor() as cursor:
        cursor.execute(_VIEWS_READING, {"schemas": list(schemas), "tables": list(names)})
        return {(schema, name) for schema, name in cursor.fetchall()}


_VIEWS_READING: Final = """
WITH RECURSIVE readers(oid) AS (
    SELECT c.oid FROM unnest(%(schemas)s::text[], %(tables)s::text[]) AS t(schema, name)
    JOIN pg_namespace n ON n.nspname = t.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.name
  UNION
    SELECT next.oid FROM readers CROSS JOIN LATERAL (
        SELECT i.inhparent FROM pg_inherits i WHERE i.inhrelid = readers.oid
        UNION ALL
        SELECT r.ev_class FROM pg_depend d
        JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
        WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = readers.oid) AS next(oid))
SELECT n.nspname, c.relname FROM readers JOIN pg_class c ON c.oid = readers.oid AND c.relkind = 'm'
JOIN pg_namespace n ON n.oid = c.relnamespace
"""
