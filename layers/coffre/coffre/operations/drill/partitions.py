"""Comparing partitions that were loaded through their root: all rows below a root, as a set in which rows may repeat.

The scratch server may put a row into another partition than the source did, so no partition has to give the bytes of
its slices. But every row has to be written in the bytes that were backed up, as often as it was, below the same root.
Sets are compared by the number of rows and the sum of the rows' SHA-256, for which no order matters and no memory is
needed. Someone who can forge a sum can forge the slices too, whose own hashes are checked as they are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import psycopg2.extensions
from psycopg2 import sql

from coffre.model.drill_report import TableProof, Verdict
from coffre.model.errors import CoffreError
from coffre.model.manifest import Entry, EntryKind, TableContent
from coffre.model.names import TableName, qualified, shown
from coffre.operations.drill.compare import count_differing, hash_of_all, never_read
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.sessions import loading_session
from coffre.operations.runs.progress import Meter
from coffre.postgres.connection.partition_routes import leaves_below, roots_for_loading
from coffre.postgres.destination.copy_in import copy_in

_MODULUS: Final = 2**256


@dataclass(frozen=True)
class Family:
    """A root, and those of its partitions whose rows were loaded through it; each `apart` was loaded by itself."""

    root: TableName
    tables: tuple[TableContent, ...]
    apart: tuple[TableName, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns in the order in which rows are compared: the first partition's."""
        return self.tables[0].columns

    @property
    def rows(self) -> sql.Composed:
        """The restored rows that are compared together, as what follows FROM: of a tree with several branches, some."""
        root = sql.Identifier(*self.root)
        if not self.apart:
            return sql.Composed([root])
        others = sql.SQL(", ").join(sql.SQL("{}::regclass").format(sql.Literal(qualified(*one))) for one in self.apart)
        return sql.SQL("{} WHERE tableoid NOT IN ({})").format(root, others)


def families_of(job: RestoreJob, source: Source, loaded: Mapping[TableName, TableContent]) -> list[Family]:
    """Return the partitions that are compared together, and no other tables."""
    with loading_session(job) as session:
        roots = roots_for_loading(session, loaded, source.content.encoding)
        by_themselves = {root: leaves_below(session, root) & loaded.keys() - roots.keys() for root in {*roots.values()}}
    members: dict[TableName, list[TableContent]] = {}
    for leaf, root in roots.items():
        members.setdefault(root, []).append(loaded[leaf])
    return [Family(root, tuple(tables), tuple(sorted(by_themselves[root]))) for root, tables in members.items()]


def compare_families(job: RestoreJob, source: Source, families: Sequence[Family], meter: Meter) -> Iterator[TableProof]:
    """Yield a proof for every partition of the families, as they come."""
    entries: dict[TableName, list[Entry]] = {
        (table.schema_name, table.table_name): [] for family in families for table in family.tables
    }
    for entry in job.vault.entries(source.manifest) if families else ():
        if entry.kind is EntryKind.TABLE and entry.relation is not None:
            name = entry.relation.schema_name, entry.relation.relation_name
            if name in entries:
                entries[name].append(entry)

    def prove(family: Family) -> list[TableProof]:
        proofs = _prove(job, source, family, entries)
        meter.add(size_bytes=sum(table.size for table in family.tables), tables=len(proofs), current=proofs[0].table)
        return proofs

    for proofs in job.runner(prove, families):
        yield from proofs


@dataclass
class RowSet:
    """The number of rows, and the sum of their SHA-256."""

    rows: int = 0
    total: int = 0

    def write(self, line: bytes) -> None:
        """Add one row, in the text format of `COPY`, with its line feed: a file for psycopg2, which writes rows."""
        self.rows += 1
        self.total = (self.total + int.from_bytes(hashlib.sha256(line).digest())) % _MODULUS

    def add(self, chunks: Iterable[bytes], order: Sequence[int] | None = None) -> None:
        """Add the rows of a slice; `order` says where each of the columns stands, None: where it has to."""
        for line in lines_of(chunks):
            if order is None:
                self.write(line)
            else:
                values = line.removesuffix(b"\n").split(b"\t")
                self.write(b"\t".join(values[place] for place in order) + b"\n")


def lines_of(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the rows of a slice, whose own line feeds and tabs are escaped."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"
    if rest:
        yield rest


def _prove(
    job: RestoreJob, source: Source, family: Family, entries: Mapping[TableName, Sequence[Entry]]
) -> list[TableProof]:
    loaded = {(table.schema_name, table.table_name): table for table in family.tables}
    if lost := list(never_read({name: it for name, it in loaded.items() if not entries[name]}, ())):
        return lost
    stored, found = RowSet(), RowSet()
    for name, table in loaded.items():
        is_usual = table.columns == family.columns
        order = None if is_usual else [table.columns.index(column) for column in family.columns]
        for entry in entries[name]:
            stored.add(source.read(job, entry), order)
    with loading_session(job) as session, session.cursor() as cursor:
        cursor.copy_expert(_all_rows(family, source.content.encoding), found)
    expected = sum(table.rows for table in family.tables)
    problems = []
    if found.rows != expected:
        problems.append(f"{found.rows:,} rows are below {shown(*family.root)}, {expected:,} were backed up")
    if sum(entry.size for name in loaded for entry in entries[name]) != sum(table.size for table in family.tables):
        problems.append("its slices do not have as many bytes as the manifest says of the table")
    if stored == found and not problems:
        return [_proof(table, entries[name], Verdict.EQUAL) for name, table in loaded.items()]
    problems.append(f"the rows below {shown(*family.root)} are not those of the slices")
    verdict, detail = _by_values(job, source, family, entries, "; ".join(problems))
    return [_proof(table, entries[name], verdict, detail) for name, table in loaded.items()]


def _proof(table: TableContent, slices: Sequence[Entry], verdict: Verdict, detail: str | None = None) -> TableProof:
    is_right = verdict is not Verdict.DIFFERENT
    return TableProof(
        table=shown(table.schema_name, table.table_name),
        verdict=verdict,
        rows=table.rows,
        rows_found=table.rows if is_right else 0,
        size_bytes=table.size,
        slices=len(slices),
        slices_equal=len(slices) if verdict is Verdict.EQUAL else 0,
        sha256=hash_of_all([entry.sha256 for entry in slices]),
        detail=detail,
    )


def _by_values(
    job: RestoreJob, source: Source, family: Family, entries: Mapping[TableName, Sequence[Entry]], detail: str
) -> tuple[Verdict, str]:
    """Tell rows that are lost or changed from rows that are only written in another way, as for other tables."""
    try:
        with loading_session(job) as session:
            missing, extra = _difference(job, source, family, entries, session)
    except CoffreError as error:
        return Verdict.DIFFERENT, f"{detail}; row by row it could not be compared: {error.detail or error.message}"
    if missing or extra:
        what = f"{missing:,} rows of the backup are not there, {extra:,} are that it does not have"
        return Verdict.DIFFERENT, f"{detail}; {what}"
    return Verdict.SAME_VALUES, detail


def _difference(
    job: RestoreJob,
    source: Source,
    family: Family,
    entries: Mapping[TableName, Sequence[Entry]],
    session: psycopg2.extensions.connection,
) -> tuple[int, int]:
    beside = ("pg_temp", f"rows_{family.tables[0].oid}")
    root = sql.Identifier(*family.root)
    listed = sql.SQL(", ").join(map(sql.Identifier, family.columns))
    with session.cursor() as cursor:
        made = "CREATE TEMP TABLE {} AS SELECT {} FROM {} WITH NO DATA"
        cursor.execute(sql.SQL(made).format(sql.Identifier(beside[1]), listed, root))
        for table in family.tables:
            for entry in entries[table.schema_name, table.table_name]:
                copy_in(session, table, source.read(job, entry), source.content.encoding, beside)
        differing = count_differing(cursor, family.columns, sql.Identifier(*beside), family.rows)
        session.rollback()
    return differing


def _all_rows(family: Family, encoding: str) -> sql.Composed:
    return sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT (ENCODING {})").format(
        sql.SQL(", ").join(map(sql.Identifier, family.columns)), family.rows, sql.Literal(encoding)
    )
