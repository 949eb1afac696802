"""What is set for the database as a whole: its own settings, the schema public, and schemas that the backup lacks."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg2 import sql

from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.sessions import loading_session
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.archive.toc import is_of_database
from coffre.postgres.connection.database_properties import apply_database_properties
from coffre.postgres.destination.destination import Destination


def close_public(job: RestoreJob) -> None:
    """Revoke what older servers grant to PUBLIC on the schema public: `pg_dump` writes as if they did not."""
    with loading_session(job) as session, session.cursor() as cursor:
        cursor.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        session.commit()


def make_schemas(job: RestoreJob, source: Source, entries: Sequence[TocEntry], destination: Destination) -> None:
    """Create the schemas that a backup of chosen tables does not have: `pg_dump --table` writes tables alone."""
    dumped = {entry.tag for entry in source.toc if entry.description == "SCHEMA"} | destination.schemas
    missing = sorted({entry.schema for entry in entries if entry.schema} - dumped)
    if missing:
        with loading_session(job) as session, session.cursor() as cursor:
            for schema in missing:
                cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
            session.commit()


def set_properties(job: RestoreJob, source: Source, report: ReportBuilder) -> None:
    """Give a database that was created what the source's own is set to; one that existed keeps its own settings."""
    entries = [entry for entry in source.toc if is_of_database(entry)]
    if not report.created_database:
        if entries:
            report.exceptions.append(
                "Not set, because the database existed already: settings, comment and privileges of the database "
                "itself."
            )
        return
    with report.phase("settings"), loading_session(job) as session:
        report.exceptions += apply_database_properties(
            session, entries, source=source.content.database, encoding=source.content.encoding
        )
