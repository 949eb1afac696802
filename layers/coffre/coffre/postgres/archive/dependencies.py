"""Which entries of an archive belong together: the parts of a table, what they need, what needs them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

import psycopg2.extensions

from coffre.model.names import quoted
from coffre.postgres.archive.reader import TocEntry

type _Name = tuple[str | None, str]

# Tags of these begin with the table's name: `orders orders_pkey`.
_NAMED_AFTER_TABLE: Final = frozenset(
    {"CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT", "DEFAULT", "TRIGGER", "RULE", "POLICY"}
)
_PARTS: Final = _NAMED_AFTER_TABLE | {
    "ACL", "COMMENT", "INDEX", "INDEX ATTACH", "PUBLICATION TABLE", "ROW SECURITY", "SECURITY LABEL", "SEQUENCE",
    "SEQUENCE OWNED BY", "STATISTICS", "TABLE ATTACH",
}  # fmt: skip
_OF_ANYTHING: Final = frozenset({"ACL", "COMMENT", "SECURITY LABEL"})
_WITH_PARTS: Final = frozenset({"TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE"})
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
    by_name = {(entry.schema, entry.tag): entry for entry in entries if entry.description in _WITH_PARTS}
    schemas = {entry.dump_id for entry in chosen if entry.description == "SCHEMA"}

    def is_part(entry: TocEntry, whole: int) -> bool:
        # What is in a schema is no part of it, but its comment and rights are.
        if entry.description not in _PARTS or (whole in schemas and entry.description not in _OF_ANYTHING):
            return False
        if entry.description == "TABLE ATTACH":
            return (entry.schema, entry.tag) in names
        return entry.description not in _NAMED_AFTER_TABLE or _table_of(entry, by_name) in names

    ids = _closure(entries, (table.dump_id for table in chosen), is_part)
    return [entry for entry in entries if entry.dump_id in ids]


def _table_of(entry: TocEntry, by_name: Mapping[_Name, TocEntry]) -> _Name | None:
    """Return the table with whose name the entry's tag begins: `a b c` can be `b c` of `a` or `c` of `a b`."""
    names = [(entry.schema, entry.tag[: found.start()]) for found in re.finditer(" ", entry.tag)]
    fitting = [name for name in names if name in by_name and by_name[name].dump_id in entry.dependencies]
    if len(fitting) > 1 and entry.description == "FK CONSTRAINT":  # it may depend on both
        altered = entry.definition.split("\n", 1)[0]
        fitting = [name for name in fitting if altered.endswith((f".{name[1]}", f".{quoted(name[1])}"))] or fitting
    return fitting[-1] if fitting else None


def _closure(entries: Iterable[TocEntry], roots: Iterable[int], fits: Callable[[TocEntry, int], bool]) -> set[int]:
    """Return the dump ids of roots and of what fits and needs any of them, directly or through what fits."""
    dependents: dict[int, list[TocEntry]] = {}
    for entry in entries:
        for needed in entry.dependencies:
            dependents.setdefault(needed, []).append(entry)
    found = set(roots)
    waiting = list(found)
    while waiting:
        needed = waiting.pop()
        for entry in dependents.get(needed, ()):
            if entry.dump_id not in found and fits(entry, needed):
                found.add(entry.dump_id)
                waiting.append(entry.dump_id)
    return found


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
    ids = _closure(entries, (entry.dump_id for entry in roots), lambda *_: True)
    return [entry for entry in entries if entry.dump_id in ids]


def absent(
    cursor: psycopg2.extensions.cursor, entries: Iterable[TocEntry], *, with_triggers: bool = False
) -> list[TocEntry]:
    """Return those of the entries whose object is not in the database, with one query for each kind.

    Kinds that cannot be looked up by name (operators, casts, ...) count as present, and so do triggers unless they are
    asked for.
    """
    tests = _TESTS | (_TRIGGERS if with_triggers else {})
    entries = list(entries)
    wanted: dict[str, list[tuple[int, str, str]]] = {}
    for place, entry in enumerate(entries):
        if (test := tests.get(entry.description)) is not None:
            wanted.setdefault(test, []).append((place, entry.schema or "", entry.tag))
    missing: set[int] = set()
    for test, found in wanted.items():
        places, schemas, tags = (list(column) for column in zip(*found, strict=True))
        cursor.execute(_MISSING.format(test), {"places": places, "schemas": schemas, "tags": tags})
        missing |= {place for (place,) in cursor.fetchall()}
    return [entry for place, entry in enumerate(entries) if place in missing]


_MISSING: Final = """
SELECT place FROM unnest(%(places)s::int[], %(schemas)s::text[], %(tags)s::text[]) AS wanted(place, schema, tag),
LATERAL (SELECT quote_ident(schema) || '.' || quote_ident(tag)) AS s(written) WHERE {}
"""
_OF_TABLE: Final = """NOT EXISTS (
    SELECT FROM {} x JOIN pg_class c ON c.oid = x.{} JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = schema AND c.relname || ' ' || {} = tag)"""
# A routine's tag is its signature, in which its own name has no quotes.
_NO_ROUTINE: Final = """NOT EXISTS (
    SELECT FROM pg_proc x JOIN pg_namespace n ON n.oid = x.pronamespace
    WHERE n.nspname = schema AND tag = x.proname || '(' || coalesce((
        SELECT string_agg(format_type(u.type, NULL), ', ' ORDER BY u.number)
        FROM unnest(x.proargtypes) WITH ORDINALITY AS u(type, number)), '') || ')')"""
# By kind: when an entry's object is not there. `written` is its name in a statement.
_TESTS: Final = (
    dict.fromkeys(_RELATIONS, "to_regclass(written) IS NULL")
    | dict.fromkeys(_TYPES, "to_regtype(written) IS NULL")
    | dict.fromkeys(_ROUTINES, _NO_ROUTINE)
    | {
        "SCHEMA": "NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = tag)",
        "EXTENSION": "NOT EXISTS (SELECT FROM pg_extension WHERE extname = tag)",
        "PUBLICATION": "NOT EXISTS (SELECT FROM pg_publication WHERE pubname = tag)",
        "COLLATION": "NOT EXISTS (SELECT FROM pg_collation x JOIN pg_namespace n ON n.oid = x.collnamespace"
        " WHERE n.nspname = schema AND x.collname = tag)",
        "FK CONSTRAINT": _OF_TABLE.format("pg_constraint", "conrelid", "x.conname"),
        "POLICY": _OF_TABLE.format("pg_policy", "polrelid", "x.polname"),
        "RULE": _OF_TABLE.format("pg_rewrite", "ev_class", "x.rulename"),
    }
)
_TRIGGERS: Final = {
    "TRIGGER": _OF_TABLE.format("pg_trigger", "tgrelid", "x.tgname"),
    "EVENT TRIGGER": "NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = tag)",
}
