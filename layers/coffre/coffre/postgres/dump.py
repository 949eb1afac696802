"""Reading in a shared snapshot: the schema archive, large objects, roles, and table slices as `COPY` text.

Rows never pass one by one through Python: a `psql` process per stream writes them into a named pipe, which is read in
large blocks. The process lives as long as the stream, so that a slice costs one query, not one process.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from coffre.model.errors import CoffreError
from coffre.model.names import qualified, quoted
from coffre.model.target import DatabaseTarget
from coffre.policy.slicing import Slice
from coffre.postgres.complaints import explain_complaint
from coffre.postgres.connect import Connection, conninfo_of, session_settings
from coffre.postgres.tools import Children, PostgresTools, output_of, set_pipe_size

# Data passes in blocks of up to the pipe's size. psql writes 4 KiB at a time: a reader that woke up for each would
# spend more on waking than on reading, so it lets the pipe fill for a moment when it found only little.
_PIPE_BYTES: Final = 1024 * 1024
_LITTLE_BYTES: Final = 256 * 1024
_FILL_SECONDS: Final = 0.001
_BLOCK_BYTES: Final = 1024 * 1024


def copy_statement(piece: Slice, encoding: str) -> str:
    """Return the query that reads one slice, its bytes in `encoding`."""
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
    """One stream: a `psql` in the shared snapshot that copies slice after slice.

    Use as a context manager. Not thread-safe: one reader a thread.

    Parameters
    ----------
    tools, children, connection
        How to run the client program.
    snapshot
        What `pg_export_snapshot()` returned in the holder.
    version_number
        The server's, for its session settings.
    encoding
        The server's encoding: bytes come as they are stored.
    scratch
        A directory of this reader alone, for its named pipe.
    buffer_bytes
        The size of the pieces that `read` yields (but the last of a slice), and this reader's memory.
    """

    def __init__(
        self,
        tools: PostgresTools,
        children: Children,
        connection: Connection,
        *,
        snapshot: str,
        version_number: int,
        encoding: str,
        scratch: Path,
        buffer_bytes: int,
    ) -> None:
        self._connection = connection
        self._children = children
        self._encoding = encoding
        self._fifo = scratch / "rows"
        os.mkfifo(self._fifo, 0o600)
        argv = [tools.program("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", "--no-password"]
        self._child = children.start(argv, tools.environment(connection), stdin=subprocess.PIPE)
        if self._child.stdin is None:
            raise AssertionError
        self._stdin, self._stdout = self._child.stdin, self._child.output
        # Open for writing too: then the pipe never ends, and the end of a slice is psql's count on stdout.
        self._rows_fd = os.open(self._fifo, os.O_RDWR | os.O_NONBLOCK)
        with os.fdopen(os.dup(self._rows_fd), "rb", buffering=0) as pipe:
            set_pipe_size(pipe, _PIPE_BYTES)
        self._buffer = memoryview(bytearray(buffer_bytes))
        self.rows = 0
        self._first_statements = (
            "SET client_encoding = 'UTF8'",
            *session_settings(version_number),
            "SET lock_timeout = '10s'",
            # A slice is a plain scan: compiling it costs more than it saves, and its order must not depend on workers.
            "SET jit = off",
            "SET max_parallel_workers_per_gather = 0",
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            f"SET TRANSACTION SNAPSHOT '{snapshot}'",
        )

    def __enter__(self) -> SliceReader:
        try:
            self._write("".join(f"{statement};\n" for statement in self._first_statements))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._children.forget(self._child)
        with contextlib.suppress(OSError):
            os.close(self._rows_fd)
        self._fifo.unlink(missing_ok=True)

    def read(self, piece: Slice) -> Iterator[memoryview]:
        """Yield the bytes of a slice, each piece valid until the next; afterwards `rows` is the server's own count.

        Raises
        ------
        DumpError, DumpTransientError
            When the server or the client program stopped before the slice's end. What came so far is worthless then.
        """
        self._write(f"{copy_statement(piece, self._encoding)} \\g '{self._fifo}'\n\\echo :ROW_COUNT\n")
        filled = 0
        count: bytes | None = None
        while True:
            if count is None:
                count = self._wait()
            found = self._read_rows(filled)
            filled += found
            if filled == len(self._buffer):
                yield self._buffer
                filled = 0
            elif found == 0 and count is not None:
                break
            elif found < _LITTLE_BYTES and count is None:
                time.sleep(_FILL_SECONDS)
        self.rows = int(count)
        if filled:
            yield self._buffer[:filled]

    def _wait(self) -> bytes | None:
        """Wait until there are rows (None) or the server's count, after which no more rows come."""
        ready = dict(self._poll().poll())
        if self._stdout.fileno() in ready:
            line = self._stdout.readline()
            if not line.endswith(b"\n"):
                raise self._complaint()
            return line
        return None

    def _poll(self) -> select.poll:
        poll = select.poll()
        poll.register(self._rows_fd, select.POLLIN)
        poll.register(self._stdout.fileno(), select.POLLIN)
        return poll

    def _read_rows(self, filled: int) -> int:
        try:
            return os.readv(self._rows_fd, [self._buffer[filled : filled + _BLOCK_BYTES]])
        except BlockingIOError:
            return 0

    def _write(self, text: str) -> None:
        try:
            data = text.encode()
            while data:
                data = data[self._stdin.write(data) or 0 :]
        except BrokenPipeError as error:
            raise self._complaint() from error

    def _complaint(self) -> CoffreError:
        status = self._child.wait()
        return explain_complaint(self._connection, "psql", status, self._child.complaint())


def _selection(target: DatabaseTarget, *, also_exclude: Sequence[str] = ()) -> list[str]:
    """Return pg_dump's own options for the target's patterns: it knows best what they mean.

    Rows of a partitioned table are in its partitions: without them it would come back empty.
    """
    options = []
    for flag, patterns in (
        ("--schema", target.schemas.include),
        ("--exclude-schema", target.schemas.exclude),
        ("--table-and-children", target.tables.include),
        ("--exclude-table-and-children", (*target.tables.exclude, *also_exclude)),
    ):
        options += [f"{flag}={pattern}" for pattern in patterns]
    return options


class ArchiveDumper:
    """Runs `pg_dump` and `pg_dumpall` in (or, for roles, beside) the shared snapshot."""

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
        argv = self._pg_dump(snapshot, "--section=data", "--large-objects", "--exclude-table-data=*.*")
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


def _blocks(pipe: IO[bytes]) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(_BLOCK_BYTES))
    while count := os.readv(pipe.fileno(), [buffer]):
        yield buffer[:count]
