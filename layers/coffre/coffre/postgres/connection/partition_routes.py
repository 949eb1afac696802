"""Partitions whose rows have to be loaded through the root of their table, because another server may route them.

Which partition takes a row depends on more than the row: the hash of an enum is that of its oid, which is another one
in every database; the order of texts is that of the server's locales; what an expression or an extension's type says
is up to their version. `pg_dump` by itself sees to hashes of enums alone (`--load-via-partition-root` for the rest).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import psycopg2.extensions

from coffre.model.manifest import RelationName, TableContent
from coffre.model.names import TableName, shown

type Query = Callable[[str, dict[str, Any]], list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Route:
    """A leaf partition and the root of its table.

    Parameters
    ----------
    is_unstable
        Whether another server may put its rows into another partition.
    has_foreign
        Whether rows that are given to the root may end on another server.
    """

    oid: int
    leaf: TableName
    root: TableName
    is_unstable: bool
    has_foreign: bool

    def goes_through_root(self, recorded: RelationName | None = None) -> bool:
        """Whether the rows are loaded through the root; `recorded` is what the backup says."""
        is_recorded = recorded is not None and (recorded.schema_name, recorded.relation_name) == self.root
        return (self.is_unstable or is_recorded) and not self.has_foreign


def read_routes(query: Query, tables: Collection[TableName], encoding: str) -> list[Route]:
    """Return where rows of those of the tables go that are leaf partitions. `encoding` is that of the rows' source.

    Parameters
    ----------
    query
        Executes a statement with parameters and returns all rows.
    """
    if not tables:
        return []
    schemas, names = ([table[place] for table in tables] for place in (0, 1))
    rows = query(_ROUTES, {"schemas": schemas, "names": names, "encoding": encoding})
    return [Route(oid, (schema, name), (its, root), *flags) for oid, schema, name, its, root, *flags in rows]


def roots_for_loading(
    session: psycopg2.extensions.connection, tables: Mapping[TableName, TableContent], encoding: str
) -> dict[TableName, TableName]:
    """Return the root for each of a backup's tables whose rows go through it here. The transaction stays open."""
    return {
        route.leaf: route.root
        for route in read_routes(_asking(session), tables, encoding)
        if route.goes_through_root(tables[route.leaf].through)
    }


def leaves_below(session: psycopg2.extensions.connection, root: TableName) -> set[TableName]:
    """Return the leaf partitions of a table, of every level. The transaction stays open."""
    rows = _asking(session)(_LEAVES, {"schema": root[0], "name": root[1]})
    return {(schema, name) for schema, name in rows}


def root_of(session: psycopg2.extensions.connection, leaf: TableName) -> TableName | None:
    """Return the root of a leaf partition. The transaction stays open."""
    return next((route.root for route in read_routes(_asking(session), [leaf], encoding="")), None)


def whole_table_hint(root: TableName) -> str:
    """Return what to do when rows of a partition belong into another one now."""
    return (
        f"Rows of this partition belong into other partitions now: what decides it (the hash of an enum, an order of "
        f"texts) is not the same here as when they were backed up. Restore {shown(*root)} as a whole."
    )


def _asking(session: psycopg2.extensions.connection) -> Query:
    def query(statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        with session.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall()

    return query


# Objects of the server itself have lower oids (FirstNormalObjectId); what is defined by users and extensions may be
# defined otherwise elsewhere. Values of `reg...` types are oids, written as names. Texts are in one order everywhere
# in the collations of the provider "builtin", and of libc's "C".
_ROUTES: Final = r"""
WITH RECURSIVE
ancestry(leaf, kind, relation, level) AS (
    SELECT c.oid, c.relkind, i.inhparent, 1 FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid
    WHERE c.relispartition AND c.relkind IN ('r', 'f')
  UNION ALL
    SELECT a.leaf, a.kind, i.inhparent, a.level + 1 FROM ancestry a
    JOIN pg_class c ON c.oid = a.relation AND c.relispartition JOIN pg_inherits i ON i.inhrelid = c.oid),
roots AS (SELECT DISTINCT ON (leaf) leaf, kind, relation AS root FROM ancestry ORDER BY leaf, level DESC),
parts(relation, strategy, type, sorting) AS (
    SELECT p.partrelid, p.partstrat::text, a.atttypid, k.sorting
    FROM pg_partitioned_table p
    CROSS JOIN LATERAL unnest(p.partattrs::int2[], p.partcollation::oid[]) AS k(attnum, sorting)
    JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = k.attnum
  UNION
    SELECT parts.relation, parts.strategy, inner_type.oid, coalesce(nullif(inner_type.sorting, 0), parts.sorting)
    FROM parts JOIN pg_type t ON t.oid = parts.type
    CROSS JOIN LATERAL (
        SELECT t.typbasetype, 0::oid WHERE t.typtype = 'd'
      UNION ALL
        SELECT t.typelem, 0::oid WHERE t.typcategory = 'A' AND t.typelem <> 0
      UNION ALL
        SELECT a.atttypid, a.attcollation FROM pg_attribute a
        WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
      UNION ALL
        SELECT r.rngsubtype, r.rngcollation FROM pg_range r
        WHERE r.rngtypid = t.oid OR (to_jsonb(r) ->> 'rngmultitypid')::oid = t.oid
    ) AS inner_type(oid, sorting)),
unstable AS (
    SELECT parts.relation FROM parts JOIN pg_type t ON t.oid = parts.type
    LEFT JOIN pg_collation co ON co.oid = parts.sorting
    WHERE (t.typtype = 'b' AND t.oid >= 16384 AND t.typcategory <> 'A')
       OR (t.oid < 16384 AND (t.typname LIKE 'reg%%' OR t.typname = 'aclitem'))
       OR (parts.strategy = 'h' AND t.typtype = 'e')
       OR (parts.strategy = 'r' AND t.typname = 'jsonb')
       OR (parts.strategy = 'r' AND NOT (
            co.collprovider = 'b' OR co.collprovider = 'c' AND co.collcollate IN ('C', 'POSIX')))
       OR (parts.strategy <> 'r' AND NOT co.collisdeterministic)
  UNION
    SELECT p.partrelid FROM pg_partitioned_table p
    WHERE p.partexprs IS NOT NULL OR 16384 <= ANY (p.partclass::oid[])
       OR (p.partstrat = 'h' AND current_setting('server_encoding') <> %(encoding)s))
SELECT r.leaf::bigint, n.nspname, c.relname, rn.nspname, rc.relname, u.leaf IS NOT NULL, f.root IS NOT NULL
FROM unnest(%(schemas)s::name[], %(names)s::name[]) AS wanted(schema_name, table_name)
JOIN pg_namespace n ON n.nspname = wanted.schema_name
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.table_name
JOIN roots r ON r.leaf = c.oid AND r.kind = 'r'
JOIN pg_class rc ON rc.oid = r.root JOIN pg_namespace rn ON rn.oid = rc.relnamespace
LEFT JOIN (SELECT DISTINCT a.leaf FROM ancestry a JOIN unstable ON unstable.relation = a.relation) u ON u.leaf = r.leaf
LEFT JOIN (SELECT DISTINCT root FROM roots WHERE kind = 'f') f ON f.root = r.root
ORDER BY 2, 3
"""

_LEAVES: Final = """
WITH RECURSIVE below(oid) AS (
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %(schema)s AND c.relname = %(name)s
  UNION ALL
    SELECT i.inhrelid FROM below b JOIN pg_inherits i ON i.inhparent = b.oid)
SELECT n.nspname, c.relname FROM below b
JOIN pg_class c ON c.oid = b.oid AND c.relispartition AND c.relkind IN ('r', 'f')
JOIN pg_namespace n ON n.oid = c.relnamespace
"""
