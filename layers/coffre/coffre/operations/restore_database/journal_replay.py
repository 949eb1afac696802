"""Applying a journal to the restored rows of its base."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import psycopg2.extensions

from coffre.model.errors import IntegrityError, JournalError, ObjectMissingError, RestoreError
from coffre.model.journal import JournalSegment
from coffre.model.journal_proof import JournalProof
from coffre.model.manifest import TableContent
from coffre.model.names import TableName, shown
from coffre.model.words import counted
from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.restore_database.job import Source as RestoreSource
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.sessions import loading_session
from coffre.policy.journal_tail import doubt_of_tail
from coffre.policy.moments import Chosen, Point
from coffre.postgres.destination import marks
from coffre.postgres.destination.owners_code import default_path
from coffre.postgres.journal.changes import Line, Lines
from coffre.postgres.journal.definitions import Definitions, Table
from coffre.postgres.journal.definitions_document import parse_definitions
from coffre.postgres.journal.replay import Replay
from coffre.postgres.journal.replay_source import Source
from coffre.postgres.journal.search_path import Paths
from coffre.postgres.journal.transactions import BaseSnapshot, Moment
from coffre.vault.codec import FrameDecoder
from coffre.vault.journal import read_definitions_of, read_lines

_NAMED: Final = 10
# A second look at the lines of a segment costs nothing as long as they are kept.
_KEPT_BYTES: Final = 16 << 20
# After this number of lines it is asked whether the run is to be stopped or paused.
_LINES: Final = 1_000


@dataclass(frozen=True)
class Followed:
    """The tables that a journal is applied to.

    Parameters
    ----------
    tables
        By their names in the backup.
    places
        Those of them that have another name here.
    is_part
        They are in a database with others.
    name
        Of the mark that says how far they are.
    search_paths
        Returns the source's own for a table: code of theirs that fails is tried with them too.
    """

    tables: Collection[TableName]
    places: Mapping[TableName, Table] = field(default_factory=dict)
    is_part: bool = False
    name: str = "position"
    search_paths: Callable[[TableName], Sequence[str]] = lambda _: ()


def apply_journal(
    job: RestoreJob, chosen: Chosen[str], followed: Followed, contents: Iterable[TableContent], report: ReportBuilder
) -> None:
    """Apply the journal to tables up to the moment that was chosen, from where an earlier attempt has come to.

    What is damaged, or does not fit the rows of the base, ends it before the moment: the report says where. It stops
    the restore if that is `strict`, or changes tables in use.

    Parameters
    ----------
    contents
        Of these, the report names the tables to which it is not applied.

    Raises
    ------
    JournalError
        As `Replay.apply`, where it is not left out.
    JournalTransientError
        The session was cut: another attempt continues.
    RestoreError
        `JOURNAL_MARKS`
    """
    decoder = job.decoder.of_recipients(chosen.interval.recipients)
    with loading_session(job) as session:
        if not marks.exist(session, job.marks_schema):
            raise no_marks(job)
        paths = _paths(session, followed)
        definitions: Definitions | None = None
        replay: Replay | None = None
        done: JournalSegment | None = None
        until = f"up to {chosen.point}"
        try:
            definitions = definitions_of(job, chosen)
            source = _source(chosen, definitions, followed)
            replay = Replay(session, source, job.marks_schema, followed.name, paths)
            for segment in chosen.segments:
                job.check_time()
                is_tail = chosen.end is not None and segment == chosen.end.tail
                lines = lines_of(job, segment, decoder)
                if replay.apply(lines, _moment(chosen), one_by_one=is_tail):
                    break
                done = segment
        except (IntegrityError, JournalError, ObjectMissingError) as error:
            job.children.check()
            if followed.is_part and job.scope.touches:
                error.add_note(f"The journal is whole {_until(chosen, done, replay)}.")
            if not job.leaves_damage_out or (followed.is_part and job.scope.touches):
                raise
            until = _until(chosen, done, replay)
            what = f"changes of the journal {_until(chosen, done, replay, 'after')}"
            report.leave_out(what, f"{error.message} [{error.code}]")
    if definitions is not None:
        say_not_followed(
            chosen,
            (one for one in contents if name_of(one) not in followed.tables or name_of(one) not in definitions.tables),
            report,
        )
    report.notes += [
        f"Changes of {shown(*name)} were applied with the search_path {path}: a function that they need names things"
        " without their schema."
        for name, path in paths.taken.items()
    ]
    if replay is not None:
        position = replay.position
        report.notes.append(
            f"The journal is applied to the backup of {Point(chosen.base.at)}, {until}: "
            f"{counted(position.changes, 'change')} in {counted(position.transactions, 'transaction')}. "
            "The rows of each table above are those of the backup."
        )


def doubts(job: RestoreJob, source: RestoreSource) -> list[str]:
    """Return a warning for each proof of the journal that was not equal where the moment is made, and for a tail."""
    chosen = source.chosen
    if chosen is None:
        return []
    tail = [doubt_of_tail(chosen.end)] if chosen.end is not None else []
    if job.proofs is None:
        return [*tail, "What drills have found of the journal could not be read: see coffre journal list."]

    def is_concerned(proof: JournalProof) -> bool:
        since = Point(proof.since) if chosen.point.lsn is None else Point(lsn=proof.from_lsn)
        return proof.doubts(chosen.interval.id, chosen.base.lsn) and not chosen.point.is_before(since)

    found = filter(is_concerned, job.proofs)
    return tail + [
        f"WARNING: this moment may lack changes. A drill has found the journal {proof.text}: "
        f"{' '.join(proof.differences)} Compare with the backups {proof.older} and {proof.newer}."
        for proof in found
    ]


def no_marks(job: RestoreJob) -> RestoreError:
    """Return the error of a role that can keep no marks at the destination."""
    return RestoreError(
        f"A journal cannot be applied in {job.connection}: the role may create no schema, in which the restore"
        " keeps how far it is.",
        code="JOURNAL_MARKS",
        hint="Grant it CREATE on the database, or restore into a new database (--to).",
    )


def definitions_of(job: RestoreJob, chosen: Chosen[str]) -> Definitions:
    """Return the definitions that all changes of the moment's interval fit; raises what reading them does."""
    decoder = job.decoder.of_recipients(chosen.interval.recipients)
    return parse_definitions(read_definitions_of(job.vault, chosen.interval, decoder))


def say_journal(chosen: Chosen[str], report: ReportBuilder) -> None:
    """Put into the plan what is applied."""
    size = sum(segment.size for segment in chosen.segments)
    report.steps.append(
        f"Apply the journal to the backup of {Point(chosen.base.at)}, up to {chosen.point}: "
        f"{counted(len(chosen.segments), 'segment')}, {size:,} bytes."
    )


def say_not_followed(chosen: Chosen[str], tables: Iterable[TableContent], report: ReportBuilder) -> None:
    """Name tables of which a restore brings the backup's rows, and no changes."""
    left_out = frozenset(chosen.interval.left_out)
    found = [(shown(*name_of(table)), table.rows) for table in tables]
    # What had no row in the backup can have some since.
    names = [name for name, rows in found if rows or name in left_out]
    if names:
        more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
        what = f"rows of {', '.join(names[:_NAMED])}{more}, to which the journal is not applied"
        report.exceptions.append(f"As of the backup ({Point(chosen.base.at)}), not of the moment: {what}.")


def say_large_objects(chosen: Chosen[str], source: RestoreSource, report: ReportBuilder) -> None:
    """Say that large objects are those of the backup: no journal has them."""
    if source.large_objects is not None:
        report.exceptions.append(
            f"As of the backup ({Point(chosen.base.at)}), not of the moment: large objects, which no journal has."
        )


def name_of(table: TableContent) -> TableName:
    """Return the name of a table of a backup."""
    return table.schema_name, table.table_name


def _source(chosen: Chosen[str], definitions: Definitions, followed: Followed) -> Source:
    base = BaseSnapshot.parse(chosen.base.snapshot, chosen.base.lsn)
    own = {name for name, table in definitions.tables.items() if followed.is_part or not table.is_partitioned}
    without = frozenset(own.difference(followed.tables))
    return Source(base, definitions, without, followed.places, followed.is_part)


def _paths(session: psycopg2.extensions.connection, followed: Followed) -> Paths:
    """Return the paths that code may need: in a database that is in use first that of its sessions."""
    with session, session.cursor() as cursor:
        own = [default_path(cursor)] if followed.is_part else []
    return Paths(lambda table: [*own, *followed.search_paths(table)])


def _moment(chosen: Chosen[str]) -> Moment:
    later = chosen.seen_by
    snapshot = BaseSnapshot.parse(later.snapshot, later.lsn) if later else None
    return Moment(time=chosen.point.time, lsn=chosen.point.lsn, snapshot=snapshot)


def lines_of(job: RestoreJob, segment: JournalSegment, decoder: FrameDecoder) -> Lines:
    """Return what opens the lines of a segment; those of a small one are read once."""
    kept: list[Line] | None = None

    def read() -> Iterator[Line]:
        for number, (lsn, xid, data) in enumerate(read_lines(job.vault, segment, decoder)):
            if number % _LINES == 0:
                job.children.check()
            yield Line(lsn, xid, data)

    def lines() -> Iterator[Line]:
        nonlocal kept
        if segment.size > _KEPT_BYTES:
            return read()
        if kept is None:
            kept = list(read())
        return iter(kept)

    return lines


def _until(chosen: Chosen[str], done: JournalSegment | None, replay: Replay | None, how: str = "up to") -> str:
    """Return up to where, or after what, in the words of the option that a restore to there is given."""
    if chosen.end is not None and replay is not None and replay.position.lsn > (done.to_lsn if done else 0):
        return f"{how} {Point(lsn=replay.position.lsn)}"  # each transaction of the tail is committed alone
    if done is None:
        return f"{how} the backup"
    until = Point(done.seen_at) if chosen.point.lsn is None and done.seen_at else Point(lsn=done.to_lsn)
    return f"{how} {until}"
