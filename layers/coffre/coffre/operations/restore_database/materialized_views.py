"""Filling the materialized views of a restored database, each on its own."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from contextlib import nullcontext

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from coffre.model.manifest import RelationName
from coffre.model.names import TableName, qualified, shown
from coffre.operations.restore_database.definition_words import refused_error, spoken
from coffre.operations.restore_database.definitions import DefinitionRestore
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.sessions import loading_session
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.connection.connect import one_line
from coffre.postgres.destination import marks
from coffre.postgres.destination.ledger import Refusal
from coffre.postgres.destination.materialized_views import views_reading
from coffre.postgres.destination.unit_of_work import is_fatal, unit


def refresh_views(
    making: DefinitionRestore,
    without_rows: Collection[TableName] = (),
    only: Collection[tuple[str | None, str]] | None = None,
) -> None:
    """Fill the views that exist, each after those that it reads; one that cannot be filled stays empty and is named.

    Parameters
    ----------
    without_rows
        Tables whose rows were not restored: views that read them stay empty too.
    only
        The views (schema and name) to fill; default: all.

    Raises
    ------
    RestoreError
        With `strict`: code `SCHEMA_FAILED`.
    """
    lost = making.ledger.lost()
    empty: dict[int, str | None] = {}
    entries = {
        (entry.schema, entry.tag): entry for entry in making.source.toc if entry.description == "MATERIALIZED VIEW"
    }
    is_marked = making.memory is not None and making.memory.is_kept
    filled = making.memory.read(marks.FILLED) if making.memory is not None else {}
    lasting = loading_session(making.job, lasts=is_marked)
    with nullcontext(making.session) if making.session else lasting as session:
        for view in leave_out_views(session, making.source.content.materialized_views, without_rows, making.report):
            entry = entries.get((view.schema_name, view.relation_name))
            if entry is None or entry.dump_id in lost or (only is not None and (entry.schema, entry.tag) not in only):
                continue
            if (said := filled.get(_key(view))) is not None:
                making.ledger.other_paths += [(entry, said["path"])] if said["path"] else []
                continue
            making.job.check_time()
            if (error := _refresh(making, session, view, entry)) is not None:
                if making.job.scope.strict:
                    raise refused_error(making.job, Refusal(entry, one_line(error), error.pgcode)) from error
                empty[entry.dump_id] = state = _state(entry, empty) or error.pgcode
                making.report.leave_out(
                    f"the rows of the {spoken(entry)}",
                    f"its query fails at the destination: {one_line(error)}",
                    _statement(view) + "\n",
                    state,
                )


def leave_out_views(
    session: psycopg2.extensions.connection,
    views: Iterable[RelationName],
    lost: Collection[TableName],
    report: ReportBuilder,
) -> list[RelationName]:
    """Return the materialized views that can be filled, and report those that read tables without their rows."""
    unfilled = views_reading(session, lost) if lost else set()
    kept = []
    for view in views:
        name = (view.schema_name, view.relation_name)
        if name in unfilled:
            report.leave_out(
                f"the rows of the materialized view {shown(*name)}",
                "it reads tables whose rows were not restored",
                f"REFRESH MATERIALIZED VIEW {qualified(*name)};",
            )
        else:
            kept.append(view)
    return kept


def _state(entry: TocEntry, empty: Mapping[int, str | None]) -> str | None:
    """Return why a view that this one reads is empty, which is why this one is: its SQLSTATE."""
    return next((empty[needed] for needed in entry.dependencies if needed in empty), None)


def _refresh(
    making: DefinitionRestore, session: psycopg2.extensions.connection, view: RelationName, entry: TocEntry
) -> psycopg2.Error | None:
    """Fill one view, if need be with a `search_path` of the source; return why it cannot be filled."""
    first: psycopg2.Error | None = None
    for path in ("pg_catalog", *making.how.paths(entry)):
        try:
            with unit(session, is_nested=making.session is not None), session.cursor() as cursor:
                # A view sees what its owner sees, as at the source; our sessions would take hidden rows for an error.
                # One message is one transaction, which the server finishes without us.
                said = {"path": None if first is None else path}
                mark = marks.adding(marks.FILLED, {_key(view): said}, making.job.marks_schema).decode()
                cursor.execute(
                    "SELECT pg_catalog.set_config('row_security', 'on', true),"
                    f" pg_catalog.set_config('search_path', {_literal(cursor, path)}, true); {_statement(view)};"
                    " SELECT pg_catalog.set_config('row_security', 'off', true),"
                    f" pg_catalog.set_config('search_path', 'pg_catalog', true); {mark if session.autocommit else ''}"
                )
        except psycopg2.Error as error:
            if session.closed or is_fatal(error):
                raise
            first = first or error
        else:
            if first is not None:
                making.ledger.other_paths.append((entry, path))
            return None
    return first


def _key(view: RelationName) -> str:
    return json.dumps(["view", view.schema_name, view.relation_name])


def _literal(cursor: psycopg2.extensions.cursor, text: str) -> str:
    return sql.Literal(text).as_string(cursor)


def _statement(view: RelationName) -> str:
    return f"REFRESH MATERIALIZED VIEW {qualified(view.schema_name, view.relation_name)};"
