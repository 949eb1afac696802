"""Rows of tables that are members of an extension and no configuration of it: the backup has all, and no definition."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from coffre.model.manifest import TableContent
from coffre.model.names import TableName, shown
from coffre.model.words import counted
from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.sessions import loading_session
from coffre.postgres.connection.connect import one_line
from coffre.postgres.destination.copy_in import has_rows

type Tables = Mapping[TableName, TableContent]


def leave_out_members(job: RestoreJob, tables: Tables, outcome: ReportBuilder, reason: str) -> None:
    """Name the members among the tables whose rows are not restored, with how to get them."""
    for name, table in sorted(tables.items()):
        if table.is_member:
            what = f"{counted(table.rows, 'row')} of {shown(*name)}"
            outcome.leave_out(what, f"{reason}. To get them: coffre cat {job.backup.id} '{shown(*name)}'")


def empty_members(job: RestoreJob, tables: Tables, levels: Mapping[TableName, int], outcome: ReportBuilder) -> Tables:
    """Delete the rows that extensions have put into their members, which the backup has too; return what can be loaded.

    What points at others is emptied first. Only in a database that this restore has created: elsewhere rows can be
    another session's. A table that keeps rows is left out and named.
    """
    members = sorted(
        (name for name, table in tables.items() if table.is_member), key=lambda name: levels[name], reverse=True
    )
    refused: dict[TableName, str] = {}
    with loading_session(job) as session:
        for name in members:
            try:
                if has_rows(session, name):
                    if not outcome.created_database:
                        refused[name] = "it has rows, and the database existed before this restore"
                        continue
                    _empty(session, name)
            except (psycopg2.ProgrammingError, psycopg2.IntegrityError) as error:
                session.rollback()
                refused[name] = one_line(error)
    for name, detail in refused.items():
        leave_out_members(job, {name: tables[name]}, outcome, f"its rows cannot be replaced: {detail}")
    return {name: table for name, table in tables.items() if name not in refused}


def _empty(session: psycopg2.extensions.connection, name: TableName) -> None:
    with session.cursor() as cursor:
        cursor.execute(sql.SQL("DELETE FROM ONLY {}").format(sql.Identifier(*name)))
    session.commit()
