"""The tables of a restored database, hashed so that they can be compared with those of another one."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg2

from coffre.model.errors import CoffreError
from coffre.model.manifest import TableContent
from coffre.model.names import TableName, shown
from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.restore_database.sessions import loading_session
from coffre.operations.runs.session_pool import SessionPool
from coffre.postgres.journal.row_hashes import hash_rows


def hash_tables(restore: RestoreJob, tables: Mapping[TableName, TableContent]) -> dict[str, str]:
    """Return a hash of each table's rows by its name, with as many sessions as the job has streams.

    A table that the server cannot hash (a row that is too long as text) has none: it is not compared.
    """

    def of(name: TableName) -> tuple[str, str | None]:
        with sessions.borrow() as session:
            try:
                return shown(*name), hash_rows(session, name, tables[name].columns)
            except (CoffreError, psycopg2.Error):
                restore.children.check()
                if session.closed:
                    raise
                session.rollback()
                return shown(*name), None

    with SessionPool(lambda _: loading_session(restore), restore.streams) as sessions:
        return {name: found for name, found in restore.runner(of, tables) if found is not None}
