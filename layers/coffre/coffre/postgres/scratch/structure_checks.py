"""What is right about a restored database besides its rows: indexes, constraints, sequences, pages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import psycopg2.errors
import psycopg2.extensions

from coffre.model.manifest import SequenceValue
from coffre.model.names import TableName, qualified, shown
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.client_tools import Children, PostgresTools

AMCHECK_OPTIONS: Final = ("--heapallindexed", "--checkunique")
_FOUND_CORRUPTION: Final = 2
_LINES_SHOWN: Final = 10
# A line about a relation, and indented below it what is wrong with that.
_REPORTS: Final = re.compile(r"^\S.*\n(?:[ \t].*\n?|\n)*", re.MULTILINE)
_REFUSAL: Final = re.compile(
    r"^\s+ERROR:\s+(permission denied for .*|(?:function|operator) .* does not exist)$", re.MULTILINE
)


@dataclass
class Findings:
    """What was looked at, what is wrong, and what the backup alone cannot show."""

    indexes: int = 0
    constraints: int = 0
    foreign_keys: int = 0
    sequences: int = 0
    large_objects: int = 0
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def look_at_structure(session: psycopg2.extensions.connection, sequences: Iterable[SequenceValue]) -> Findings:
    """Look whether every index and constraint is valid, and every sequence as it was backed up and ahead of its column.

    PostgreSQL has checked every row when a constraint was added or an index was built, which a restore does after it
    has loaded them: what is left is to see that all of them say so.
    """
    found = Findings()
    with session.cursor() as cursor:
        cursor.execute(_INDEXES)
        for schema, name, is_good in cursor.fetchall():
            found.indexes += 1
            if not is_good:
                found.problems.append(f"The index {shown(schema, name)} is not valid.")
        cursor.execute(_CONSTRAINTS)
        for schema, table, name, kind, is_valid in cursor.fetchall():
            found.constraints += 1
            found.foreign_keys += kind == "f"
            if not is_valid:
                what = f"The constraint {name} of {shown(schema, table)}"
                found.remarks.append(f"{what} is NOT VALID or NOT ENFORCED by definition: rows may not satisfy it.")
        cursor.execute("SELECT count(*) FROM pg_largeobject_metadata")
        found.large_objects = cursor.fetchall()[0][0]
        _look_at_sequences(cursor, sequences, found)
    session.rollback()
    return found


def _look_at_sequences(cursor: psycopg2.extensions.cursor, sequences: Iterable[SequenceValue], found: Findings) -> None:
    for value in sequences:
        name = qualified(value.schema_name, value.sequence_name)
        cursor.execute("SELECT to_regclass(%s)", (name,))
        if cursor.fetchall() == [(None,)]:
            continue  # the restore has said so
        cursor.execute(f"SELECT last_value, is_called FROM {name}")  # noqa: S608 - quoted
        found.sequences += 1
        if cursor.fetchall() != [(value.last_value, value.is_called)]:
            found.problems.append(
                f"The sequence {shown(value.schema_name, value.sequence_name)} is not at the value that was backed up."
            )
    cursor.execute(_OWNED_SEQUENCES)
    for sequence_schema, sequence, schema, table, column, increment in cursor.fetchall():
        ahead = "max" if increment > 0 else "min"
        cursor.execute(
            f"SELECT (SELECT {ahead}({qualified('t', column)}) FROM ONLY {qualified(schema, table)} AS t), last_value "  # noqa: S608
            f"FROM {qualified(sequence_schema, sequence)}"
        )
        extreme, last = cursor.fetchall()[0]
        if extreme is not None and (extreme - last) * increment > 0:
            found.remarks.append(
                f"The sequence {shown(sequence_schema, sequence)} is behind {shown(schema, table)}.{column} "
                f"({last} and {extreme}), as it was when it was backed up: new rows will meet keys that are taken."
            )


def check_pages(tools: PostgresTools, children: Children, connection: Connection, jobs: int) -> Findings:
    """Run `pg_amcheck` over every page and index of a database, as a superuser."""
    argv = [tools.program("pg_amcheck"), "--no-password", "--install-missing", *AMCHECK_OPTIONS]
    argv += [f"--jobs={jobs}", connection.database]
    child = children.start(argv, tools.environment(connection))
    try:
        said = child.output.read().decode("utf-8", "replace")
        status = child.wait()
        complaint = child.complaint()
    finally:
        children.forget(child)
    children.check()
    found = Findings()
    if status == _FOUND_CORRUPTION:
        said, found.remarks = _without_refusals(said)
    lines = [line.strip() for line in (said if status == _FOUND_CORRUPTION else complaint).splitlines() if line.strip()]
    if status == _FOUND_CORRUPTION:
        more = [f"... and {len(lines) - _LINES_SHOWN} lines more"] if len(lines) > _LINES_SHOWN else []
        found.problems = [f"pg_amcheck: {line}" for line in lines[:_LINES_SHOWN] + more]
    elif status != 0:
        found.remarks = [f"Pages and indexes were not checked: {' '.join(lines)[:500] or f'exit status {status}'}"]
    return found


def _without_refusals(said: str) -> tuple[str, list[str]]:
    """Return what `pg_amcheck` said but for indexes whose functions could not be called, and a remark for each of them.

    It runs them as the owner of the table, who needs no right to do so at the source as long as others write.
    """
    remarks: list[str] = []

    def kept(report: re.Match[str]) -> str:
        refusal = _REFUSAL.search(report[0])
        if refusal is None:
            return report[0]
        remarks.append(f"Not checked: {report[0].splitlines()[0].rstrip(':')}: {refusal[1]}")
        return ""

    return _REPORTS.sub(kept, said), remarks


def unreadable_tables(session: psycopg2.extensions.connection) -> list[TableName]:
    """Return the tables with a column of type `xml`, or made of it, if the server was built without libxml."""
    with session.cursor() as cursor:
        try:
            cursor.execute("SELECT '<a/>'::xml")
        except psycopg2.errors.FeatureNotSupported:
            session.rollback()
            cursor.execute(_XML_TABLES)
            return [(schema, table) for schema, table in cursor.fetchall()]
    return []


_USER_SCHEMAS: Final = "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'"
# The index of a partitioned table is valid when each partition has one: a definition can leave that open.
_INDEXES: Final = f"""
SELECT n.nspname, c.relname, i.indisvalid AND i.indisready OR c.relkind = 'I'
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {_USER_SCHEMAS} ORDER BY 1, 2
"""  # noqa: S608 - the parts are constants
_CONSTRAINTS: Final = f"""
SELECT n.nspname, c.relname, k.conname, k.contype, k.convalidated
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {_USER_SCHEMAS} AND k.contype <> 't' ORDER BY 1, 2, 3
"""  # noqa: S608 - the parts are constants
_OWNED_SEQUENCES: Final = """
SELECT sn.nspname, s.relname, n.nspname, c.relname, a.attname, q.seqincrement
FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_namespace sn ON sn.oid = s.relnamespace
JOIN pg_class c ON c.oid = d.refobjid AND c.relkind = 'r' JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
JOIN pg_sequence q ON q.seqrelid = s.oid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
  AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) AND NOT q.seqcycle
ORDER BY 1, 2
"""
_XML_TABLES: Final = """
WITH RECURSIVE made_of(type) AS (
    SELECT 'xml'::regtype::oid
  UNION
    SELECT t.oid FROM made_of m JOIN pg_type t ON t.typelem = m.type AND t.typcategory = 'A' OR t.typbasetype = m.type
        OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.atttypid = m.type AND a.attnum > 0))
SELECT DISTINCT n.nspname, c.relname FROM pg_attribute a JOIN made_of m ON m.type = a.atttypid
JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r' JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE a.attnum > 0 AND NOT a.attisdropped AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""
