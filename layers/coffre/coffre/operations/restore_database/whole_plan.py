"""What a restore of a whole database says before it begins."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from coffre.model.manifest import TableContent
from coffre.model.names import TableName, shown
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.journal_replay import say_journal
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.destination.destination import Destination


def not_in_backup(source: Source, entries: Sequence[TocEntry]) -> Iterable[str]:
    """Yield what is not restored because a backup does not have it, or a destination should not."""
    if tablespaces := sorted({entry.tablespace for entry in entries if entry.tablespace}):
        yield f"Not restored: tablespaces ({', '.join(tablespaces)}). Everything is in the database's own."
    if empty := [shown(table.schema_name, table.table_name) for table in source.content.tables if table.rows_excluded]:
        yield f"The backup has no rows of {', '.join(empty)}: the configuration leaves them out."


def subscriptions_off(entries: Iterable[TocEntry], lost: Collection[int]) -> Iterable[str]:
    """Yield that subscriptions receive nothing yet: an archive has no other way to make them."""
    names = [entry.tag for entry in entries if entry.description == "SUBSCRIPTION" and entry.dump_id not in lost]
    if names:
        yield (
            f"Subscriptions are created without a connection and switched off: {', '.join(names)}. What was published "
            "since the backup may be gone: look at the publisher's slot before ALTER SUBSCRIPTION ... ENABLE."
        )


def say_plan(
    job: RestoreJob,
    source: Source,
    destination: Destination,
    tables: dict[TableName, TableContent],
    report: ReportBuilder,
) -> None:
    """Put the steps of the restore into the report."""
    for left in destination.leftovers:
        report.steps.append(f"Remove the {left}, which an unfinished restore has left.")
    what = "Create the database" if destination.created else "Load into the empty database"
    report.steps.append(f"{what} {job.connection}.")
    if source.chosen is not None:
        say_journal(source.chosen, report)
    if job.scope.contents.has_rows:
        rows, size = (sum(getattr(table, field) for table in tables.values()) for field in ("rows", "size"))
        report.steps.append(
            f"Restore {len(tables)} tables with {rows:,} rows ({size / 1e6:,.1f} MB) over {job.streams} connections, "
            "count them, then build indexes and constraints."
        )
        if job.scope.analyze:
            report.steps.append("Gather the statistics that the planner needs (ANALYZE).")
    else:
        report.steps.append("Restore definitions only: tables stay empty.")
