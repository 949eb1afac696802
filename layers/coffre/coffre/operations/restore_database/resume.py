"""A restore whose process died between its end and the record of it: found to be complete, or refused."""

from __future__ import annotations

from typing import Final

from coffre.model.backup import RestoreReport
from coffre.model.errors import RestoreError
from coffre.operations.restore_database.consent import old_name, restored_name
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.row_counts import check_counts
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.connect import connect
from coffre.postgres.connection.databases import drop_database
from coffre.postgres.destination import unfinished
from coffre.postgres.destination.copy_in import translated
from coffre.postgres.destination.database_swap import database_exists
from coffre.postgres.destination.destination import exists, is_empty

_HINT: Final = (
    "Nothing was changed. Look at the database. If no one needs its contents, drop it and continue; otherwise name "
    "another database."
)


def report_if_ended(job: RestoreJob, source: Source) -> RestoreReport | None:
    """Return the report of a restore that an earlier attempt has ended; None when it has not.

    The mark in the database proves that it has not. Without one, the numbers of rows prove that it has.

    Raises
    ------
    RestoreError
        `RESUME_UNCLEAR`: the database has other rows than the backup, and no mark.
    """
    if not exists(job.connection):
        return None
    with translated(job.connection), connect(job.connection) as session:
        if unfinished.find(session) is not None or is_empty(session):
            return None
    tables = {(one.schema_name, one.table_name): one for one in source.content.tables if not one.rows_excluded}
    try:
        check_counts(job, tables if job.scope.contents.has_rows else {})
    except RestoreError as error:
        raise RestoreError(
            f"The database {job.connection} is not empty, and is not what this restore made.",
            code="RESUME_UNCLEAR",
            detail=error.message,
            hint=_HINT,
        ) from error
    return RestoreReport(
        id=job.restore_id,
        backup_id=job.backup.id,
        target=job.backup.target,
        destination=str(job.connection),
        rows=sum(table.rows for table in tables.values()),
        phases_ms={},
        exceptions=(),
        notes=("It was complete before the interruption: all row counts equal the backup's.",),
    )


def put_in_place(connection: Connection, restore_id: str) -> bool:
    """Return whether an attempt with this id has replaced the database; what a killed one had built is removed.

    Both names hold the id: they are no one else's.
    """
    with translated(connection):
        if database_exists(connection, old_name(connection.database, restore_id)):
            return True
        built = connection.to_database(restored_name(connection.database, restore_id))
        if exists(built):
            drop_database(built)
    return False
