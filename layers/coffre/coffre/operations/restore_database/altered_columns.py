"""Tables in use whose columns are not those of the backup any more: what their staged version cannot show or take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from coffre.model.manifest import TableContent
from coffre.model.names import TableName
from coffre.operations.restore_database.job import Source
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.staging import Staging
from coffre.policy.type_changes import can_lose
from coffre.postgres.archive.entry_sql import readable
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.archive.table_parts import parts_of_table
from coffre.postgres.destination.live_tables import LiveTable


def say_altered(
    source: Source, entries: Mapping[TableName, TocEntry], staging: Staging, outcome: ReportBuilder, *, touches: bool
) -> None:
    """Report the columns that went, came, or have another type since the backup.

    `entries` define the tables as the backup has them; `touches`: rows of the tables in use may change.
    """
    for name, table in staging.contents.items():
        live, entry = staging.live[name], entries.get(name)
        outcome.exceptions += _lost(table, live)
        if entry is not None:
            outcome.exceptions += _narrower(_types(source, entry), live)
        new = [column.name for column in live.columns if not (column.is_generated or column.name in table.columns)]
        if new and touches:
            outcome.notes.append(
                f"The backup of {live.shown_name} has no column {', '.join(new)}: rows that are set back keep "
                "their values, and inserted ones get the default."
            )


def say_narrower(source: Source, tables: Iterable[LiveTable], outcome: ReportBuilder) -> None:
    """Report the columns of tables whose types do not take all of the backup's values as they are."""
    entries = {(entry.schema or "", entry.tag): entry for entry in source.toc if entry.description == "TABLE"}
    for table in tables:
        if (entry := entries.get(table.name)) is not None:
            outcome.exceptions += _narrower(_types(source, entry), table)


def _lost(table: TableContent, live: LiveTable) -> Iterator[str]:
    found = {name: live.column(name) for name in table.columns}
    if lost := [name for name, column in found.items() if column is None]:
        yield (
            f"{live.shown_name} has no column {', '.join(lost)} any more: it is in the backup's version only, as text."
        )
    if generated := [name for name, column in found.items() if column and column.is_generated]:
        yield (
            f"{', '.join(generated)} of {live.shown_name} is generated now: what the backup has there is in its "
            "version only, and is not compared."
        )


def _narrower(types: Mapping[str, str], live: LiveTable) -> Iterator[str]:
    for column in live.columns:
        now, _, _ = column.type.partition(" COLLATE ")
        if (then := types.get(column.name)) is not None and can_lose(then, now):
            yield (
                f"{column.name} of {live.shown_name} is {now} now, and {then} in the backup: the backup's values are "
                "read as the present type, which can round or cut them without an error. To see them as they were, "
                "restore the table into another database (--to)."
            )


def _types(source: Source, entry: TocEntry) -> dict[str, str]:
    """Return the types of the columns that a definition lists, by their names."""
    table, encoding = parts_of_table(entry.definition), source.content.encoding
    types = table.written_types() if table is not None else {}
    return {readable(name, encoding): readable(type_text, encoding) for name, type_text in types.items()}
