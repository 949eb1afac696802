"""What foreign keys carry from a table in use into others when its rows change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import psycopg2.extensions

from coffre.model.names import shown
from coffre.postgres.destination.row_merge import Pair


@dataclass(frozen=True)
class Affected:
    """A table that was not chosen, and what the transaction did to it, in rows.

    `by_keys`: foreign keys did it, or may have. Triggers of the chosen tables can have done the rest.
    """

    table: str
    inserted: int
    updated: int
    deleted: int
    by_keys: bool


def let_them_work(cursor: psycopg2.extensions.cursor) -> None:
    """Have keys and triggers work in this transaction, and be counted, whatever the role or database is set to.

    A role that may not set it is refused by the server.
    """
    for name, value in _NEEDED.items():
        cursor.execute("SELECT pg_catalog.current_setting(%s)", (name,))
        if cursor.fetchall() != [(value,)]:
            cursor.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, value))


def others_with_keys(cursor: psycopg2.extensions.cursor, pairs: Iterable[Pair]) -> list[str]:
    """Return which other tables have foreign keys by which deleting rows of these tables changes theirs."""
    cursor.execute(_OTHERS_WITH_KEYS, {"chosen": [pair.live.identifier.as_string(cursor) for pair in pairs]})
    return [shown(schema, name) for schema, name in cursor.fetchall()]


def others_affected(cursor: psycopg2.extensions.cursor, pairs: Iterable[Pair]) -> list[Affected]:
    """Return which other tables the transaction has changed so far."""
    pairs = list(pairs)
    cursor.execute(
        _AFFECTED,
        {"chosen": [pair.live.identifier.as_string(cursor) for pair in pairs], "side": pairs[0].side[0]},
    )
    return [Affected(shown(schema, name), *counts) for schema, name, *counts in cursor.fetchall()]


def without(affected: Iterable[Affected], undone: Iterable[Affected]) -> list[Affected]:
    """Return what was done besides what was undone: the server also counts rows of attempts that were rolled back."""
    before = {item.table: item for item in undone}
    net = []
    for item in affected:
        was = before.get(item.table, Affected(item.table, 0, 0, 0, by_keys=False))
        counts = (item.inserted - was.inserted, item.updated - was.updated, item.deleted - was.deleted)
        if any(counts):
            net.append(Affected(item.table, *counts, by_keys=item.by_keys and any(counts[1:])))
    return net


# Without the first no foreign key is checked, and without the second `others_affected` sees nothing.
_NEEDED: Final = {"session_replication_role": "origin", "track_counts": "on"}
_OTHERS_WITH_KEYS: Final = """
WITH chosen AS (SELECT name::regclass::oid AS oid FROM unnest(%(chosen)s::text[]) AS name)
SELECT DISTINCT n.nspname, c.relname FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.confdeltype IN ('c', 'n', 'd') AND NOT c.relispartition
  AND k.confrelid IN (SELECT oid FROM chosen) AND k.conrelid NOT IN (SELECT oid FROM chosen)
ORDER BY 1, 2
"""

# What this transaction did is counted by the server itself, whatever did it. Partitions count as their table.
_AFFECTED: Final = """
WITH chosen AS (SELECT name::regclass::oid AS oid FROM unnest(%(chosen)s::text[]) AS name),
affected AS (
    SELECT t.relid AS oid, t.schemaname, t.relname, t.n_tup_ins, t.n_tup_upd, t.n_tup_del
    FROM pg_stat_xact_all_tables t
    WHERE t.n_tup_ins + t.n_tup_upd + t.n_tup_del > 0
      AND t.schemaname NOT IN ('pg_catalog', 'pg_toast', 'information_schema', %(side)s)
      AND NOT EXISTS (
        SELECT FROM chosen WHERE oid = t.relid OR oid IN (SELECT a.oid FROM pg_partition_ancestors(t.relid) a(oid))))
SELECT a.schemaname, a.relname, a.n_tup_ins, a.n_tup_upd, a.n_tup_del,
       a.n_tup_upd + a.n_tup_del > 0 AND EXISTS (
           SELECT FROM pg_constraint k WHERE k.conrelid = a.oid AND k.contype = 'f'
             AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))
             AND (k.confrelid IN (SELECT oid FROM chosen) OR k.confrelid IN (SELECT oid FROM affected)
                  OR EXISTS (SELECT FROM chosen, pg_partition_ancestors(k.confrelid) p(oid) WHERE p.oid = chosen.oid)))
FROM affected a ORDER BY 1, 2
"""
