"""Tables that are in use, of which the backup's version is staged: what is done with each, and what is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import psycopg2
import psycopg2.errors
import psycopg2.extensions
from psycopg2 import sql

from coffre.model.errors import DestinationError, EventError
from coffre.model.manifest import TableContent
from coffre.model.names import TableName, shown
from coffre.model.words import counted
from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.policy.moments import Point
from coffre.postgres.connection.connect import one_line
from coffre.postgres.destination import key_effects, staging_schema
from coffre.postgres.destination.live_tables import LiveTable
from coffre.postgres.destination.owners_code import owners_path
from coffre.postgres.destination.row_filter import condition
from coffre.postgres.destination.row_merge import Pair


@dataclass(frozen=True)
class Staging:
    """Chosen tables that exist: what the backup has of each, and what exists now, by name.

    `partitions` are those of the backup's tables that are compared with a partitioned table as a whole, by its name.
    """

    contents: Mapping[TableName, TableContent]
    live: Mapping[TableName, LiveTable]
    partitions: Mapping[TableName, Mapping[TableName, TableContent]] = field(default_factory=dict)

    @property
    def loads(self) -> dict[TableName, TableContent]:
        """The backup's tables whose rows are loaded, by name."""
        return {name: table for whole in self.contents for name, table in self.parts(whole).items()}

    def places(self, pairs: Iterable[Pair]) -> dict[TableName, TableName]:
        """Return where the rows of each of the backup's tables are loaded."""
        return {name: pair.side for pair in pairs for name in self.parts(pair.live.name)}

    def parts(self, whole: TableName) -> Mapping[TableName, TableContent]:
        """Return the backup's tables that are compared with a table as a whole."""
        return self.partitions.get(whole) or {whole: self.contents[whole]}

    def pairs(self, job: RestoreJob) -> list[Pair]:
        """Return each table with the place of its version from the backup."""
        places = staging_schema.staging_names(staging_schema_name(job), self.contents)
        return [
            Pair(
                live=self.live[name],
                side=places[name].restored,
                before=places[name].before,
                columns=tuple(
                    column
                    for column in table.columns
                    if (found := self.live[name].column(column)) and not found.is_generated
                ),
                rows=job.scope.rows,
            )
            for name, table in self.contents.items()
        ]


def staging_schema_name(job: RestoreJob) -> str:
    """Return the name of the schema in which a restore stages tables."""
    return f"restored_{job.owner_id.lower()}"


def refuse_unmergeable(job: RestoreJob, staging: Staging, session: psycopg2.extensions.connection) -> None:
    """Refuse what cannot work before anything is loaded.

    Raises
    ------
    DestinationError
        `NOT_A_TABLE`: a view or a foreign table has the name now. `KEY_MISSING`: rows cannot be identified.
    EventError
        `ROWS_INVALID`: the server does not understand the filter.
    """
    for pair in staging.pairs(job):
        if not pair.live.holds_rows:
            raise DestinationError(
                f"{pair.live.shown_name} is not a table any more: a view or a foreign table has its name.",
                code="NOT_A_TABLE",
                hint="Rename it, or restore the table into another database (--to).",
            )
        if job.scope.touches and not pair.key:
            raise DestinationError(
                f"{_why_no_key(pair)}, so rows cannot be compared and brought over.",
                code="KEY_MISSING",
                hint="Restore it to a staging schema (without --apply and --replace) and copy what you need by hand.",
            )
        if job.scope.rows is not None:
            columns = (column.name for column in pair.live.columns)
            try_filter(session, pair.live.name, pair.live.shown_name, columns, condition(job.scope.rows))


def _why_no_key(pair: Pair) -> str:
    if not pair.live.key:
        return f"{pair.live.shown_name} has no primary key"
    names = ", ".join(column.name for column in pair.live.key if column.name not in pair.columns)
    return f"The backup of {pair.live.shown_name} has no {names}, which is in its key now"


def try_filter(
    session: psycopg2.extensions.connection,
    table: TableName,
    shown_name: str,
    columns: Iterable[str],
    wanted: sql.Composable,
) -> None:
    """Let the server understand a filter of rows.

    Raises
    ------
    EventError
        `ROWS_INVALID`, with the columns that there are.
    """
    try:
        with session.cursor() as cursor, owners_path(cursor):
            cursor.execute(sql.SQL("SELECT FROM {} WHERE {} LIMIT 0").format(sql.Identifier(*table), wanted))
    except psycopg2.Error as error:
        if session.closed:
            raise
        raise EventError(
            f"The rows of {shown_name} cannot be chosen like this.",
            code="ROWS_INVALID",
            detail=one_line(error),
            hint=f"The columns of {shown_name} are {', '.join(columns)}.",
        ) from error


def others_at_stake(job: RestoreJob, staging: Staging, session: psycopg2.extensions.connection) -> list[str]:
    """Return the tables that were not chosen, and that deleting rows would change."""
    if not job.scope.replace or not staging.contents:
        return []
    with session.cursor() as cursor:
        return key_effects.others_with_keys(cursor, staging.pairs(job))


def plan_staging(
    job: RestoreJob, staging: Staging, at_stake: Sequence[str], moment: Point | None, outcome: ReportBuilder
) -> None:
    """Say what will be done, with the rows of the backup or those of a `moment`."""
    if at_stake:
        outcome.steps.append(
            f"Foreign keys of {', '.join(at_stake)} change rows there when rows of the chosen tables are deleted. If "
            "that would happen, nothing is replaced: choose these tables too."
        )
    for pair in staging.pairs(job):
        table = staging.contents[pair.live.name]
        what = "the requested rows" if job.scope.rows and moment is None else counted(table.rows, "row")
        kept = f", and keep those that are requested as of {moment}" if job.scope.rows and moment is not None else ""
        outcome.steps.append(f"Load {what} of {pair.live.shown_name} into the staging table {shown(*pair.side)}{kept}.")
        if not pair.key:
            outcome.exceptions.append(
                f"{_why_no_key(pair)}, so it is not compared with the backup's version: {shown(*pair.side)}."
            )
        elif job.scope.replace:
            outcome.steps.append(
                f"Make the rows of {pair.live.shown_name} those of {moment or 'the backup'}: insert, set back and "
                "delete by key; keep a copy of what that changes."
            )
        elif job.scope.apply:
            outcome.steps.append(
                f"Insert the missing rows into {pair.live.shown_name} and set the changed ones back, by key; keep "
                "a copy of what that changes."
            )
        else:
            outcome.steps.append(
                f"Compare it with {pair.live.shown_name} by key. {pair.live.shown_name} is not touched."
            )
