"""Comparing what was restored with what was backed up: every table is written again, and hashed as the backup was.

A drill loads each table in one transaction that emptied it, slice after slice over one connection: its rows then lie in
the order of the backup, and `COPY` gives them in the order in which they lie (docs/adr/0012). Cut where the backup's
slices end, they have to have the slices' own SHA-256. Nothing is trusted for it but PostgreSQL's reading and writing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import psycopg2.extensions
from psycopg2 import sql

from coffre.model.drill_report import TableProof, Verdict
from coffre.model.errors import CoffreError
from coffre.model.manifest import Entry, EntryKind, TableContent
from coffre.model.names import TableName, shown
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.sessions import loading_session
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.session_pool import SessionPool
from coffre.policy.slicing import Slice, TableExtent
from coffre.postgres.destination.copy_in import copy_in
from coffre.postgres.source.dump import SliceReader

_READ_BYTES: Final = 2 * 1024 * 1024


def compare_tables(
    job: RestoreJob, source: Source, loaded: Mapping[TableName, TableContent], meter: Meter
) -> Iterator[TableProof]:
    """Yield a proof for every table that was loaded, as they come, with as many sessions as the job has streams."""
    meter.begin("compare", total_bytes=sum(table.size for table in loaded.values()), total_tables=len(loaded))
    conditions = _conditions(job, source)

    def open_one(_: int) -> AbstractContextManager[SliceReader]:
        encoding = source.content.encoding
        return SliceReader(job.connection, job.children, snapshot=None, encoding=encoding, buffer_bytes=_READ_BYTES)

    def prove(slices: list[Entry]) -> TableProof:
        table = loaded[_name(slices[0])]
        piece = _piece(table, conditions.get(_name(slices[0])))
        with readers.borrow() as reader:
            written = _written(reader, piece, [entry.size for entry in slices])
        proof = _proof(table, slices, written)
        if proof.verdict is Verdict.DIFFERENT:
            proof = _by_values(job, source, piece, slices, proof)
        meter.add(size_bytes=table.size, tables=1, current=proof.table)
        return proof

    with SessionPool(open_one, job.streams) as readers:
        yield from job.runner(prove, _by_table(job, source, loaded))


def not_loaded(table: TableContent) -> TableProof:
    """Return what there is to say about a table that the scratch server cannot have."""
    name = shown(table.schema_name, table.table_name)
    return TableProof(table=name, verdict=Verdict.NOT_LOADED, rows=table.rows, size_bytes=table.size, slices=0)


def never_read(loaded: Mapping[TableName, TableContent], proofs: Iterable[TableProof]) -> Iterator[TableProof]:
    """Yield a proof of failure for each table of which the backup has no entry at all."""
    seen = {proof.table for proof in proofs}
    for name, table in loaded.items():
        if shown(*name) not in seen:
            yield not_loaded(table).model_copy(
                update={"verdict": Verdict.DIFFERENT, "detail": "the backup has no entry with its rows"}
            )


@dataclass(frozen=True)
class _Written:
    """What a table gave: the SHA-256 of pieces of the sizes of the backup's slices, and of the rest; and rows."""

    digests: tuple[str, ...]
    rows: int


def _written(reader: SliceReader, piece: Slice, sizes: Sequence[int]) -> _Written:
    digests: tuple[str, ...] = ()
    for _, chunks in reader.read([piece]):
        digests = digests_of(chunks, sizes)
    return _Written(digests, reader.rows)


def digests_of(chunks: Iterable[memoryview], sizes: Iterable[int]) -> tuple[str, ...]:
    """Return the SHA-256 of consecutive pieces of these sizes, and of all that comes behind the last one, if any does.

    Of a stream that ends early the last pieces are short, or empty.
    """
    digests: list[str] = []
    waiting = iter(sizes)
    missing, piece = next(waiting, None), hashlib.sha256()
    has_excess = False
    for chunk in chunks:
        rest = chunk
        while len(rest):
            while missing == 0:
                digests.append(piece.hexdigest())
                missing, piece = next(waiting, None), hashlib.sha256()
            taken = rest if missing is None else rest[:missing]
            piece.update(taken)
            rest = rest[len(taken) :]
            if missing is None:
                has_excess = True
            else:
                missing -= len(taken)
    while missing is not None:
        digests.append(piece.hexdigest())
        missing, piece = next(waiting, None), hashlib.sha256()
    return (*digests, piece.hexdigest()) if has_excess else tuple(digests)


def _proof(table: TableContent, slices: Sequence[Entry], written: _Written) -> TableProof:
    expected = [entry.sha256 for entry in slices]
    equal = [ours == theirs for ours, theirs in zip(expected, written.digests, strict=False)]
    problems = []
    if written.rows != table.rows:
        problems.append(f"{written.rows:,} rows are in the table, {table.rows:,} were backed up")
    if not all(equal):
        problems.append(f"{equal.count(False):,} of {len(equal):,} slices differ, the first is {equal.index(False)}")
    if sum(entry.size for entry in slices) != table.size:
        problems.append("its slices do not have as many bytes as the manifest says of the table")
    if len(written.digests) > len(expected):
        problems.append("more bytes than were backed up")
    return TableProof(
        table=shown(table.schema_name, table.table_name),
        verdict=Verdict.DIFFERENT if problems else Verdict.EQUAL,
        rows=table.rows,
        rows_found=written.rows,
        size_bytes=table.size,
        slices=len(slices),
        slices_equal=equal.count(True),
        sha256=hash_of_all(expected),
        sha256_found=hash_of_all(written.digests),
        detail="; ".join(problems) or None,
    )


def hash_of_all(digests: Sequence[str]) -> str:
    """Return the one hash for a table of these slices."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()


def _by_values(job: RestoreJob, source: Source, piece: Slice, slices: Sequence[Entry], proof: TableProof) -> TableProof:
    """Tell rows that are lost or changed from rows that are only written in another way, or lie in another order.

    The bytes of the backup are loaded once more, into a staging table: both sides are then written by the same server,
    and compared as sets of rows.
    """
    table = next(one for one in source.content.tables if one.oid == piece.table.oid)
    try:
        with loading_session(job) as session:
            missing, extra = _difference(job, source, table, piece, slices, session)
    except CoffreError as error:
        detail = f"{proof.detail}; row by row it could not be compared: {error.detail or error.message}"
        return proof.model_copy(update={"detail": detail})
    if missing or extra:
        detail = f"{proof.detail}; {missing:,} rows of the backup are not there, {extra:,} are that it does not have"
        return proof.model_copy(update={"detail": detail})
    return proof.model_copy(update={"verdict": Verdict.SAME_VALUES})


def _difference(
    job: RestoreJob,
    source: Source,
    table: TableContent,
    piece: Slice,
    slices: Sequence[Entry],
    session: psycopg2.extensions.connection,
) -> tuple[int, int]:
    beside = ("pg_temp", f"rows_{table.oid}")
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    own = sql.Identifier(table.schema_name, table.table_name)
    condition = sql.SQL(piece.table.condition or "")
    with session.cursor() as cursor:
        cursor.execute(
            sql.SQL("CREATE TEMP TABLE {} AS SELECT {} FROM ONLY {} WITH NO DATA").format(
                sql.Identifier(beside[1]), columns, own
            )
        )
        for entry in slices:
            copy_in(session, table, source.read(job, entry), source.content.encoding, beside)
        differing = count_differing(
            cursor, table.columns, sql.Identifier(*beside), sql.SQL("ONLY {} {}").format(own, condition)
        )
        session.rollback()
    return differing


def count_differing(
    cursor: psycopg2.extensions.cursor, columns: Sequence[str], backup: sql.Composable, own: sql.Composable
) -> tuple[int, int]:
    """Return how many rows of the one are not in the other, and the other way round, repeated ones counted."""
    row = sql.SQL("ROW({})::text COLLATE {}").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier("pg_catalog", "C")
    )
    cursor.execute(sql.SQL(_DIFFERENCE).format(row=row, backup=backup, own=own))
    ((missing, extra),) = cursor.fetchall()
    return int(missing), int(extra)


def _conditions(job: RestoreJob, source: Source) -> dict[TableName, str]:
    """Return the conditions of extensions' tables: rows of the extension's own are no part of a backup."""
    if not any(table.of_extension for table in source.content.tables):
        return {}
    with loading_session(job) as session, session.cursor() as cursor:
        cursor.execute(_CONDITIONS)
        return {(schema, name): condition for schema, name, condition in cursor.fetchall()}


def _by_table(job: RestoreJob, source: Source, loaded: Mapping[TableName, TableContent]) -> Iterator[list[Entry]]:
    entries = (entry for entry in job.vault.entries(source.manifest) if entry.kind is EntryKind.TABLE)
    for name, slices in groupby(entries, key=_name):
        if name in loaded:
            yield list(slices)


def _name(entry: Entry) -> TableName:
    if entry.relation is None:
        raise AssertionError
    return entry.relation.schema_name, entry.relation.relation_name


def _piece(table: TableContent, condition: str | None) -> Slice:
    extent = TableExtent(table.oid, table.schema_name, table.table_name, table.columns, 0, table.size, condition)
    return Slice(extent, 0, None, None, table.size)


_DIFFERENCE: Final = """
WITH backup AS (SELECT {row} AS r, count(*) AS n FROM {backup} GROUP BY 1),
     own AS (SELECT {row} AS r, count(*) AS n FROM {own} GROUP BY 1)
SELECT coalesce(sum(greatest(coalesce(backup.n, 0) - coalesce(own.n, 0), 0)), 0),
       coalesce(sum(greatest(coalesce(own.n, 0) - coalesce(backup.n, 0), 0)), 0)
FROM backup FULL JOIN own USING (r)
"""
_CONDITIONS: Final = """
SELECT n.nspname, c.relname, x.condition
FROM pg_extension e CROSS JOIN LATERAL unnest(e.extconfig, e.extcondition) AS x(relation, condition)
JOIN pg_class c ON c.oid = x.relation JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE x.condition <> ''
"""
