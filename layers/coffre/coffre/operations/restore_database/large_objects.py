"""Large objects: read from their archive as it comes, and written over several sessions, many by one statement."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import batched, chain
from typing import Final

import psycopg2
import psycopg2.extensions

from coffre.model.errors import IntegrityError, RestoreError
from coffre.model.manifest import Entry
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.large_object_marks import ObjectMarks
from coffre.operations.restore_database.load_plan import FAST_COMMITS
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.sessions import loading_session
from coffre.operations.runs.session_pool import SessionPool
from coffre.operations.stored_backup.entry_file import open_chunks
from coffre.postgres.archive.reader import TocEntry, damaged, read_archive
from coffre.postgres.archive.writer import LargeObject, read_large_objects
from coffre.postgres.connection.connect import one_line
from coffre.postgres.destination.copy_in import is_refusal, translated
from coffre.postgres.source import large_objects
from coffre.postgres.source.large_objects import Piece

# Each statement locks its object until the end of its transaction.
_STATEMENTS_AT_ONCE: Final = 200
_NAMED: Final = 20

type _Block = tuple[int, Iterator[LargeObject]]


def restore_large_objects(
    job: RestoreJob, source: Source, entry: Entry, report: ReportBuilder, *, with_owners: bool, is_marked: bool = False
) -> None:
    """Create all large objects with their bytes, owners, privileges, comments and labels.

    With `is_marked`, what an earlier attempt of the restore has written is not written again.

    Unless the scope is strict, what is refused or damaged is left out and reported.

    Raises
    ------
    RestoreError
        Code `LARGE_OBJECT_FAILED`, with the server's words.
    IntegrityError
        The archive is damaged.
    """
    with SessionPool(lambda _: _session(job), job.streams) as sessions:
        done = ObjectMarks(job, is_kept=is_marked)
        _Loading(job, report, sessions, done).load(source, entry, with_owners=with_owners)


@contextmanager
def _session(job: RestoreJob) -> Iterator[psycopg2.extensions.connection]:
    with loading_session(job) as session, session.cursor() as cursor:
        cursor.execute(FAST_COMMITS)
        session.commit()
        yield session


class _Loading:
    """One restore of large objects; `_lost` are those that are left out, with the reason."""

    def __init__(
        self,
        job: RestoreJob,
        report: ReportBuilder,
        sessions: SessionPool[psycopg2.extensions.connection],
        done: ObjectMarks,
    ) -> None:
        self._job = job
        self._done = done
        self._report = report
        self._sessions = sessions
        self._lock = threading.Lock()
        self._lost = dict(done.lost)
        self._begun = set(done.begun)

    def load(self, source: Source, entry: Entry, *, with_owners: bool) -> None:
        # Each frame is checked before it is given out: what was written before a damaged one is good.
        file = open_chunks(self._job.vault.read_entry(entry, source.decoder))
        try:
            entries = read_archive(file).entries
        except IntegrityError as error:
            if not self._job.leaves_damage_out:
                raise
            self._report.leave_out("all large objects", _damage(error))
            return
        start = self._done.start
        if start:
            file = open_chunks(self._job.vault.read_entry_from(entry, source.decoder, start), start)
        blocks = read_large_objects(file, is_inside=start > 0)
        batches = large_objects.batches(self._pieces(entries, blocks))
        for _ in self._job.runner(self._write, self._job.in_time(batches)):
            pass
        self._job.check_time()
        self._report_lost()
        if with_owners:
            owners = large_objects.owner_statements(entries, self._is_whole, self._creator())
            self._run_all(source, "owners", owners)
        others = large_objects.other_statements(entries, self._is_whole, with_rights=with_owners)
        self._run_all(source, "others", others)

    def _pieces(self, entries: Iterable[TocEntry], blocks: Iterable[_Block]) -> Iterator[Piece]:
        """Yield all pieces; a larger object is created before its first one, for whichever session writes it."""
        missing = set(large_objects.oids_of(entries)) - self._done.seen
        try:
            for piece in large_objects.pieces(chain.from_iterable(found for _, found in blocks)):
                self._job.children.check()
                if piece.offset == 0 and not piece.is_last and piece.oid not in self._begun:
                    self._create(piece.oid)
                if piece.is_last:
                    missing.discard(piece.oid)
                if piece.oid not in self._lost and not self._done.is_written(piece):
                    self._done.opened(piece)
                    yield piece
            if missing:
                damaged(f"The large object {min(missing)} is not in it.")
        except IntegrityError as error:
            if not self._job.leaves_damage_out:
                raise
            with self._lock:
                self._lost |= dict.fromkeys(missing, _damage(error))

    def _create(self, oid: int) -> None:
        with translated(self._job.connection), self._sessions.borrow() as session, session.cursor() as cursor:
            try:
                cursor.execute("SELECT lo_create(%s::oid)", (oid,))
                self._done.add_begun(cursor, oid)
                session.commit()
                self._begun.add(oid)
            except psycopg2.Error as error:
                self._give_up(session, oid, error)

    def _write(self, batch: Sequence[Piece]) -> None:
        self._write_batch(batch)
        self._done.closed(batch)

    def _write_batch(self, batch: Sequence[Piece]) -> None:
        with translated(self._job.connection), self._sessions.borrow() as session, session.cursor() as cursor:
            try:
                large_objects.write(cursor, batch)
                self._done.add(cursor, batch)
                session.commit()
            except psycopg2.Error as error:
                if len(batch) == 1:
                    self._give_up(session, batch[0].oid, error)
                    return
                self._require_refusal(session, error)
                for piece in batch:
                    try:
                        large_objects.write(cursor, [piece])
                        self._done.add(cursor, [piece])
                        session.commit()
                    except psycopg2.Error as one:
                        self._give_up(session, piece.oid, one)

    def _give_up(self, session: psycopg2.extensions.connection, oid: int, error: psycopg2.Error) -> None:
        """Leave an object out, or end the restore."""
        self._require_refusal(session, error)
        if self._job.scope.strict:
            raise _refused(f"The large object {oid}", error) from error
        with self._lock:
            reason = self._lost.setdefault(oid, f"the server refused it ({one_line(error)})")
        with session.cursor() as cursor:
            self._done.add_lost(cursor, oid, reason)
            session.commit()

    @staticmethod
    def _require_refusal(session: psycopg2.extensions.connection, error: psycopg2.Error) -> None:
        if session.closed or not is_refusal(error):
            raise error
        session.rollback()

    def _creator(self) -> str:
        with translated(self._job.connection), self._sessions.borrow() as session, session.cursor() as cursor:
            cursor.execute("SELECT current_user::text")
            ((name,),) = cursor.fetchall()
            session.commit()
            return str(name)

    def _is_whole(self, oid: int) -> bool:
        return oid not in self._lost

    def _report_lost(self) -> None:
        """Remove what was written of objects that are not whole, and name what is left out."""
        with translated(self._job.connection), self._sessions.borrow() as session, session.cursor() as cursor:
            for oid in self._begun & self._lost.keys():
                cursor.execute("SELECT lo_unlink(oid) FROM pg_largeobject_metadata WHERE oid = %s::oid", (oid,))
            session.commit()
        by_reason = defaultdict(list)
        for oid, reason in sorted(self._lost.items()):
            by_reason[reason].append(str(oid))
        for reason, oids in by_reason.items():
            more = f" and {len(oids) - _NAMED} more" if len(oids) > _NAMED else ""
            self._report.leave_out(f"large object{'s' * (len(oids) > 1)} {', '.join(oids[:_NAMED])}{more}", reason)

    def _run_all(self, source: Source, what: str, statements: Iterable[str]) -> None:
        """Run statements, of which each may be refused; they are in the source's encoding."""

        def run(numbered: tuple[int, Sequence[str]]) -> None:
            number, together = numbered
            name = f"{what} {number}"
            if self._done.are_executed(name):
                return
            self._job.children.check()
            texts = [statement.encode("utf-8", "surrogateescape") for statement in together]
            with translated(self._job.connection), self._sessions.borrow() as session, session.cursor() as cursor:
                try:
                    _execute(cursor, source, b"\n".join((*texts, self._done.adding_executed(name))))
                except psycopg2.Error as error:
                    self._require_refusal(session, error)
                    for text in texts:
                        self._run(session, source, text)

        work = enumerate(batched(statements, _STATEMENTS_AT_ONCE, strict=False))
        for _ in self._job.runner(run, self._job.in_time(work)):
            pass
        self._job.check_time()

    def _run(self, session: psycopg2.extensions.connection, source: Source, text: bytes) -> None:
        with session.cursor() as cursor:
            try:
                _execute(cursor, source, text)
            except psycopg2.Error as error:
                self._require_refusal(session, error)
                statement = text.decode("utf-8", "replace").strip()
                if self._job.scope.strict:
                    raise _refused(f"What the backup says about a large object ({statement})", error) from error
                with self._lock:
                    self._report.leave_out(
                        f"of a large object: {statement.rstrip(';')}",
                        f"the server refused it ({one_line(error)})",
                        statement,
                    )


def _execute(cursor: psycopg2.extensions.cursor, source: Source, text: bytes) -> None:
    """Run statements in a transaction of their own."""
    # A server takes all statements of one message as text in the encoding that counts before the first one.
    cursor.execute("SELECT set_config('client_encoding', %s, true)", (source.content.encoding,))
    cursor.execute(text)
    cursor.connection.commit()


def _refused(what: str, error: psycopg2.Error) -> RestoreError:
    return RestoreError(
        f"{what} could not be restored.",
        code="LARGE_OBJECT_FAILED",
        detail=one_line(error),
        hint="The restore stopped here. The server's own words are above.",
    )


def _damage(error: IntegrityError) -> str:
    return f"the backup is damaged ({error.detail or error.message.rstrip('.')})"
