"""Which entries of an archive belong together: the parts of a table, what they need, what needs them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

import psycopg2.extensions

from coffre.model.names import qualified, quoted
from coffre.postgres.archive import TocEntry

# Tags of these begin with the table's name: `orders orders_pkey`.
_NAMED_AFTER_TABLE: Final = frozenset(
    {"CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT", "DEFAULT", "TRIGGER", "RULE", "POLICY"}
)
_PARTS: Final = _NAMED_AFTER_TABLE | {
    "ACL", "COMMENT", "INDEX", "INDEX ATTACH", "PUBLICATION TABLE", "ROW SECURITY", "SECURITY LABEL", "SEQUENCE",
    "SEQUENCE OWNED BY", "STATISTICS", "TABLE ATTACH",
}  # fmt: skip
_OF_ANYTHING: Final = frozenset({"ACL", "COMMENT", "SECURITY LABEL"})
_RELATIONS: Final = frozenset({"TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE", "FOREIGN TABLE", "INDEX"})
_ROUTINES: Final = frozenset({"FUNCTION", "PROCEDURE"})
_TYPES: Final = frozenset({"TYPE", "DOMAIN"})


def with_partitions(entries: Sequence[TocEntry], tables: Collection[TocEntry]) -> list[TocEntry]:
    """Return the tables and all their partitions, of every level, in the archive's order."""
    by_name = {(entry.schema, entry.tag): entry for entry in entries if entry.description == "TABLE"}
    chosen = {table.dump_id for table in tables}
    attached = [entry for entry in entries if entry.description == "TABLE ATTACH"]
    while True:
        more = {
            child.dump_id
            for entry in attached
            if (child := by_name.get((entry.schema, entry.tag)))
            and (set(entry.dependencies) - {child.dump_id}) & chosen
        }
        if more <= chosen:
            return [entry for entry in entries if entry.dump_id in chosen]
        chosen |= more


def parts_of(entries: Sequence[TocEntry], tables: Iterable[TocEntry]) -> list[TocEntry]:
    """Return the tables with everything that is a part of them (indexes, constraints, owned sequences, rights, ...)."""
    chosen = list(tables)
    names = {(table.schema, table.tag) for table in chosen}
    ids = {table.dump_id for table in chosen}
    schemas = {entry.dump_id for entry in chosen if entry.description == "SCHEMA"}

    def is_part(entry: TocEntry) -> bool:
        # What is in a schema is no part of it, but its comment and rights are.
        whole = ids if entry.description in _OF_ANYTHING else ids - schemas
        if entry.description not in _PARTS or not whole.intersection(entry.dependencies):
            return False
        if entry.description == "TABLE ATTACH":
            return (entry.schema, entry.tag) in names
        if entry.description in _NAMED_AFTER_TABLE:
            return any(entry.schema == schema and entry.tag.startswith(f"{name} ") for schema, name in names)
        return True

    while more := {entry.dump_id for entry in entries if entry.dump_id not in ids and is_part(entry)}:
        ids |= more
    return [entry for entry in entries if entry.dump_id in ids]


def needed_by(entries: Sequence[TocEntry], chosen: Iterable[TocEntry]) -> list[TocEntry]:
    """Return what the chosen entries need, directly or not, without themselves, in the archive's order."""
    by_id = {entry.dump_id: entry for entry in entries}
    ids = {entry.dump_id for entry in chosen}
    found: set[int] = set()
    waiting = list(ids)
    while waiting:
        for needed in by_id[waiting.pop()].dependencies:
            if needed in by_id and needed not in found and needed not in ids:
                found.add(needed)
                waiting.append(needed)
    return [entry for entry in entries if entry.dump_id in found]


def needing(entries: Sequence[TocEntry], roots: Iterable[TocEntry]) -> list[TocEntry]:
    """Return the roots and what needs any of them, directly or not, in the archive's order."""
    ids = {entry.dump_id for entry in roots}
    while more := {
        entry.dump_id for entry in entries if entry.dump_id not in ids and ids.intersection(entry.dependencies)
    }:
        ids |= more
    return [entry for entry in entries if entry.dump_id in ids]


def absent(cursor: psycopg2.extensions.cursor, entries: Iterable[TocEntry]) -> list[TocEntry]:
    """Return those of the entries whose object is not in the database.

    Kinds that cannot be looked up by name (operators, casts, ...) count as present.
    """
    missing = []
    for entry in entries:
        lookup = _lookup(entry)
        if lookup is not None:
            cursor.execute(*lookup)
            if cursor.fetchone() is None:
                missing.append(entry)
    return missing


def _lookup(entry: TocEntry) -> tuple[str, tuple[str, ...]] | None:
    name = qualified(entry.schema or "", entry.tag)
    if entry.description in _RELATIONS:
        return _EXISTS.format("to_regclass"), (name,)
    if entry.description in _TYPES:
        return _EXISTS.format("to_regtype"), (name,)
    if entry.description in _ROUTINES:  # the tag is a signature, quoted as needed
        return _EXISTS.format("to_regprocedure"), (f"{quoted(entry.schema or '')}.{entry.tag}",)
    if entry.description == "SCHEMA":
        return "SELECT FROM pg_namespace WHERE nspname = %s", (entry.tag,)
    if entry.description == "EXTENSION":
        return "SELECT FROM pg_extension WHERE extname = %s", (entry.tag,)
    if entry.description == "PUBLICATION":
        return "SELECT FROM pg_publication WHERE pubname = %s", (entry.tag,)
    if entry.description == "FK CONSTRAINT":
        return _HAS_CONSTRAINT, (entry.schema or "", entry.tag)
    if entry.description == "POLICY":
        return _HAS_POLICY, (entry.schema or "", entry.tag)
    if entry.description == "RULE":
        return _HAS_RULE, (entry.schema or "", entry.tag)
    return None


_EXISTS: Final = "SELECT FROM (VALUES ({}(%s))) AS found(oid) WHERE oid IS NOT NULL"
_HAS_CONSTRAINT: Final = """
SELECT FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname || ' ' || k.conname = %s
"""
_HAS_POLICY: Final = """
SELECT FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname || ' ' || p.polname = %s
"""
_HAS_RULE: Final = """
SELECT FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname || ' ' || r.rulename = %s
"""
