"""Which rows of a table, as SQL."""

from __future__ import annotations

from psycopg2 import sql

from coffre.model.row_filter import RowFilter


def condition(rows: RowFilter) -> sql.Composable:
    """Return a filter as an expression over the names of the table's columns."""
    if rows.where is not None:
        return sql.SQL("(") + sql.SQL(rows.where) + sql.SQL(")")
    column = sql.Identifier(rows.column or "")
    borders = [
        sql.SQL("{} OPERATOR(pg_catalog.{}) {}").format(column, sql.SQL(operator), sql.Literal(value))
        for operator, value in ((">=", rows.start), ("<", rows.end))
        if value is not None
    ]
    return sql.SQL("({})").format(sql.SQL(" AND ").join(borders))
