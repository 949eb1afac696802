"""The numbers of rows at the destination, compared with those of the backup."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from types import MappingProxyType

import psycopg2
import psycopg2.extensions

from coffre.model.errors import RestoreError
from coffre.model.manifest import TableContent
from coffre.model.names import TableName, shown
from coffre.model.restore_report import RestoredTable
from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.restore_database.load_transactions import counted_together
from coffre.operations.restore_database.sessions import borrowed, loading_session
from coffre.operations.runs.session_pool import SessionPool
from coffre.postgres.connection.partition_routes import roots_for_loading
from coffre.postgres.destination import marks
from coffre.postgres.destination.copy_in import count_rows, count_rows_below, translated


def check_counts(
    job: RestoreJob,
    tables: Mapping[TableName, TableContent],
    session: psycopg2.extensions.connection | None = None,
    *,
    is_marked: bool = False,
) -> None:
    """Compare the numbers of rows at the destination with the backup's, over one session or all of the job.

    With `is_marked`, tables that an earlier attempt of the restore has counted are not counted again.
    Partitions whose rows may have been routed otherwise than at the source are counted together, below their root.

    Raises
    ------
    RestoreError
        Code `ROWS_DIFFER`.
    """
    differing: dict[TableName, int] = {}

    def check(together: Sequence[TableContent]) -> None:
        job.children.check()
        with translated(job.connection), borrowed(sessions, session) as counting:
            counts = count_rows(counting, together)
            good = [table for table, rows in zip(together, counts, strict=True) if rows == table.rows]
            if is_marked:
                with counting.cursor() as cursor:
                    marks.add(cursor, marks.COUNTED, {_key(table): {} for table in good}, job.marks_schema)
            if session is None:
                counting.commit()
        for table, rows in zip(together, counts, strict=True):
            if rows != table.rows:
                differing[table.schema_name, table.table_name] = rows

    done = _counted(job) if is_marked else ()
    left = [table for table in tables.values() if _key(table) not in done]
    work = job.in_time(counted_together(left))
    with SessionPool(lambda _: loading_session(job), job.streams) as sessions:
        for _ in job.runner(check, work) if session is None else map(check, work):
            pass
    job.check_time()
    if differing:
        with translated(job.connection), loading_session(job) if session is None else nullcontext(session) as counting:
            _check_roots(counting, tables, differing)


def _key(table: TableContent) -> str:
    return json.dumps([table.schema_name, table.table_name])


def _counted(job: RestoreJob) -> Collection[str]:
    with loading_session(job) as session:
        return marks.read(session, marks.COUNTED, job.marks_schema).keys()


def _check_roots(
    session: psycopg2.extensions.connection,
    tables: Mapping[TableName, TableContent],
    differing: Mapping[TableName, int],
) -> None:
    """Compare the number of all rows below each root, where rows of its partitions may have been routed otherwise."""
    roots = roots_for_loading(session, tables, encoding="")
    for name, rows in differing.items():
        if name not in roots:
            raise rows_differ(tables[name], f"the table has {rows} rows, {tables[name].rows} were backed up")
    for root in {roots[name] for name in differing}:
        expected = sum(tables[name].rows for name, its in roots.items() if its == root)
        if (rows := count_rows_below(session, root)) != expected:
            leaf = next(tables[name] for name in differing if roots[name] == root)
            raise rows_differ(leaf, f"{rows} rows are in {shown(*root)}, {expected} were backed up of its partitions")


def loaded_of(
    tables: Mapping[TableName, TableContent],
    loaded: Iterable[RestoredTable],
    missing_rows: Mapping[TableName, int] = MappingProxyType({}),
) -> dict[TableName, TableContent]:
    """Return those of the tables that were loaded, without the rows that are reported as missing."""
    names = {table.table for table in loaded}
    found = {name: table for name, table in tables.items() if shown(*name) in names}
    return found | {
        name: found[name].model_copy(update={"rows": found[name].rows - rows})
        for name, rows in missing_rows.items()
        if name in found
    }


def refuse_missing_rows(tables: Mapping[TableName, TableContent], loaded: Iterable[RestoredTable]) -> None:
    """Compare the numbers of rows that were loaded with the backup's.

    Raises
    ------
    RestoreError
        Code `ROWS_DIFFER`.
    """
    counted = {table.table: table.rows for table in loaded}
    for name, table in tables.items():
        if counted[shown(*name)] != table.rows:
            raise rows_differ(table, f"{counted[shown(*name)]} rows were loaded, {table.rows} were backed up")


def rows_differ(table: TableContent, detail: str) -> RestoreError:
    return RestoreError(
        f"The table {shown(table.schema_name, table.table_name)} does not have as many rows as the backup.",
        code="ROWS_DIFFER",
        detail=detail,
        hint="Do not use the restored database. Does another session write to it? If not, please report this.",
    )
