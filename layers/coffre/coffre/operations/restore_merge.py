"""Comparing tables in use with the backup's version beside, and bringing rows over in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import psycopg2
import psycopg2.errors
import psycopg2.extensions
from psycopg2 import sql

from coffre.model.backup import Comparison
from coffre.model.errors import RestoreError
from coffre.model.names import shown
from coffre.model.words import counted
from coffre.operations.restore_outcome import Outcome
from coffre.operations.restore_plan import Job
from coffre.postgres import merge
from coffre.postgres.connect import one_line
from coffre.postgres.load import key_levels
from coffre.postgres.merge import Pair
from coffre.postgres.partitions import root_of, whole_table_hint

type _Steps = list[tuple[Pair, str, Callable[[psycopg2.extensions.cursor, Pair], int]]]

# How long the tables may make us wait for their locks, and others behind us.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '10s'"


def merge_tables(
    job: Job, session: psycopg2.extensions.connection, pairs: Sequence[Pair], outcome: Outcome
) -> list[Comparison]:
    """Compare, and bring over in the same transaction: what was counted is what is done."""
    levels = key_levels(session, [pair.live.name for pair in pairs])
    parents_first = sorted(pairs, key=lambda pair: levels[pair.live.name])
    found: dict[Pair, Comparison] = {}
    with session.cursor() as cursor:
        if job.scope.touches:
            cursor.execute(_LOCK_TIMEOUT)
            for pair in parents_first:
                merge.lock(cursor, pair)
        for pair in pairs:
            found[pair] = _compared(cursor, pair)
            if not job.scope.touches:
                session.commit()
        if job.scope.touches and pairs:
            with _nothing_changed(session):
                _bring_over(cursor, parents_first, found, delete=job.scope.replace)
                _judge_others(merge.others_affected(cursor, pairs), outcome)
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
        if merge.keep_before(cursor, pair, with_extra=delete):
            found[pair] = found[pair].model_copy(update={"before": shown(*pair.before)})
        else:
            cursor.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(*pair.before)))
    inserts: _Steps = [(pair, "inserted", merge.insert_missing) for pair in parents_first]
    updates: _Steps = [(pair, "updated", merge.update_changed) for pair in parents_first]
    deletes: _Steps = [(pair, "deleted", merge.delete_extra) for pair in reversed(parents_first)] if delete else []
    cursor.execute("SAVEPOINT rows_as_found")
    try:
        done = [(pair, what, do(cursor, pair)) for pair, what, do in (*inserts, *updates, *deletes)]
    except (psycopg2.errors.UniqueViolation, psycopg2.errors.ExclusionViolation):
        # A row that is to be deleted can have the unique value of one that is to come back: then it goes first.
        if not deletes:
            raise
        cursor.execute("ROLLBACK TO SAVEPOINT rows_as_found")
        done = [(pair, what, do(cursor, pair)) for pair, what, do in (*deletes, *updates, *inserts)]
    for pair, what, rows in done:
        found[pair] = found[pair].model_copy(update={what: rows})
        if what == "inserted" and rows:
            merge.advance_sequences(cursor, pair)
    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def _judge_others(affected: Sequence[merge.Affected], outcome: Outcome) -> None:
    """Refuse what foreign keys did to tables that nobody chose, and say what triggers did to others.

    Raises
    ------
    RestoreError
        Code `OTHER_TABLES_AFFECTED`.
    """
    by_keys = [item for item in affected if item.by_keys]
    if by_keys:
        said = ", ".join(f"{item.table} ({item.deleted:,} deleted, {item.updated:,} changed)" for item in by_keys[:5])
        raise RestoreError(
            f"Foreign keys would take rows of other tables along: {said}. Nothing was changed.",
            code="OTHER_TABLES_AFFECTED",
            hint="Choose these tables too, so that their rows are compared and kept; or restore beside (without "
            "--apply and --replace) and copy what you need by hand.",
        )
    outcome.exceptions += [
        f"Triggers also changed {item.table}: {counted(item.inserted, 'row')} inserted, {item.updated:,} updated, "
        f"{item.deleted:,} deleted."
        for item in affected
    ]


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
            hint=_elsewhere_now(session, error)
            or "The server's own words are above. Often a row in another table is missing too: restore both tables "
            "with the same command (-t orders -t customers).",
        ) from error


def _elsewhere_now(session: psycopg2.extensions.connection, error: psycopg2.Error) -> str | None:
    """Return what to do about a row that belongs into another partition now."""
    schema, name = error.diag.schema_name, error.diag.table_name
    # Unlike a table's own constraints, the one of a partition has no name.
    if not isinstance(error, psycopg2.errors.CheckViolation) or error.diag.constraint_name or not (schema and name):
        return None
    session.rollback()
    root = root_of(session, (schema, name))
    return whole_table_hint(root) if root else None
