"""Rows and values of what the destination's provider or its extensions define: loaded, called in, or left out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from coffre.model.errors import DestinationError, RestoreError
from coffre.model.manifest import SequenceValue, TableContent
from coffre.model.names import TableName, shown
from coffre.model.words import counted
from coffre.operations.restore_database.extension_members import leave_out_members
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.load_plan import Loading
from coffre.operations.restore_database.load_transactions import slices_of
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.sessions import loading_session
from coffre.policy.profiles import Profile
from coffre.policy.profiles.profile import CalledRows
from coffre.postgres.connection.connect import one_line
from coffre.postgres.destination import marks
from coffre.postgres.destination.copy_in import copy_in, has_rows, key_levels, set_sequences
from coffre.postgres.destination.destination import Destination
from coffre.postgres.destination.live_tables import live_tables

type Tables = Mapping[TableName, TableContent]
_CALLED_ROWS: Final = "coffre_called_rows"


def is_given(table: TableContent, destination: Destination) -> bool:
    """Whether a table's definition is not the restore's: an extension makes it, or the provider has made it."""
    return table.of_extension or table.schema_name in destination.given


def without_left_out(tables: Tables, profile: Profile, report: ReportBuilder) -> dict[TableName, TableContent]:
    """Return the tables whose rows are restored; the others are named with the profile's reason."""
    kept = dict(tables)
    for rule in profile.rows.left_out:
        left = {name: kept.pop(name) for name in tables if name in kept and profile.left_out(*name) is rule}
        rows = sum(table.rows for table in left.values())
        if rows and rule.is_loss:
            what = f"{counted(rows, 'row')} of {', '.join(shown(*name) for name in sorted(left))}"
            report.leave_out(what, f"{rule.reason}")
        elif rows:
            names = ", ".join(shown(*name) for name, table in sorted(left.items()) if table.rows)
            report.notes.append(f"Not restored, and not missed: the rows of {names}: {rule.reason}.")
    return kept


def existing_and_gone(
    job: RestoreJob, tables: dict[TableName, TableContent], destination: Destination
) -> tuple[dict[TableName, TableContent], dict[TableName, TableContent]]:
    """Return the tables that exist, and those of extensions and of the provider that the destination does not have."""
    given = [name for name, table in tables.items() if is_given(table, destination)]
    with loading_session(job) as session:
        missing = set(given) - live_tables(session, given).keys()
    gone = {name: tables[name] for name in missing}
    return {name: table for name, table in tables.items() if name not in missing}, gone


def loading_given(
    job: RestoreJob, given: Tables, order: Mapping[TableName, int], report: ReportBuilder, *, is_marked: bool
) -> Loading:
    """Return how tables are loaded that are not the restore's: with the columns that they have.

    Another version of an extension, or of a provider's service, has dropped a column, or computes it itself.
    """
    with loading_session(job) as session:
        live = live_tables(session, given)
    taken: dict[TableName, tuple[str, ...]] = {}
    for name, found in live.items():
        here = {column.name for column in found.columns if not column.is_generated}
        wanted = given[name].columns
        if here and not here.issuperset(wanted):
            taken[name] = tuple(column for column in wanted if column in here)
    return Loading(order=order, report=report, is_marked=is_marked, taken=taken)


def say_gone(job: RestoreJob, gone: dict[TableName, TableContent], given: Tables, report: ReportBuilder) -> None:
    """Name the tables, and columns of `given` ones, that the destination does not have, and whose rows are left out."""
    with loading_session(job) as session:
        live = live_tables(session, given)
    for name, found in live.items():
        lost = [column for column in given[name].columns if found.column(column) is None]
        if lost and given[name].rows:
            what = f"{', '.join(lost)} in {counted(given[name].rows, 'row')} of {shown(*name)}"
            report.leave_out(what, "the table has no such column here, and is not the restore's to change")
    leave_out_members(job, gone, report, "the table does not exist here, and only its extension can define it")
    report.say_missing("extension's table", [shown(*name) for name in sorted(gone) if not gone[name].is_member])


def refuse_used(job: RestoreJob, destination: Destination) -> None:
    """Refuse a project that is in use: its rows and those of the backup would be mixed.

    Raises
    ------
    DestinationError
        Code `DESTINATION_NOT_EMPTY`.
    """
    wanted = [_name(table) for table in destination.profile.rows.in_use]
    wanted = [name for name in wanted if name[0] in destination.given]
    if not wanted or destination.leftovers:
        return
    with loading_session(job) as session:
        used = [shown(*name) for name in live_tables(session, wanted) if has_rows(session, name)]
    if used:
        raise DestinationError(
            f"The destination {job.connection} is in use: rows are in {', '.join(used)}.",
            code="DESTINATION_NOT_EMPTY",
            hint=f"Nothing was changed. Restore into a fresh project ({destination.profile.docs}), or restore tables.",
        )


def empty_given(job: RestoreJob, destination: Destination, tables: Tables) -> None:
    """Delete the rows that an unfinished restore has loaded into the provider's tables."""
    given = [name for name in tables if name[0] in destination.given and not destination.profile.left_out(*name)]
    with loading_session(job) as session, session.cursor() as cursor:
        found = set(live_tables(session, given))
        levels = key_levels(session, found)
        for name in sorted(found, key=lambda name: levels[name], reverse=True):
            if not destination.profile.called(*name):
                cursor.execute(sql.SQL("DELETE FROM ONLY {}").format(sql.Identifier(*name)))
        session.commit()


def restore_sequences(
    session: psycopg2.extensions.connection,
    sequences: Iterable[SequenceValue],
    destination: Destination,
    report: ReportBuilder,
) -> None:
    """Set sequences; one of the provider's that this role may not set, or does not exist, is named."""
    profile, own = destination.profile, []
    for value in sequences:
        if profile.left_out(value.schema_name, value.sequence_name) is not None:
            continue
        if value.schema_name not in destination.given:
            own.append(value)
            continue
        try:
            missing = set_sequences(session, [value])
            session.commit()
            report.say_missing("sequence", missing)
        except psycopg2.ProgrammingError as error:
            session.rollback()
            report.leave_out(f"the value of {shown(value.schema_name, value.sequence_name)}", one_line(error))
    report.say_missing("sequence", set_sequences(session, own))
    session.commit()


def called_tables(tables: Tables, profile: Profile) -> dict[TableName, tuple[TableContent, CalledRows]]:
    """Return the tables with rows that the provider takes by a call only, and the call."""
    found = {name: (table, profile.called(*name)) for name, table in tables.items()}
    return {name: (table, called) for name, (table, called) in found.items() if called is not None}


def call_rows_in(
    job: RestoreJob,
    source: Source,
    tables: Mapping[TableName, tuple[TableContent, CalledRows]],
    report: ReportBuilder,
    *,
    is_marked: bool = False,
) -> None:
    """Make rows by the profile's queries, from the backup's rows in a temporary table."""
    done = _called_in(job) if is_marked and tables else {}
    for name, (table, called) in tables.items():
        if not table.rows or json.dumps(name) in done:
            continue
        try:
            with loading_session(job) as session:
                _call(session, job, source, table, called, is_marked=is_marked)
        except RestoreError as error:
            if error.code not in ("COPY_FAILED", "RESTORE_FAILED"):
                raise
            report.leave_out(f"{counted(table.rows, 'row')} of {shown(*name)}", error.detail or error.message)


def _call(
    session: psycopg2.extensions.connection,
    job: RestoreJob,
    source: Source,
    table: TableContent,
    called: CalledRows,
    *,
    is_marked: bool,
) -> None:
    name = table.schema_name, table.table_name
    rows = sql.Identifier("pg_temp", _CALLED_ROWS)
    with session.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE TEMP TABLE {} (LIKE {})").format(rows, sql.Identifier(*name)))
        for entry in slices_of(job, source, frozenset((name,))):
            copy_in(session, table, source.read(job, entry), source.content.encoding, ("pg_temp", _CALLED_ROWS))
        cursor.execute(called.query.replace("{rows}", rows.as_string(cursor)))
        cursor.execute(sql.SQL("DROP TABLE {}").format(rows))
        if is_marked:
            marks.add(cursor, marks.FILLED, {json.dumps(name): {}})
    session.commit()


def _called_in(job: RestoreJob) -> Mapping[str, object]:
    with loading_session(job) as session:
        return marks.read(session, marks.FILLED)


def _name(text: str) -> TableName:
    schema, _, name = text.partition(".")
    return schema, name
