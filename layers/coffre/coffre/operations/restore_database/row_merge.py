"""Comparing tables in use with the backup's staged version, and merging rows in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import psycopg2
import psycopg2.errors
import psycopg2.extensions
from psycopg2 import sql

from coffre.model.errors import RestoreError
from coffre.model.names import shown
from coffre.model.restore_report import Comparison
from coffre.model.words import counted
from coffre.operations.restore_database.consent import refuse_changed
from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.postgres.connection.connect import one_line
from coffre.postgres.connection.partition_routes import root_of, whole_table_hint
from coffre.postgres.destination import key_effects, marks, unique_swaps
from coffre.postgres.destination import row_merge as merge
from coffre.postgres.destination.copy_in import key_levels
from coffre.postgres.destination.row_merge import Pair

type _Steps = list[tuple[Pair, str, Callable[[psycopg2.extensions.cursor, Pair], int]]]
type _Found = dict[Pair, Comparison]
type _Done = list[tuple[Pair, str, int]]
type _Way = Callable[[psycopg2.extensions.cursor, Sequence[Pair], _Found, bool], _Done]

# How long the tables may make us wait for their locks, and others behind us.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '10s'"


def merge_tables(
    job: RestoreJob, session: psycopg2.extensions.connection, pairs: Sequence[Pair], outcome: ReportBuilder
) -> list[Comparison]:
    """Compare, and merge in the same transaction: what was counted is what is done.

    Where nothing is merged, a comparison that an earlier attempt of the restore has made is not made again.
    """
    levels = key_levels(session, [pair.live.name for pair in pairs])
    parents_first = sorted(pairs, key=lambda pair: levels[pair.live.name])
    is_marked = job.is_resumable and not job.scope.touches
    known = marks.read(session, marks.COMPARED, job.marks_schema) if is_marked else {}
    found = {pair: Comparison.model_validate(known[key]) for pair in pairs if (key := pair.live.shown_name) in known}
    with session.cursor() as cursor:
        if job.scope.touches:
            cursor.execute(_LOCK_TIMEOUT)
            for pair in parents_first:
                merge.lock(cursor, pair)
            refuse_changed(job, session)
        for pair in [pair for pair in pairs if pair not in found]:
            found[pair] = _compared(cursor, pair)
            if is_marked:
                said = found[pair].model_dump(mode="json")
                marks.add(cursor, marks.COMPARED, {pair.live.shown_name: said}, job.marks_schema)
            if not job.scope.touches:
                session.commit()
                job.check_time()
        if job.scope.touches and pairs:
            with _nothing_changed(session):
                affected = _merge_rows(cursor, parents_first, found, delete=job.scope.replace)
                _judge_others(affected, outcome)
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


def _merge_rows(
    cursor: psycopg2.extensions.cursor,
    parents_first: Sequence[Pair],
    found: dict[Pair, Comparison],
    *,
    delete: bool,
) -> Sequence[key_effects.Affected]:
    """Merge rows, and return what that did to tables that were not chosen."""
    key_effects.let_them_work(cursor)
    cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    for pair in parents_first:
        if merge.keep_before(cursor, pair, with_extra=delete):
            found[pair] = found[pair].model_copy(update={"before": shown(*pair.before)})
        else:
            cursor.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(*pair.before)))
    cursor.execute("SAVEPOINT rows_as_found")
    undone: Sequence[key_effects.Affected] = ()
    for way, gives_way_to in _WAYS:
        try:
            done = way(cursor, parents_first, found, delete)
            break
        except gives_way_to:
            cursor.execute("ROLLBACK TO SAVEPOINT rows_as_found")
            undone = key_effects.others_affected(cursor, parents_first)
    for pair, what, rows in done:
        found[pair] = found[pair].model_copy(update={what: rows})
        if what == "inserted" and rows:
            merge.advance_sequences(cursor, pair)
    merge.check_constraints(cursor)
    return key_effects.without(key_effects.others_affected(cursor, parents_first), undone)


def _gently(cursor: psycopg2.extensions.cursor, pairs: Sequence[Pair], _: _Found, delete: bool) -> _Done:  # noqa: FBT001
    """Insert, update, delete: no row is gone for a moment that others point at."""
    inserts: _Steps = [(pair, "inserted", merge.insert_missing) for pair in pairs]
    updates: _Steps = [(pair, "updated", merge.update_changed) for pair in pairs]
    deletes: _Steps = [(pair, "deleted", merge.delete_extra) for pair in reversed(pairs)] if delete else []
    return [(pair, what, do(cursor, pair)) for pair, what, do in (*inserts, *updates, *deletes)]


def _making_room(cursor: psycopg2.extensions.cursor, pairs: Sequence[Pair], _: _Found, delete: bool) -> _Done:  # noqa: FBT001
    """Delete, update, insert: a row that goes, or changes, can have the unique value of one that comes back."""
    deletes: _Steps = [(pair, "deleted", merge.delete_extra) for pair in reversed(pairs)] if delete else []
    others: _Steps = []
    for pair in pairs:
        others += [(pair, "updated", merge.update_changed), (pair, "inserted", merge.insert_missing)]
    return [(pair, what, do(cursor, pair)) for pair, what, do in (*deletes, *others)]


def _all_at_once(cursor: psycopg2.extensions.cursor, pairs: Sequence[Pair], found: _Found, delete: bool) -> _Done:  # noqa: FBT001
    """Delete, and change all other rows of a table in one statement: rows can have exchanged their unique values."""
    reinserted = [pair for pair in pairs if unique_swaps.can_reinsert(cursor, pair.live)]
    dropped = [
        (pair.live, unique)
        for pair in pairs
        if pair not in reinserted
        for unique in unique_swaps.uniques(cursor, pair.live, found[pair].columns)
    ]
    for live, unique in dropped:
        unique_swaps.drop(cursor, live, unique)
    done: _Done = [(pair, "deleted", merge.delete_extra(cursor, pair)) for pair in reversed(pairs)] if delete else []
    for pair in pairs:
        if pair in reinserted:
            inserted, updated = merge.replace_rows(cursor, pair)
            done += [(pair, "inserted", inserted), (pair, "updated", updated)]
        else:
            done.append((pair, "inserted", merge.insert_missing(cursor, pair)))
            done.append((pair, "updated", merge.update_changed(cursor, pair)))
    if dropped:
        merge.check_constraints(cursor)
    for live, unique in dropped:
        unique_swaps.make_again(cursor, live, unique)
    return done


_TAKEN: Final = (psycopg2.errors.UniqueViolation, psycopg2.errors.ExclusionViolation)
# Ways to merge rows, the one that disturbs least first, each with the errors at which the next one is tried.
_WAYS: Final[Sequence[tuple[_Way, tuple[type[psycopg2.Error], ...]]]] = (
    (_gently, _TAKEN),
    (_making_room, (*_TAKEN, psycopg2.errors.ForeignKeyViolation)),
    (_all_at_once, ()),
)


def _judge_others(affected: Sequence[key_effects.Affected], outcome: ReportBuilder) -> None:
    """Refuse what foreign keys did to tables that were not chosen, and say what triggers did to others.

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
            hint="Choose these tables too, so that their rows are compared and kept; or restore to a staging schema "
            "(without "
            "--apply and --replace) and copy what you need by hand.",
        )
    outcome.exceptions += [
        f"Triggers also changed {item.table}: {counted(item.inserted, 'row')} inserted, {item.updated:,} updated, "
        f"{item.deleted:,} deleted."
        for item in affected
    ]


def _check(found: Comparison, outcome: ReportBuilder, *, delete: bool) -> None:
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
            "with the same command (coffre restore rows ID orders customers ...).",
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
