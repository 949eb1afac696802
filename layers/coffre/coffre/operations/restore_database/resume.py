"""Taking up the restore of a whole database whose process died: what it left is removed, or found to be complete."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from coffre.model.confirmation import Plan
from coffre.model.errors import RestoreError
from coffre.operations.restore_database.consent import old_name, restored_name
from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.restore_database.row_counts import check_counts
from coffre.operations.stored_backup.open import open_manifest
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


def taken_up(job: RestoreJob, *, was_missing: bool) -> RestoreJob | None:
    """Return the job that restores what an attempt with the same `restore_id` did not; None: that attempt had ended.

    The attempt's mark in the database proves whose rows it has. Without it, the numbers of rows do.

    Parameters
    ----------
    was_missing
        The database did not exist before the first attempt: it is dropped, and created again.

    Raises
    ------
    RestoreError
        `RESUME_UNCLEAR`: the database has other rows than the backup, and no mark of this restore.
    """
    if not exists(job.connection):
        return job
    with translated(job.connection), connect(job.connection) as session:
        found, has_content = unfinished.find(session), not is_empty(session)
    if found is None and has_content:
        _refuse_other_rows(job)
        return None
    if found is None or found.restore_id != job.restore_id:
        return job  # what is left of another restore, the restore itself refuses
    if was_missing:
        with translated(job.connection):
            drop_database(job.connection)
        return job
    return replace(job, scope=job.scope.model_copy(update={"restart": True}), consent=_agree)


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


def _agree(plan: Plan) -> Plan:
    """Agree to the removal of what the mark proves to be this restore's own."""
    return plan


def _refuse_other_rows(job: RestoreJob) -> None:
    """Make sure that a database without a mark has the backup's rows: its restore ended before that was recorded."""
    tables = open_manifest(job.vault, job.backup).database.tables
    try:
        check_counts(job, {(one.schema_name, one.table_name): one for one in tables if not one.rows_excluded})
    except RestoreError as error:
        raise RestoreError(
            f"The database {job.connection} is not empty, and is not what this recovery restored.",
            code="RESUME_UNCLEAR",
            detail=error.message,
            hint=_HINT,
        ) from error
