"""Foreign keys that count as checked, and whose rows lack what they refer to.

Rows that were loaded under `session_replication_role = replica` were checked by no key.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import psycopg2.extensions
from psycopg2 import sql

from coffre.model.names import TableName, shown


@dataclass(frozen=True)
class BrokenKey:
    """A foreign key `name` of `table`, of which `rows` have no row in the table `parent`."""

    name: str
    table: str
    parent: str
    rows: int


def broken_keys(session: psycopg2.extensions.connection, lacking: Collection[TableName]) -> list[BrokenKey]:
    """Return the foreign keys to tables that lack rows, or to their partitioned tables, and how many rows each lost.

    Each key reads its table once: this is for tables whose rows did not all come back.
    """
    tables = {"schemas": [schema for schema, _ in lacking], "names": [name for _, name in lacking]}
    found = []
    with session.cursor() as cursor:
        cursor.execute(_KEYS_TO, tables)
        for name, child, parent, columns, is_full in cursor.fetchall():
            cursor.execute(_without_parent(child, parent, columns, is_full=is_full))
            ((rows,),) = cursor.fetchall()
            if rows:
                found.append(BrokenKey(name, shown(*child), shown(*parent), rows))
    return found


def _without_parent(
    child: list[str], parent: list[str], columns: list[tuple[str, str, str, str]], *, is_full: bool
) -> sql.Composed:
    own = [sql.SQL("c.{}").format(sql.Identifier(column)) for column, *_ in columns]
    equal = [
        sql.SQL("p.{} OPERATOR({}.{}) c.{}").format(
            sql.Identifier(theirs), sql.Identifier(schema), sql.SQL(operator), sql.Identifier(ours)
        )
        for ours, theirs, schema, operator in columns
    ]
    refers = sql.SQL(" OR " if is_full else " AND ").join(sql.SQL("{} IS NOT NULL").format(column) for column in own)
    return sql.SQL(
        "SELECT pg_catalog.count(*) FROM {child} c"
        " WHERE ({refers}) AND NOT EXISTS (SELECT FROM {parent} p WHERE {equal})"
    ).format(
        child=sql.Identifier(*child),
        parent=sql.Identifier(*parent),
        refers=refers,
        equal=sql.SQL(" AND ").join(equal),
    )


# The key of a partitioned table is looked at as a whole: those of its partitions (`conparentid`) are parts of it.
_KEYS_TO: Final = """
WITH lacking AS (
    SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE (n.nspname::text, c.relname::text) IN (SELECT * FROM unnest(%(schemas)s::text[], %(names)s::text[]))
), parents AS (
    SELECT oid FROM lacking UNION SELECT a.relid FROM lacking, pg_catalog.pg_partition_ancestors(lacking.oid) AS a
)
SELECT k.conname::text, ARRAY[cn.nspname::text, c.relname::text], ARRAY[pn.nspname::text, p.relname::text],
       ARRAY(
           SELECT ARRAY[ours.attname::text, theirs.attname::text, opn.nspname::text, op.oprname::text]
           FROM unnest(k.conkey, k.confkey, k.conpfeqop) WITH ORDINALITY AS part (ours, theirs, operator, place)
           JOIN pg_catalog.pg_attribute ours ON ours.attrelid = k.conrelid AND ours.attnum = part.ours
           JOIN pg_catalog.pg_attribute theirs ON theirs.attrelid = k.confrelid AND theirs.attnum = part.theirs
           JOIN pg_catalog.pg_operator op ON op.oid = part.operator
           JOIN pg_catalog.pg_namespace opn ON opn.oid = op.oprnamespace
           ORDER BY part.place
       ), k.confmatchtype = 'f'
FROM pg_catalog.pg_constraint k
JOIN parents ON parents.oid = k.confrelid
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
JOIN pg_catalog.pg_class p ON p.oid = k.confrelid JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0
ORDER BY 2, 1
"""
