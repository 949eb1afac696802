"""Ends of intervals: what cannot be followed is recorded with its reason, and a new base is wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

import psycopg2.extensions

from coffre.model.errors import (
    CoffreError,
    IntegrityError,
    JournalError,
    JournalTransientError,
    ObjectMissingError,
    TransientError,
)
from coffre.model.journal import DefinitionMark, IntervalEnd, JournalEnd, JournalGap, JournalState
from coffre.model.journal_options import PUBLICATION
from coffre.model.names import TableName, shown
from coffre.operations.journal.catalog_state import keep, ownership, two_drains
from coffre.operations.journal.job import JournalJob
from coffre.operations.journal.segment import in_time, streamed
from coffre.operations.journal.tail import UNREADABLE, Tail
from coffre.policy.journal import is_base
from coffre.postgres.journal import slot, slot_changes
from coffre.postgres.journal.barriers import Emptied, barriers, marks_of, touched
from coffre.postgres.journal.changes import Barrier, BarrierKind
from coffre.postgres.journal.drain_view import Look, until_on_disk
from coffre.postgres.journal.stream_scan import emptied_tables
from coffre.vault.journal import end_interval, read_interval, read_segment, segment_keys

_MOST_NAMES: Final = 20
_OF_KIND: Final = {
    BarrierKind.DEFINITION_CHANGED: JournalEnd.DEFINITIONS,
    BarrierKind.REWRITTEN: JournalEnd.REWRITTEN,
    BarrierKind.NO_IDENTITY: JournalEnd.NO_IDENTITY,
    BarrierKind.UNKNOWN_TABLE: JournalEnd.UNKNOWN_TABLE,
}
_OF_SLOT: Final = {
    "JOURNAL_SLOT_MISSING": JournalEnd.SLOT_MISSING,
    "JOURNAL_SLOT_LOST": JournalEnd.SLOT_LOST,
    "JOURNAL_SLOT_FOREIGN": JournalEnd.SLOT_FOREIGN,
    "JOURNAL_TIMELINE": JournalEnd.TIMELINE,
    "JOURNAL_TOO_LARGE": JournalEnd.TOO_LARGE,
    "JOURNAL_TOO_SLOW": JournalEnd.TOO_SLOW,
    "JOURNAL_UNREADABLE": JournalEnd.UNREADABLE,
    "JOURNAL_DAMAGED": JournalEnd.GAP,
    "JOURNAL_PUBLICATION": JournalEnd.DEFINITIONS,
    "JOURNAL_PLUGIN": JournalEnd.SWITCHED_OFF,
}


def reason_of(error: CoffreError) -> JournalEnd | None:
    """Return why an interval ends with an error; None: it does not, and the next drain continues."""
    return _OF_SLOT.get(error.code)


def end(
    job: JournalJob,
    state: JournalState,
    reason: JournalEnd,
    text: str,
    about: Sequence[TableName] = (),
    tail: Tail | None = None,
) -> IntervalEnd | None:
    """Write that the open interval has ended, if there is one; the first reason counts.

    An end cannot be corrected: it is only written from what the catalog has.

    Raises
    ------
    JournalTransientError
        `JOURNAL_TWO_DRAINS`
    """
    if state.interval is None:
        return None
    kept = job.journals.find(job.target)
    if kept is None or (kept.revision, kept.interval) != (state.revision, state.interval):
        raise two_drains(job)
    return end_interval(
        job.vault,
        job.target,
        state.interval,
        IntervalEnd(
            reason=reason,
            stored_lsn=state.stored_lsn,
            number=state.number,
            seen_at=state.seen_at,
            ended_at=job.now(),
            about=tuple(shown(*name) for name in about[:_MOST_NAMES]),
            text=text,
            tail=tail.segment if tail is not None else None,
            touched=tail.touched if tail is not None else None,
        ),
    )


def reported(job: JournalJob, state: JournalState, ended: IntervalEnd, interval: str | None = None) -> JournalState:
    """Report the end of the open interval, or of this one, and return the state with the gap, which is to be kept.

    One that had no base has no moments either: then the gap began where one before it ended. So it is where that is
    not known, since a backup's record cannot be read.
    """
    had_base = state.base_wanted_at is None
    with suppress(CoffreError):
        had_base = had_base or has_base(job, state)
    gap = (
        JournalGap(since=ended.seen_at, ended=1)
        if had_base
        else JournalGap(since=state.gap.since, ended=state.gap.ended + 1)
    )
    job.report_end(interval or state.interval or "", ended, gap)
    return state.model_copy(update={"gap": gap})


def has_base(job: JournalJob, state: JournalState) -> bool:
    """Return whether the open interval has a base, and everything that it has seen: without that it makes no moment."""
    return any(
        is_base(base, state.fingerprint, state.from_lsn) and base.lsn <= state.stored_lsn for base in job.bases()
    )


def unreadable_end(job: JournalJob, damage: CoffreError | None) -> IntervalEnd:
    """Return the end of an interval whose own record, or that of its end, cannot be read. It is not written."""
    text = damage.message if damage is not None else ""
    return IntervalEnd(reason=JournalEnd.GAP, stored_lsn=0, ended_at=job.now(), text=text)


def drop_ours(session: psycopg2.extensions.connection, state: JournalState) -> bool:
    """Drop the journal's slot, if it exists and is of its database: another one of this name is left alone.

    A database that was renamed is still its own, also where another one has taken its name (`--replace`).

    Raises
    ------
    JournalTransientError
        `JOURNAL_SLOT_BUSY`
    """
    found = slot.inspect(session, state.slot) if state.slot else None
    ours = ownership(state) if state.slot else None
    if found is None or ours is None or found.plugin != ours.plugin or found.is_temporary or found.is_two_phase:
        return False
    with session, session.cursor() as cursor:
        cursor.execute("SELECT pg_catalog.current_database()::text")
        ((here,),) = cursor.fetchall()
    is_ours = state.database in ("", found.database)  # "": a drain was killed before it knew
    if not is_ours and here != found.database and state.database_oid != found.database_oid:
        return False
    return slot.drop(session, found.name)


@dataclass(frozen=True)
class Compared:
    """The definitions that are seen now, compared with those of the interval.

    `barriers` are why they cannot be followed; `why` says more than their names do, if there is more. `marks` are those
    that differ from the interval's, which a segment has to tell; None: they are known, or cannot be compared. `touched`
    are the tables whose rows can have been changed without a line of the stream; None: it is not known.
    """

    barriers: tuple[Barrier, ...] = ()
    marks: tuple[DefinitionMark, ...] | None = None
    why: str | None = None
    touched: tuple[TableName, ...] | None = None


def compared(job: JournalJob, session: psycopg2.extensions.connection, state: JournalState, seen: Look) -> Compared:
    """Compare the definitions with those of the drain before.

    The records of those before are read only if something has changed, and the stream is only searched for what has
    emptied tables if some have new files.
    """
    if seen.fingerprint == state.fingerprint and seen.marked == state.marked:
        return Compared()
    try:
        interval = read_interval(job.vault, job.target, state.interval or "")
        first = _by_name(interval.marks)
        before = tuple((first | _by_name(_marks_of_segment(job, state))).values())
    except (IntegrityError, ObjectMissingError) as error:  # it would be so in each drain
        why = f"Definitions or files of tables have changed, and cannot be compared with those before: {error.message}"
        return Compared((Barrier(BarrierKind.DEFINITION_CHANGED, _OTHERS),), why=why)
    after = marks_of(seen.definitions)
    found = barriers(before, after)
    marks = tuple(mark for mark in after if not mark.is_like(first.get((mark.schema_name, mark.name))))
    if seen.fingerprint != state.fingerprint:
        found = [one for one in found if one.kind is BarrierKind.DEFINITION_CHANGED]
        first_of = tuple(found) or (Barrier(BarrierKind.DEFINITION_CHANGED, _OTHERS),)
        is_part = bool(interval.left_out or seen.left_out)
        found_in = touched(before, after, seen.definitions, interval.names, is_part=is_part)
        return Compared(first_of, marks, touched=tuple(found_in))
    if not found:
        return Compared()
    if all(one.kind is BarrierKind.REWRITTEN for one in found):
        upto = until_on_disk(session, job.pause).lsn  # not before what is seen
        found = barriers(before, after, _emptied(job, session, state, upto))
    return Compared(tuple(found), marks, touched=tuple(touched(before, after, seen.definitions)))


def _emptied(job: JournalJob, session: psycopg2.extensions.connection, state: JournalState, upto: int) -> Emptied:
    """Return the tables that were emptied up to a position, as far as a drain can read: new files are barriers then.

    Raises
    ------
    TransientError
        Another drain may read it. One that had no time begins with the stream.
    """
    ours, found = ownership(state), dict[tuple[TableName, int], frozenset[TableName]]()
    ways = [partial(in_time, job, session, ours, upto, slot_changes.lines), partial(streamed, job, ours, upto)]
    for way in reversed(ways) if state.slow else ways:
        try:
            with closing(way()) as lines:
                found.update(emptied_tables(lines))
            return found
        except (JournalError, JournalTransientError) as error:
            if error.code not in UNREADABLE:
                raise
            if isinstance(error.__cause__, TransientError) and error.code == "JOURNAL_NO_STREAM":
                raise error.__cause__ from error
            if error.code == "JOURNAL_TOO_SLOW" and not state.slow:
                keep(job, state, slow=1)
                raise
    return found


def _by_name(marks: Iterable[DefinitionMark]) -> dict[TableName, DefinitionMark]:
    return {(mark.schema_name, mark.name): mark for mark in marks}


# What has changed is no table and no type: a function, an index, a constraint, a view ...
_OTHERS: Final = ("", "")


def reason_and_names(found: Sequence[Barrier]) -> tuple[JournalEnd, list[TableName], str]:
    """Return the reason for the end of an interval, what it is about, and a sentence."""
    kind = found[0].kind
    names = [barrier.about for barrier in found if barrier.about != _OTHERS]
    listed = ", ".join(shown(*name) for name in names[:_MOST_NAMES]) or "other than tables and types"
    texts = {
        BarrierKind.DEFINITION_CHANGED: f"Definitions have changed: {listed}.",
        BarrierKind.REWRITTEN: f"Tables were rewritten: {listed}.",
        BarrierKind.NO_IDENTITY: f"Rows were changed that nothing identifies: {listed}. Give the table a primary key.",
        BarrierKind.UNKNOWN_TABLE: f"Rows were written into a table that was created or renamed meanwhile: {listed}.",
    }
    return _OF_KIND[kind], names, texts[kind]


def _marks_of_segment(job: JournalJob, state: JournalState) -> tuple[DefinitionMark, ...]:
    """Return the newest marks of a segment; none if it is deleted: tables that were emptied are barriers then."""
    if not state.marks_in:
        return ()
    keys = segment_keys(job.vault, job.target, state.interval or "", after=None)
    found = [key for key in keys if key.number == state.marks_in]
    return read_segment(job.vault, found[0], None)[0].marks if found else ()


def other_publication() -> JournalError:
    """Return the error of a publication that is another one."""
    return JournalError(
        f'The publication "{PUBLICATION}" has changed.',
        code="JOURNAL_PUBLICATION",
        hint="Transactions that were open then are not whole in the slot: the journal begins again with a new one.",
    )


def other_plugin(before: str, now: str) -> JournalError:
    """Return the error of a plugin that is another one."""
    return JournalError(f"The plugin of the journal was {before}, and is {now} now.", code="JOURNAL_PLUGIN")
