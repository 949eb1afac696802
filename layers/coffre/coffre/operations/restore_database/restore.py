"""Restore one database backup, or a part of it: which way it goes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from coffre.model.kinds import Contents
from coffre.model.manifest import TableContent
from coffre.model.names import TableName
from coffre.model.restore_report import RestoreReport
from coffre.operations.restore_database import tables_attempts
from coffre.operations.restore_database.consent import confirmed
from coffre.operations.restore_database.data_only import restore_rows
from coffre.operations.restore_database.job import RestoreJob, Source, open_source
from coffre.operations.restore_database.moments import chosen_for
from coffre.operations.restore_database.replace_database import replace_database, report_if_replaced
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.resume import refuse_unproven
from coffre.operations.restore_database.tables import restore_tables
from coffre.operations.restore_database.tables_plan import choose_tables
from coffre.operations.restore_database.whole_database import restore_whole
from coffre.operations.runs.progress import Meter
from coffre.operations.stored_backup.open_backup import refuse_unrestorable


def restore_database(job: RestoreJob, meter: Meter) -> RestoreReport:
    """Restore what the job's scope asks for, or report what would be done.

    Raises
    ------
    CoffreError
        For the reason that stopped it; the message says what is left. What existed before is unchanged.
    """
    refuse_unrestorable(job.backup)
    report = ReportBuilder(meter)
    with report.phase("read"):
        source = open_source(job)
        if job.scope.at is not None:
            source = replace(source, chosen=chosen_for(job, source, job.scope.at))
    if job.continues and (ended := _report_if_ended(job, source)) is not None:
        return ended
    with report.phase("confirm"):
        job, plan = confirmed(job, source)
    if not job.scope.is_whole:
        restore_tables(job, source, report)
    elif job.scope.replace:
        replace_database(job, source, report)
    elif job.scope.contents is Contents.DATA:
        restore_rows(job, source, report)
    else:
        restore_whole(job, source, report)
    return report.build(job, plan)


def _report_if_ended(job: RestoreJob, source: Source) -> RestoreReport | None:
    """Return the report of a restore that an earlier attempt has provably ended; None when it is to be continued."""
    if not job.scope.is_whole:
        chosen = [table.content for table in choose_tables(source, job.scope) if table.content]
        return tables_attempts.report_if_ended(job, _with_rows(chosen))
    if job.scope.contents is Contents.DATA:
        return tables_attempts.report_if_ended(job, _with_rows(source.content.tables))
    if job.scope.replace:
        return report_if_replaced(job, source)
    refuse_unproven(job)
    return None


def _with_rows(tables: Iterable[TableContent]) -> dict[TableName, TableContent]:
    kept = (table for table in tables if not (table.rows_excluded or table.of_extension))
    return {(table.schema_name, table.table_name): table for table in kept}
