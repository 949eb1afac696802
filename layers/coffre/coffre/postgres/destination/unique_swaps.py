"""Unique values that rows exchanged: what lets all of a table's rows change together, and what forbids it.

A unique index without a constraint that can be put off is checked row by row: two rows cannot exchange their values by
`UPDATE`, in whatever order. Deleting and inserting them in one statement can do it, but fires what `ON DELETE CASCADE`
and triggers do. Where that would be seen, the index is dropped and made again in the same transaction instead.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from coffre.postgres.destination.live_tables import LiveTable
from coffre.postgres.destination.owners_code import owners_path


@dataclass(frozen=True)
class Unique:
    """A unique index, or the unique or exclusion constraint that it belongs to.

    `definition` makes it again; `is_clustered` says that the table is ordered by it.
    """

    schema: str
    name: str
    is_constraint: bool
    definition: str
    tablespace: str
    index_comment: str | None
    constraint_comment: str | None
    is_clustered: bool


def can_reinsert(cursor: psycopg2.extensions.cursor, live: LiveTable) -> bool:
    """Return whether nothing sees that rows are deleted and inserted: no trigger, no rule, no key with an action."""
    cursor.execute(_SEEN, {"table": live.identifier.as_string(cursor)})
    ((is_seen,),) = cursor.fetchall()
    return not is_seen


def uniques(cursor: psycopg2.extensions.cursor, live: LiveTable, columns: Collection[str]) -> list[Unique]:
    """Return what checks the values of these columns row by row, besides the key, and can be dropped and made again.

    What a foreign key or replication relies on cannot; neither can the index of a single partition.
    """
    cursor.execute(
        _UNIQUES,
        {
            "table": live.identifier.as_string(cursor),
            "columns": list(columns),
            "key": [column.name for column in live.key],
        },
    )
    return [Unique(*row) for row in cursor.fetchall()]


def drop(cursor: psycopg2.extensions.cursor, live: LiveTable, unique: Unique) -> None:
    """Drop it, which keeps others from reading the table until the end of the transaction."""
    if unique.is_constraint:
        statement = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(live.identifier, sql.Identifier(unique.name))
    else:
        statement = sql.SQL("DROP INDEX {}").format(sql.Identifier(unique.schema, unique.name))
    cursor.execute(statement)


def make_again(cursor: psycopg2.extensions.cursor, live: LiveTable, unique: Unique) -> None:
    """Make it as it was. No deferred constraint of the table may be waiting for its check."""
    name, index = sql.Identifier(unique.name), sql.Identifier(unique.schema, unique.name)
    cursor.execute("SELECT pg_catalog.set_config('default_tablespace', %s, true)", (unique.tablespace,))
    if unique.is_constraint:
        added = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} ").format(live.identifier, name)
        _define(cursor, added + sql.SQL(unique.definition))
    else:
        _define(cursor, sql.SQL(unique.definition))
    for what, comment in (
        (sql.SQL("INDEX {}").format(index), unique.index_comment),
        (sql.SQL("CONSTRAINT {} ON {}").format(name, live.identifier), unique.constraint_comment),
    ):
        if comment is not None:
            cursor.execute(sql.SQL("COMMENT ON {} IS {}").format(what, sql.Literal(comment)))
    if unique.is_clustered:
        cursor.execute(sql.SQL("ALTER TABLE {} CLUSTER ON {}").format(live.identifier, name))


def _define(cursor: psycopg2.extensions.cursor, statement: sql.Composable) -> None:
    """Define an index; its expressions are the owner's code, and may need the owner's path (before PostgreSQL 17)."""
    cursor.execute("SAVEPOINT as_it_was")
    try:
        cursor.execute(statement)
    except psycopg2.ProgrammingError:
        cursor.execute("ROLLBACK TO SAVEPOINT as_it_was")
        with owners_path(cursor):
            cursor.execute(statement)
    cursor.execute("RELEASE SAVEPOINT as_it_was")


# The table with all tables above and below it: partitions have triggers and keys too.
_SEEN: Final = """
WITH family AS (
    SELECT %(table)s::regclass::oid AS oid
  UNION SELECT t.relid FROM pg_partition_root(%(table)s::regclass) r, pg_partition_tree(r) t)
SELECT EXISTS (SELECT FROM pg_trigger t JOIN family ON t.tgrelid = family.oid
               WHERE NOT t.tgisinternal AND t.tgenabled <> 'D')
    OR EXISTS (SELECT FROM pg_rewrite r JOIN family ON r.ev_class = family.oid WHERE r.ev_type <> '1')
    OR EXISTS (SELECT FROM pg_constraint k JOIN family ON k.confrelid = family.oid
               WHERE k.contype = 'f' AND k.confdeltype <> 'a')
"""
_UNIQUES: Final = """
SELECT n.nspname, c.relname, k.oid IS NOT NULL,
       coalesce(pg_get_constraintdef(k.oid), pg_get_indexdef(c.oid)),
       coalesce((SELECT spcname FROM pg_tablespace WHERE oid = c.reltablespace), ''),
       obj_description(c.oid, 'pg_class'), obj_description(k.oid, 'pg_constraint'), i.indisclustered
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i' AND NOT c.relispartition
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_constraint k ON k.conindid = c.oid AND k.contype IN ('u', 'x')
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(a.attname::text), '{}') AS names
    FROM unnest(i.indkey::int2[]) AS n(attnum) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = n.attnum
) AS own
WHERE i.indrelid = %(table)s::regclass AND (i.indisunique OR i.indisexclusion) AND i.indimmediate AND i.indisvalid
  AND NOT i.indisprimary AND NOT i.indisreplident
  AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
       OR (own.names && %(columns)s::text[] AND NOT own.names <@ %(key)s::text[]))
  AND NOT EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.conindid = c.oid)
ORDER BY 1, 2
"""
