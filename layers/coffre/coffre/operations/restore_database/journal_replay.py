"""Applying a journal to the restored rows of its base."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from coffre.model.errors import CoffreError, IntegrityError, JournalError, ObjectMissingError, RestoreError
from coffre.model.journal import JournalSegment
from coffre.model.names import TableName, shown
from coffre.model.words import counted
from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.restore_database.job import Source as RestoreSource
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.sessions import loading_session
from coffre.policy.moments import Chosen, Point
from coffre.postgres.destination import marks
from coffre.postgres.journal.changes import Line, Lines
from coffre.postgres.journal.definitions import Definitions
from coffre.postgres.journal.definitions_document import parse_definitions
from coffre.postgres.journal.replay import Replay, Source
from coffre.postgres.journal.transactions import BaseSnapshot, Moment
from coffre.vault.codec import FrameDecoder
from coffre.vault.journal import read_definitions_of, read_lines

_NAMED: Final = 10
# A second look at the lines of a segment costs nothing as long as they are kept.
_KEPT_LINES: Final = 50_000
# After this number of lines it is asked whether the run is to be stopped or paused.
_LINES: Final = 1_000


def apply_journal(
    job: RestoreJob, source: RestoreSource, chosen: Chosen[str], tables: Collection[TableName], report: ReportBuilder
) -> None:
    """Apply the journal to these tables up to the moment that was chosen, from where an earlier attempt has come to.

    What is damaged, or does not fit the rows of the base, ends it before the moment: the report says where. With
    `strict` it stops the restore.

    Raises
    ------
    JournalError
        As `Replay.apply`, with `strict`.
    JournalTransientError
        The session was cut: another attempt continues.
    RestoreError
        `JOURNAL_MARKS`
    """
    decoder = job.decoder.of_recipients(chosen.interval.recipients)
    with loading_session(job) as session:
        if not marks.exist(session, job.marks_schema):
            raise RestoreError(
                f"A journal cannot be applied in {job.connection}: the role may create no schema, in which the restore"
                " keeps how far it is.",
                code="JOURNAL_MARKS",
                hint="Grant it CREATE on the database, or restore into a new database (--to).",
            )
        session.commit()
        definitions: Definitions | None = None
        replay: Replay | None = None
        done: JournalSegment | None = None
        try:
            definitions = parse_definitions(read_definitions_of(job.vault, chosen.interval, decoder))
            replay = Replay(session, _source(chosen, definitions, tables), job.marks_schema)
            for segment in chosen.segments:
                job.check_time()
                if replay.apply(_lines(job, segment, decoder), _moment(chosen.point)):
                    break
                done = segment
        except (IntegrityError, JournalError, ObjectMissingError) as error:
            job.children.check()
            if not job.leaves_damage_out:
                raise
            _say_incomplete(chosen, done, error, report)
    if definitions is not None:
        _say_not_followed(chosen, definitions, tables, source, report)
    if replay is not None:
        position = replay.position
        report.notes.append(
            f"The journal is applied to the backup of {Point(chosen.base.at)}, up to {chosen.point}: "
            f"{counted(position.changes, 'change')} in {counted(position.transactions, 'transaction')}. "
            "The rows of each table above are those of the backup."
        )


def _say_not_followed(
    chosen: Chosen[str],
    definitions: Definitions,
    tables: Collection[TableName],
    source: RestoreSource,
    report: ReportBuilder,
) -> None:
    """Name what no journal has: it is as the backup has it."""
    filled = [(one.schema_name, one.table_name) for one in source.content.tables if one.rows]
    names = [shown(*name) for name in filled if name not in definitions.tables or name not in tables]
    # What had no row in the backup can have some since.
    names += [name for name in chosen.interval.left_out if name not in names]
    if names:
        more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
        what = f"rows of {', '.join(names[:_NAMED])}{more}, to which the journal is not applied"
        report.exceptions.append(f"As of the backup ({Point(chosen.base.at)}), not of the moment: {what}.")
    if source.large_objects is not None:
        report.exceptions.append(
            f"As of the backup ({Point(chosen.base.at)}), not of the moment: large objects, which no journal has."
        )


def _source(chosen: Chosen[str], definitions: Definitions, tables: Collection[TableName]) -> Source:
    base = BaseSnapshot.parse(chosen.base.snapshot, chosen.base.lsn)
    own = {name for name, table in definitions.tables.items() if not table.is_partitioned}
    return Source(base, definitions, frozenset(own.difference(tables)))


def _moment(point: Point) -> Moment:
    return Moment(time=point.time, lsn=point.lsn)


def _lines(job: RestoreJob, segment: JournalSegment, decoder: FrameDecoder) -> Lines:
    """Return what opens the lines of a segment; those of a small one are read once."""
    kept: list[Line] | None = None

    def read() -> Iterator[Line]:
        for number, (lsn, xid, data) in enumerate(read_lines(job.vault, segment, decoder)):
            if number % _LINES == 0:
                job.children.check()
            yield Line(lsn, xid, data)

    def lines() -> Iterator[Line]:
        nonlocal kept
        if segment.lines > _KEPT_LINES:
            return read()
        if kept is None:
            kept = list(read())
        return iter(kept)

    return lines


def _say_incomplete(
    chosen: Chosen[str], done: JournalSegment | None, error: CoffreError, report: ReportBuilder
) -> None:
    until = Point(done.seen_at) if done and chosen.point.lsn is None else Point(lsn=done.to_lsn) if done else None
    since = f"after {until}" if until else "after the backup"
    report.leave_out(f"changes of the journal {since}", f"{error.message} [{error.code}]")
