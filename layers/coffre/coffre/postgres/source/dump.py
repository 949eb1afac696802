"""Reading in a shared snapshot: the schema archive, large objects, roles, and table slices as `COPY` text.

Rows never pass one by one through Python: each stream is a session whose socket is read in large blocks
(`copy_out.py`), and the queries of the next slices are on their way while one is read.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final, Self

import psycopg2

from coffre.model.database_target import DatabaseTarget
from coffre.model.names import UNFINISHED_RESTORE, qualified, quoted
from coffre.policy.slicing import Slice
from coffre.postgres.archive import sql_ascii
from coffre.postgres.archive.reader import read_archive
from coffre.postgres.archive.unknown_options import KNOWN
from coffre.postgres.archive.writer import custom_header
from coffre.postgres.connection.address import Connection, conninfo_of
from coffre.postgres.connection.client_tools import Children, PostgresTools, output_of
from coffre.postgres.connection.connect import connect
from coffre.postgres.connection.query_errors import explain_complaint, explain_query_error, is_too_big, row_too_big
from coffre.postgres.connection.raw_socket import open_channel
from coffre.postgres.source.copy_out import CopyOut, QueryFailedError
from coffre.postgres.source.locks import READER_WAIT_SECONDS, lock_timeout
from coffre.postgres.source.part_locks import PartLocks, lock_yielded, locked_together
from coffre.postgres.source.present_catalog import PresentCatalog

# Of a session that locks no tables itself.
_WAIT_SECONDS: Final = 10
_FIRST_STATEMENTS: Final = (
    # A slice is a plain scan: compiling it costs more than it saves, and its order must not depend on workers.
    "SET jit = off",
    "SET max_parallel_workers_per_gather = 0",
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
)
_BLOCK_BYTES: Final = 1024 * 1024


def copy_statement(piece: Slice, encoding: str) -> str:
    """Return the query that reads one slice, its bytes in `encoding`; names of other bytes have surrogates for them."""
    statement = _copy_statement(piece, encoding)
    return sql_ascii.archived(statement) if encoding == sql_ascii.ENCODING else statement


def _copy_statement(piece: Slice, encoding: str) -> str:
    table = piece.table
    columns = ", ".join(quoted(column) for column in table.columns)
    name = qualified(table.schema, table.name)
    options = f"TO STDOUT (ENCODING '{encoding}')"
    if table.condition:
        # A whole WHERE clause in the words of the extension's author. Such a table is never cut by block.
        return f"COPY (SELECT {columns} FROM ONLY {name} {table.condition}\n) {options}"  # noqa: S608 - quoted
    if piece.first_block is None:
        return f"COPY {name} ({columns}) {options}" if columns else f"COPY {name} {options}"
    where = f"ctid >= '({piece.first_block},0)'::pg_catalog.tid"
    if piece.end_block is not None:
        where += f" AND ctid < '({piece.end_block},0)'::pg_catalog.tid"
    return f"COPY (SELECT {columns} FROM ONLY {name} WHERE {where}) {options}"  # noqa: S608 - quoted


class SliceReader:
    """One stream: a session in the shared snapshot that copies slice after slice.

    Use as a context manager. Not thread-safe: one reader a thread.

    Parameters
    ----------
    connection, children
        Where to read, and who stops it.
    snapshot
        The exported snapshot to read in; None: the session's own, in a database that no other session uses.
    encoding
        In which the server sends the rows: the database's own.
    buffer_bytes
        Size of the pieces in which a slice comes, but for its last one.
    present
        Makes sure that what is read is what the snapshot has. None: no other session changes the database.
    """

    def __init__(
        self,
        connection: Connection,
        children: Children,
        *,
        snapshot: str | None,
        encoding: str,
        buffer_bytes: int,
        present: PresentCatalog | None = None,
    ) -> None:
        self._connection = connection
        self._children = children
        self._snapshot = snapshot
        self._encoding = encoding
        self._buffer = memoryview(bytearray(buffer_bytes))
        self._present = present
        self._locks: PartLocks | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            session = stack.enter_context(connect(self._connection))
            stack.enter_context(self._children.cancelling(session))
            session.autocommit = True
            with self._translated(None), session.cursor() as cursor:
                wait = READER_WAIT_SECONDS if self._present else _WAIT_SECONDS
                shared = (f"SET TRANSACTION SNAPSHOT '{self._snapshot}'",) if self._snapshot else ()
                cursor.execute("; ".join((lock_timeout(wait), *_FIRST_STATEMENTS, *shared)))
                cursor.execute("SELECT pg_backend_pid()")
                ((backend,),) = cursor.fetchall()
            self._copy = CopyOut(open_channel(session, self._children.check), self._buffer)
            if self._present is not None:
                self._locks = PartLocks(self._copy, self._present, backend, self._encoding)
                stack.enter_context(self._present.letting_go(backend, self._locks.let_go))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def rows(self) -> int:
        """The server's own count of the rows of the slice that was read last."""
        return self._copy.rows

    def read(self, pieces: Iterable[Slice]) -> Iterator[tuple[Slice, Iterator[memoryview]]]:
        """Yield each slice with its bytes, each piece of them valid until the next.

        Tables are locked while slices of them are read, some together. What came counts only when this has ended by
        itself.

        Raises
        ------
        DumpError, DumpTransientError
            When the server stopped before a slice's end. What came so far is worthless then.
        SchemaChangedError
            When a table, or what its rows are printed with, is no longer what the snapshot has.
        LockYieldedError
            When the locks were given up for another session. The reader can read again.
        """
        if self._locks is None:
            asked = list(pieces)
            yield from self._answered(asked, self._copy.run(copy_statement(piece, self._encoding) for piece in asked))
            return
        for locked in locked_together(pieces):
            yield from self._read_locked(self._locks, locked)

    def _read_locked(self, locks: PartLocks, asked: Sequence[Slice]) -> Iterator[tuple[Slice, Iterator[memoryview]]]:
        copies = [copy_statement(piece, self._encoding) for piece in asked]
        with self._translated(None):
            answers, tables = locks.take([piece.table for piece in asked], copies, self._children.check)
        # Once before anything is read for nothing, and once when everything is read: no lock keeps others from renaming
        # a label of an enum, or a schema.
        tables.require()
        yield from self._answered(asked, answers)
        tables.require()
        with self._translated(None):
            locks.release()

    def _answered(
        self, asked: Sequence[Slice], answers: Iterator[Iterator[memoryview]]
    ) -> Iterator[tuple[Slice, Iterator[memoryview]]]:
        for piece in asked:
            self._children.check()
            with self._translated(piece):
                chunks = next(answers)
            yield piece, self.chunks(piece, chunks)
        with self._translated(None):
            next(answers, None)

    def chunks(self, piece: Slice, chunks: Iterator[memoryview]) -> Iterator[memoryview]:
        """Yield what was read, and say which table an error belongs to."""
        with self._translated(piece):
            for chunk in chunks:  # noqa: UP028 - what the caller left is read to its end: this must not close it
                yield chunk

    @contextmanager
    def _translated(self, piece: Slice | None) -> Iterator[None]:
        try:
            yield
        except QueryFailedError as error:
            if piece is not None and self._locks is not None and self._locks.were_given_up(error):
                self._children.check()
                self._locks.release()
                raise lock_yielded(piece.table.shown_name) from error
            if piece is not None and is_too_big(error.sqlstate, str(error)):
                raise row_too_big(piece.table.shown_name, str(error)) from error
            raise explain_complaint(self._connection, "a reading session", 1, str(error)) from error
        except psycopg2.Error as error:
            raise explain_query_error(self._connection, error) from error


def _selection(target: DatabaseTarget, *, also_exclude: Sequence[str] = ()) -> list[str]:
    """Return pg_dump's own options for the target's patterns: it knows best what they mean.

    Rows of a partitioned table are in its partitions: without them it would come back empty.
    """
    options = []
    for flag, patterns in (
        ("--schema", target.schemas.include),
        ("--exclude-schema", (*target.schemas.exclude, f"{UNFINISHED_RESTORE}*")),
        ("--table-and-children", target.tables.include),
        ("--exclude-table-and-children", (*target.tables.exclude, *also_exclude)),
    ):
        options += [f"{flag}={pattern}" for pattern in patterns]
    return options


class ArchiveDumper:
    """Runs `pg_dump` and `pg_dumpall` in (or, for roles, alongside) the shared snapshot."""

    def __init__(
        self, tools: PostgresTools, children: Children, connection: Connection, target: DatabaseTarget
    ) -> None:
        self._tools = tools
        self._children = children
        self._connection = connection
        self._target = target

    def schema(self, snapshot: str, file: Path) -> None:
        """Write the schema archive: pre-data and post-data, no rows."""
        self._dump(file, snapshot, "--schema-only", *_selection(self._target))

    def schema_with_rows(self, snapshot: str, file: Path) -> None:
        """Write the schema archive without the tables whose rows are left out: `pg_dump` knows what patterns mean."""
        left_out = self._target.tables.exclude_data
        self._dump(file, snapshot, "--schema-only", *_selection(self._target, also_exclude=left_out))

    def large_objects(self, snapshot: str) -> Iterator[memoryview]:
        """Yield an archive of all large objects with owners, rights and comments, and of nothing else."""
        argv = self._pg_dump(snapshot, "--section=data", "--large-objects", "--exclude-schema=*")
        with output_of(self._children, argv, self._environment(), self._connection) as stdout:
            yield from _blocks(stdout)

    def roles(self) -> bytes:
        """Return `CREATE ROLE` statements without passwords (pg_authid is denied on managed servers: field note 21)."""
        argv = [self._tools.program("pg_dumpall"), "--roles-only", "--no-role-passwords", "--no-password"]
        argv.append(f"--database={conninfo_of(self._connection.database)}")
        with output_of(self._children, argv, self._environment(), self._connection) as stdout:
            return stdout.read()

    def _dump(self, file: Path, snapshot: str, *options: str) -> None:
        argv = self._pg_dump(snapshot, *options)
        with (
            output_of(self._children, argv, self._environment(), self._connection) as stdout,
            file.open("wb") as output,
        ):
            for block in _blocks(stdout):
                output.write(block)
        _leave_out_what_no_other_server_knows(file)

    def _pg_dump(self, snapshot: str, *options: str) -> Sequence[str]:
        wait = self._target.limits.lock_timeout_seconds * 1000
        return [
            self._tools.program("pg_dump"),
            "--format=custom",
            "--compress=0",
            "--no-password",
            f"--snapshot={snapshot}",
            f"--lock-wait-timeout={wait}",
            *options,
        ]

    def _environment(self) -> dict[str, str]:
        return self._tools.environment(self._connection)


def _leave_out_what_no_other_server_knows(file: Path) -> None:
    """Write an archive without data again if it has options that its server keeps for itself."""
    if file.stat().st_size == 0:  # nothing can be mapped; who reads it says what is wrong
        return
    with file.open("rb") as archive:
        with mmap.mmap(archive.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if not any(content.find(name.encode()) >= 0 for name in KNOWN):
                return
        read = read_archive(archive)  # which leaves them out
    with file.open("wb") as output:
        output.writelines(custom_header(read))


def _blocks(pipe: IO[bytes]) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(_BLOCK_BYTES))
    while count := os.readv(pipe.fileno(), [buffer]):
        yield buffer[:count]
