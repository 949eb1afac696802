"""Tables that are in use: the backup's version is loaded beside, compared by key, and brought over when asked to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from coffre.model.backup import Comparison, Kept
from coffre.model.errors import CoffreError, DestinationError, EventError, RestoreError
from coffre.model.manifest import TableContent
from coffre.model.names import quoted, shown
from coffre.model.words import counted
from coffre.operations.restore_load import Loading, clearing_session, load_tables, loading_session
from coffre.operations.restore_outcome import Outcome
from coffre.operations.restore_plan import Job, Source
from coffre.postgres import merge, side
from coffre.postgres.connect import one_line
from coffre.postgres.live import LiveTable, TableName
from coffre.postgres.load import key_levels
from coffre.postgres.merge import Pair, condition

# How long the tables may make us wait for their locks, and others behind us.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '10s'"


@dataclass(frozen=True)
class Beside:
    """Chosen tables that are there: what the backup has of each, and what is there now, by name."""

    contents: Mapping[TableName, TableContent]
    live: Mapping[TableName, LiveTable]

    def pairs(self, job: Job) -> list[Pair]:
        """Return each table with the place of its version from the backup."""
        places = side.side_names(side_schema(job), self.contents)
        return [
            Pair(
                live=self.live[name],
                side=places[name],
                columns=tuple(
                    column
                    for column in table.columns
                    if (found := self.live[name].column(column)) and not found.is_generated
                ),
                rows=job.scope.rows,
            )
            for name, table in self.contents.items()
        ]


def side_schema(job: Job) -> str:
    """Return the name of the schema in which a restore puts what it loads beside."""
    return f"restored_{job.restore_id.lower()}"


def refuse_unmergeable(job: Job, beside: Beside, session: psycopg2.extensions.connection) -> None:
    """Refuse what cannot work before anything is loaded.

    Raises
    ------
    DestinationError
        `NOT_A_TABLE`: a view or a foreign table has the name now. `KEY_MISSING`: rows cannot be told apart.
    EventError
        `ROWS_INVALID`: the server does not understand the filter.
    """
    for pair in beside.pairs(job):
        if not pair.live.holds_rows:
            raise DestinationError(
                f"{pair.live.shown_name} is not a table any more: a view or a foreign table has its name.",
                code="NOT_A_TABLE",
                hint="Rename it, or restore the table into another database (--to).",
            )
        if (job.scope.apply or job.scope.replace) and not pair.live.key:
            raise DestinationError(
                f"The table {pair.live.shown_name} has no primary key: rows cannot be compared and brought over.",
                code="KEY_MISSING",
                hint="Restore it beside (without --apply and --replace) and copy what you need by hand.",
            )
        if job.scope.rows is not None:
            _try_filter(session, pair)


def _try_filter(session: psycopg2.extensions.connection, pair: Pair) -> None:
    try:
        with session.cursor() as cursor:
            cursor.execute(pair.statement("SELECT FROM {live} l WHERE {scope} LIMIT 0"))
    except psycopg2.Error as error:
        if session.closed:
            raise
        raise EventError(
            f"The rows of {pair.live.shown_name} cannot be chosen like this.",
            code="ROWS_INVALID",
            detail=one_line(error),
            hint=f"{pair.live.shown_name} has the columns {', '.join(column.name for column in pair.live.columns)}.",
        ) from error


def plan_beside(job: Job, beside: Beside, outcome: Outcome) -> None:
    """Say what will be done."""
    for pair in beside.pairs(job):
        table = beside.contents[pair.live.name]
        what = "the rows asked for" if job.scope.rows else counted(table.rows, "row")
        outcome.steps.append(f"Load {what} of {pair.live.shown_name} beside it, into {shown(*pair.side)}.")
        if lost := [column for column in table.columns if pair.live.column(column) is None]:
            outcome.exceptions.append(
                f"{pair.live.shown_name} has no column {', '.join(lost)} any more: it is in the backup's version only, "
                "as text."
            )
        if not pair.live.key:
            outcome.exceptions.append(
                f"{pair.live.shown_name} has no primary key, so it is not compared with the backup's version: "
                f"{shown(*pair.side)}."
            )
        elif job.scope.replace:
            outcome.steps.append(
                f"Make the rows of {pair.live.shown_name} those of the backup: insert, set back and delete by key; "
                "keep beside what that changes."
            )
        elif job.scope.apply:
            outcome.steps.append(
                f"Insert the missing rows into {pair.live.shown_name} and set the changed ones back, by key; keep "
                "beside what that changes."
            )
        else:
            outcome.steps.append(
                f"Compare it with {pair.live.shown_name} by key. {pair.live.shown_name} is not touched."
            )


def restore_beside(job: Job, source: Source, beside: Beside, outcome: Outcome) -> None:
    """Load beside, compare, and bring over when asked to. Tables in use change in one transaction or not at all.

    Raises
    ------
    CoffreError
        The side schema is dropped again then.
    """
    pairs = beside.pairs(job)
    schema = side_schema(job)
    with outcome.phase("side schema"), loading_session(job) as session, session.cursor() as cursor:
        comment = f"Restored by Coffre from backup {job.backup.id} of {job.backup.target}; nothing uses it."
        side.create_side_schema(cursor, schema, comment)
        for pair in pairs:
            side.create_side_table(cursor, pair.side, beside.contents[pair.live.name].columns, pair.live)
        session.commit()
    with _dropped_on_error(job, schema):
        with outcome.phase("tables"):
            how = Loading(
                into={pair.live.name: pair.side for pair in pairs},
                where=condition(job.scope.rows) if job.scope.rows else None,
                is_fresh=True,
            )
            outcome.tables += load_tables(job, source, beside.contents, outcome.meter, how)
        with outcome.phase("compare"), loading_session(job) as session, session.cursor() as cursor:
            keyed = [pair for pair in pairs if pair.live.key and _with_key(job, session, pair, outcome)]
            outcome.comparisons += _merge(job, session, keyed, outcome)
            session.commit()
    outcome.kept.append(Kept(what=f"the schema {schema}", remove=f"DROP SCHEMA {quoted(schema)} CASCADE"))


def _with_key(job: Job, session: psycopg2.extensions.connection, pair: Pair, outcome: Outcome) -> bool:
    """Give the side table its key; where it cannot have one, nothing is compared, and it is said why."""
    try:
        with session.cursor() as cursor:
            side.add_key(cursor, pair.side, pair.live)
        session.commit()
    except RestoreError as error:
        if job.scope.apply or job.scope.replace:
            raise
        session.rollback()
        outcome.exceptions.append(f"{error.message} It is not compared; the backup's version is {shown(*pair.side)}.")
        return False
    return True


def _merge(
    job: Job, session: psycopg2.extensions.connection, pairs: Sequence[Pair], outcome: Outcome
) -> list[Comparison]:
    """Compare in one transaction, and bring over in the same one: what was counted is what is done."""
    levels = key_levels(session, [pair.live.name for pair in pairs])
    parents_first = sorted(pairs, key=lambda pair: levels[pair.live.name])
    touches = job.scope.apply or job.scope.replace
    with session.cursor() as cursor:
        if touches:
            cursor.execute(_LOCK_TIMEOUT)
            for pair in parents_first:
                merge.lock(cursor, pair)
        found = {pair: _compared(cursor, pair) for pair in pairs}
        if touches:
            with _nothing_changed(session):
                _bring_over(cursor, parents_first, found, delete=job.scope.replace)
                for pair in pairs:
                    _check(_compared(cursor, pair), outcome, delete=job.scope.replace)
    return [found[pair] for pair in pairs]


def _compared(cursor: psycopg2.extensions.cursor, pair: Pair) -> Comparison:
    counts = merge.compare(cursor, pair)
    return Comparison(
        table=pair.live.shown_name,
        beside=shown(*pair.side),
        missing=counts.missing,
        changed=counts.changed,
        same=counts.same,
        extra=counts.extra,
        columns=merge.differing_columns(cursor, pair) if counts.changed else (),
    )


def _bring_over(
    cursor: psycopg2.extensions.cursor,
    parents_first: Sequence[Pair],
    found: dict[Pair, Comparison],
    *,
    delete: bool,
) -> None:
    cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    for pair in parents_first:
        before = (pair.side[0], side.shortened(pair.side[1], "_before"))
        kept = merge.keep_before(cursor, pair, before, with_extra=delete)
        found[pair] = found[pair].model_copy(
            update={
                "before": shown(*before) if kept else None,
                "inserted": merge.insert_missing(cursor, pair),
                "updated": merge.update_changed(cursor, pair),
            }
        )
        if not kept:
            cursor.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(*before)))
        merge.advance_sequences(cursor, pair)
    if delete:
        for pair in reversed(parents_first):
            found[pair] = found[pair].model_copy(update={"deleted": merge.delete_extra(cursor, pair)})
    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def _check(found: Comparison, outcome: Outcome, *, delete: bool) -> None:
    if found.changed:
        outcome.exceptions.append(
            f"In {counted(found.changed, 'row')} of {found.table}, {', '.join(found.columns)} is not as in the backup: "
            "the table's own triggers or foreign keys set it when rows were brought over."
        )
    left = found.missing + (found.extra if delete else 0)
    if left:
        outcome.exceptions.append(
            f"{counted(left, 'row')} of {found.table} could not be brought over or deleted: triggers, rules or foreign "
            "keys of the table prevented it."
        )


@contextmanager
def _nothing_changed(session: psycopg2.extensions.connection) -> Iterator[None]:
    try:
        yield
    except psycopg2.Error as error:
        if session.closed:
            raise
        raise RestoreError(
            "The rows could not be brought over; nothing was changed.",
            code="APPLY_FAILED",
            detail=one_line(error),
            hint="The server's own words are above. Often a row in another table is missing too: restore both tables "
            "with the same command (-t orders -t customers).",
        ) from error


@contextmanager
def _dropped_on_error(job: Job, schema: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        try:
            with clearing_session(job) as session, session.cursor() as cursor:
                cursor.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
                session.commit()
        except CoffreError:
            error.add_note(f"The schema {schema} could not be dropped: DROP SCHEMA {quoted(schema)} CASCADE")
        raise
