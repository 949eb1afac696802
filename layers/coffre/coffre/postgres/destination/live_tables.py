"""Tables as they are at a destination now: columns, types, keys."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import psycopg2.extensions
from psycopg2 import sql

from coffre.model.names import TableName, shown


@dataclass(frozen=True)
class LiveColumn:
    """A column: `type` as DDL writes it (with its collation), and whether rows can say its value."""

    name: str
    type: str
    is_generated: bool
    is_always_identity: bool


@dataclass(frozen=True)
class KeyColumn:
    """A column of a key; its equality is the operator `=` of the schema `operator_schema`."""

    name: str
    operator_schema: str


@dataclass(frozen=True)
class LiveTable:
    """An existing relation that has a table's name; `kind` as in `pg_class.relkind`.

    `key` is its primary key, or else a unique index without NULLs; empty without one.
    """

    schema_name: str
    table_name: str
    kind: str
    columns: tuple[LiveColumn, ...]
    key: tuple[KeyColumn, ...]

    @property
    def name(self) -> TableName:
        """Schema and table, raw."""
        return self.schema_name, self.table_name

    @property
    def shown_name(self) -> str:
        """The name for a person."""
        return shown(*self.name)

    @property
    def holds_rows(self) -> bool:
        """Whether it is a table, partitioned or not, and no view or foreign table."""
        return self.kind in ("r", "p")

    @property
    def identifier(self) -> sql.Identifier:
        """The name for a statement."""
        return sql.Identifier(*self.name)

    def column(self, name: str) -> LiveColumn | None:
        """Return a column by its raw name."""
        return next((column for column in self.columns if column.name == name), None)


def live_tables(session: psycopg2.extensions.connection, names: Collection[TableName]) -> dict[TableName, LiveTable]:
    """Return those of the tables that exist, by name. The transaction stays open."""
    if not names:
        return {}
    with session.cursor() as cursor:
        schemas, tables = ([name[place] for name in names] for place in (0, 1))
        cursor.execute(_TABLES, {"schemas": schemas, "tables": tables})
        found = cursor.fetchall()
        oids = [oid for oid, *_ in found]
        cursor.execute(_COLUMNS, {"oids": oids})
        columns: dict[int, list[LiveColumn]] = {oid: [] for oid in oids}
        for oid, *facts in cursor.fetchall():
            columns[oid].append(LiveColumn(*facts))
        cursor.execute(_KEYS, {"oids": oids})
        keys: dict[int, tuple[KeyColumn, ...]] = {}
        for oid, key, operator_schemas in cursor.fetchall():
            keys.setdefault(oid, tuple(map(KeyColumn, key, operator_schemas)))
    return {
        (schema, table): LiveTable(schema, table, kind, tuple(columns[oid]), keys.get(oid, ()))
        for oid, schema, table, kind in found
    }


def user_tables(session: psycopg2.extensions.connection) -> list[TableName]:
    """Return the tables of the database, partitions too, that belong neither to the server nor to an extension."""
    with session.cursor() as cursor:
        cursor.execute(_USER_TABLES)
        return [(schema, table) for schema, table in cursor.fetchall()]


def table_oids(cursor: psycopg2.extensions.cursor, names: Collection[TableName]) -> list[int]:
    """Return the oids of those of the tables that exist."""
    schemas, tables = ([name[place] for name in names] for place in (0, 1))
    cursor.execute(_TABLES, {"schemas": schemas, "tables": tables})
    return [oid for oid, *_, kind in cursor.fetchall() if kind in ("r", "p")]


def names_of(cursor: psycopg2.extensions.cursor, oids: Collection[int]) -> list[TableName]:
    """Return what tables are called now."""
    cursor.execute(_NAMES, {"oids": list(oids)})
    return [(schema, table) for schema, table in cursor.fetchall()]


_NAMES: Final = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY(%(oids)s::bigint[]::oid[]) AND c.relkind IN ('r', 'p') ORDER BY 1, 2
"""
_USER_TABLES: Final = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
"""
_TABLES: Final = """
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind
FROM unnest(%(schemas)s::name[], %(tables)s::name[]) AS wanted(schema_name, table_name)
JOIN pg_namespace n ON n.nspname = wanted.schema_name
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.table_name
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_COLUMNS: Final = """
SELECT a.attrelid::bigint, a.attname,
       format_type(a.atttypid, a.atttypmod) || CASE
           WHEN a.attcollation <> t.typcollation THEN format(' COLLATE %%I.%%I', cn.nspname, co.collname)
           ELSE '' END,
       a.attgenerated <> '', a.attidentity = 'a'
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_collation co ON co.oid = a.attcollation LEFT JOIN pg_namespace cn ON cn.oid = co.collnamespace
WHERE a.attrelid = ANY(%(oids)s::bigint[]::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""
# The primary key first, then the oldest unique index that any row fits. Equality is the operator of the index.
_KEYS: Final = """
SELECT i.indrelid::bigint, array_agg(a.attname::text ORDER BY k.number),
       array_agg(coalesce(opn.nspname, 'pg_catalog')::text ORDER BY k.number)
FROM pg_index i
CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indclass::oid[]) WITH ORDINALITY AS k(attnum, opclass, number)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
JOIN pg_opclass oc ON oc.oid = k.opclass
LEFT JOIN pg_amop am ON am.amopfamily = oc.opcfamily AND am.amopstrategy = 3
    AND am.amoplefttype = oc.opcintype AND am.amoprighttype = oc.opcintype
LEFT JOIN pg_operator op ON op.oid = am.amopopr LEFT JOIN pg_namespace opn ON opn.oid = op.oprnamespace
WHERE i.indrelid = ANY(%(oids)s::bigint[]::oid[]) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
  AND i.indexprs IS NULL AND k.number <= i.indnkeyatts
GROUP BY i.indexrelid, i.indrelid, i.indisprimary
HAVING bool_and(a.attnotnull)
ORDER BY i.indisprimary DESC, i.indexrelid
"""
