"""Store one segment: what the slot has up to a position, as far as it can be followed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import psycopg2.extensions

from coffre.model.errors import JournalTransientError, StoreError
from coffre.model.journal import DefinitionMark, JournalSegment, JournalState
from coffre.model.journal_lines import pieces_of
from coffre.operations.journal.catalog_state import keep, ownership, two_drains, with_segment
from coffre.operations.journal.job import JournalJob
from coffre.postgres.journal import slot_changes
from coffre.postgres.journal.changes import Line
from coffre.postgres.journal.definitions import Definitions
from coffre.postgres.journal.drain_view import Look, hash_of
from coffre.postgres.journal.slot import OPTIONS, WITH_EMPTY, Options, Ownership
from coffre.postgres.journal.stream import stream
from coffre.postgres.journal.stream_scan import Cut, Passing
from coffre.vault.journal import commit_segment
from coffre.vault.journal_packs import Stored, store_lines

RESERVE_SECONDS: Final = 15.0
"""Before the end of the process: what is left then is for the records."""
_LOOK_SECONDS: Final = 0.1


@dataclass(frozen=True)
class Step:
    """What one step has stored: the state after it, and where the stream could not be followed any further.

    `is_stored`: there is a segment of it.
    """

    state: JournalState
    is_stored: bool
    stored: Stored
    passed: Passing
    cut: Cut | None


@dataclass(frozen=True)
class Followed:
    """Lines that are stored, up to a position, and where the stream could not be followed any further.

    `is_complete`: nothing else was committed before the look that chose how far to read.
    """

    upto: int
    stored: Stored
    passed: Passing
    cut: Cut | None
    is_complete: bool


def store_segment(
    job: JournalJob,
    session: psycopg2.extensions.connection,
    state: JournalState,
    seen: Look,
    upto: int,
    marks: tuple[DefinitionMark, ...],
    *,
    by_stream: bool = False,
) -> Step:
    """Store what was committed up to a position, and keep that: the slot can be advanced then.

    Parameters
    ----------
    by_stream
        By the replication protocol, whose answer has any size.

    Raises
    ------
    JournalError
        `JOURNAL_TOO_LARGE`, `JOURNAL_NO_STREAM`, `JOURNAL_SLOT_LOST`; `JOURNAL_UNREADABLE`: the server gave nothing of
        it
    JournalTransientError
        `JOURNAL_TOO_SLOW`, `JOURNAL_TWO_DRAINS`, `JOURNAL_SLOT_BUSY`
    """
    found = store_followed(job, session, state, seen, upto, seen.definitions, by_stream=by_stream)
    is_stored = found.passed.transactions > 0 or hash_of(seen.sequences) != state.sequences
    if is_stored:
        state = _commit(job, state, seen, found, marks)
    elif found.upto > state.stored_lsn or found.is_complete:
        changes: dict[str, Any] = {"seen_at": seen.durable.at, "slow": 0} if found.is_complete else {}
        state = keep(job, state, stored_lsn=found.upto, **changes)
    return Step(state, is_stored, found.stored, found.passed, found.cut)


def store_followed(
    job: JournalJob,
    session: psycopg2.extensions.connection,
    state: JournalState,
    seen: Look,
    upto: int,
    definitions: Definitions | None,
    *,
    by_stream: bool = False,
) -> Followed:
    """Store the lines up to a position, or up to where they cannot be followed: without a record, they do not exist.

    Parameters
    ----------
    definitions
        What rows have to fit; None: any rows do.

    Raises
    ------
    JournalError, JournalTransientError
        As `store_segment`.
    """
    stored, passed = _store(job, session, state, seen, upto, definitions, by_stream=by_stream)
    cut = passed.cut
    if cut is not None:
        # Frames may have lines of what cannot be followed: what comes before is read again, without it.
        upto = max(cut.lsn, state.stored_lsn)
        stored, passed = Stored((), (), 0), Passing(definitions, seen.snapshot, upto)
        if cut.lsn > state.stored_lsn:
            stored, passed = _store(job, session, state, seen, upto, definitions, by_stream=by_stream)
            if passed.cut is not None:
                raise JournalTransientError(
                    f'The stream of the journal of "{job.target}" has changed between two looks at it.',
                    hint="Nothing was stored: the next drain reads it again.",
                )
    upto = max(upto, passed.end_lsn)
    return Followed(upto, stored, passed, cut, is_complete=cut is None and upto >= seen.durable.lsn)


def segment_after(
    state: JournalState, seen: Look, found: Followed, marks: tuple[DefinitionMark, ...]
) -> JournalSegment:
    """Return the record of what was stored after the last segment."""
    return JournalSegment(
        interval=state.interval or "",
        number=state.number + 1,
        previous=state.sha256,
        from_lsn=state.segment_lsn,
        to_lsn=max(found.upto, state.segment_lsn),
        seen_at=seen.durable.at,
        is_complete=found.is_complete,
        transactions=found.passed.transactions,
        lines=found.passed.lines,
        first_commit=found.passed.first_commit,
        last_commit=found.passed.last_commit,
        size=found.stored.size,
        frames=found.stored.frames,
        packs=found.stored.packs,
        sequences=seen.sequences,
        marks=marks,
    )


def _commit(
    job: JournalJob, state: JournalState, seen: Look, found: Followed, marks: tuple[DefinitionMark, ...]
) -> JournalState:
    segment = segment_after(state, seen, found, marks)
    try:
        sha256 = commit_segment(job.vault, job.target, segment)
    except StoreError as error:
        if error.code != "OBJECT_EXISTS":
            raise
        raise two_drains(job) from error
    return keep(job, state, **with_segment(state, segment, sha256) | {"marked": seen.marked, "stored_lsn": found.upto})


def _store(
    job: JournalJob,
    session: psycopg2.extensions.connection,
    state: JournalState,
    seen: Look,
    upto: int,
    definitions: Definitions | None,
    *,
    by_stream: bool,
) -> tuple[Stored, Passing]:
    passed = Passing(definitions, seen.snapshot, state.segment_lsn)
    # Where nothing says what rows fit, a transaction without any may be what has changed definitions.
    ours, options = ownership(state), OPTIONS if definitions is not None else WITH_EMPTY
    # Whatever stops it, the session is free for what follows.
    with ExitStack() as stack:
        if by_stream:
            pieces = pieces_of(stack.enter_context(closing(streamed(job, ours, upto, options))))
        else:
            pieces = stack.enter_context(
                closing(in_time(job, session, ours, upto, partial(slot_changes.pieces, options=options)))
            )
        prefix = (job.vault, job.target, state.interval or "", state.number + 1)
        stored = store_lines(*prefix, job.encoder, passed.through(pieces))
    return stored, passed


def in_time[T](
    job: JournalJob,
    session: psycopg2.extensions.connection,
    ours: Ownership,
    upto: int,
    read: Callable[[psycopg2.extensions.connection, str, int, str], Generator[T]],
) -> Generator[T]:
    """Yield what a slot has up to a position, as `slot_changes.lines` or `slot_changes.pieces`, while there is time.

    Raises
    ------
    JournalTransientError
        `JOURNAL_TOO_SLOW`
    """
    seconds = job.remaining_seconds() - RESERVE_SECONDS
    if seconds <= 0:
        raise too_slow(job)
    with session, session.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, false)", (str(int(seconds * 1000) + 1),))
    try:
        with closing(read(session, ours.name, upto, ours.plugin)) as found:
            yield from _while_there_is_time(job, found)
    except JournalTransientError as error:
        if error.code != "JOURNAL_WAITS":
            raise
        raise too_slow(job) from error
    finally:
        if not session.closed:
            session.rollback()
            with session, session.cursor() as cursor:
                cursor.execute("SET statement_timeout = 0")


def streamed(job: JournalJob, ours: Ownership, upto: int, options: Options = OPTIONS) -> Generator[Line]:
    """Yield the same lines by the replication protocol.

    Raises
    ------
    JournalError
        `JOURNAL_NO_STREAM`
    JournalTransientError
        `JOURNAL_TOO_SLOW`
    """

    def check() -> None:
        if job.remaining_seconds() < RESERVE_SECONDS:
            raise too_slow(job)

    check()
    with closing(stream(job.connection, ours, upto, check, options)) as lines:
        yield from _while_there_is_time(job, lines)


def _while_there_is_time[T](job: JournalJob, found: Iterable[T]) -> Iterator[T]:
    looked_at = -math.inf
    for one in found:
        if (now := time.monotonic()) - looked_at > _LOOK_SECONDS:
            if job.remaining_seconds() < RESERVE_SECONDS:
                raise too_slow(job)
            looked_at = now
        yield one


def too_slow(job: JournalJob) -> JournalTransientError:
    """Return the error of a drain that has no time for a step, or for one in which a transaction ends."""
    return JournalTransientError(
        f'The journal of "{job.target}" had no time to read and store the next step.',
        code="JOURNAL_TOO_SLOW",
        hint="Nothing is lost: the next drain reads less at a time. If one transaction takes longer than a function"
        " runs, the journal begins again with a new slot and a new base.",
    )
