"""The client programs: how each is started, watched, ended, and how its complaints become errors."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import psycopg2

from coffre.model.errors import (
    CoffreError,
    ConnectError,
    DumpError,
    DumpTransientError,
    ServerVersionError,
    SettingsError,
)
from coffre.postgres.connect import Connection, explain_refusal

_STDERR_KEPT_BYTES: Final = 16 * 1024
_VERSION: Final = re.compile(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?")


class Children:
    """The child processes of one run, so that they can all be ended at once (deadline, first error)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._cancels: list[Callable[[], None]] = []
        self._ended = False

    def start(
        self, argv: Sequence[str], environment: Mapping[str, str], *, stdin: int | IO[bytes] = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """Start a child with pipes at stdout and stderr. After `end_all` no child starts any more."""
        with self._lock:
            if self._ended:
                raise DumpTransientError("The run is being stopped.", code="STOPPED")
            child = subprocess.Popen(
                argv, env=dict(environment), stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
            )
            self._running.add(child)
            return child

    def cancel_too(self, cancel: Callable[[], None]) -> None:
        """Let `end_all` also call this, for example a session's `cancel`."""
        with self._lock:
            self._cancels.append(cancel)

    def forget(self, child: subprocess.Popen[bytes]) -> None:
        """Kill the child if it still runs, reap it and close its pipes."""
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        with self._lock:
            self._running.discard(child)

    def end_all(self) -> None:
        """Kill every child. Their readers then see the end of the stream and a non-zero status."""
        with self._lock:
            self._ended = True
            for child in self._running:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
            for cancel in self._cancels:
                with contextlib.suppress(psycopg2.Error):
                    cancel()


class StderrTail:
    """Reads a child's stderr to the end in a thread, keeps the last 16 KiB, so that it never blocks the child."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._kept = bytearray()
        self._pipe = pipe
        self._thread = threading.Thread(target=self._read, name="stderr", daemon=True)
        self._thread.start()

    def text(self) -> str:
        """Wait for the end of the stream and return what was kept."""
        self._thread.join(timeout=5)
        return self._kept.decode("utf-8", "replace").strip()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while block := self._pipe.read(4096):
                self._kept += block
                del self._kept[:-_STDERR_KEPT_BYTES]


@dataclass(frozen=True)
class PostgresTools:
    """The directory of PostgreSQL's client programs: `home/bin` and `home/lib`."""

    home: Path

    def program(self, name: str) -> str:
        """Return the path of a program.

        Raises
        ------
        SettingsError
            Code `TOOLS_MISSING`.
        """
        path = self.home / "bin" / name
        if not path.is_file():
            raise SettingsError(
                f"The PostgreSQL client program {name} is not at {path}.",
                code="TOOLS_MISSING",
                hint="Attach the layer PostgresqlClientLayer to this function, or set COFFRE_POSTGRES_HOME.",
            )
        return str(path)

    def environment(self, connection: Connection | None = None) -> dict[str, str]:
        """Return a child's whole environment: nothing of ours leaks into it (no AWS credentials)."""
        variables = {
            "PATH": f"{self.home / 'bin'}:/usr/bin:/bin",
            "LD_LIBRARY_PATH": str(self.home / "lib"),
            "LC_ALL": "C",
            "HOME": "/nonexistent",
            "PGPASSFILE": "/nonexistent/pgpass",  # libpq warns about /dev/null, and keeps quiet about a missing file
        }
        return variables | connection.environment() if connection else variables

    def version(self) -> tuple[int, int]:
        """Return pg_dump's version, for example (18, 6)."""
        done = subprocess.run(
            [self.program("pg_dump"), "--version"], env=self.environment(), capture_output=True, check=False, timeout=30
        )
        found = _VERSION.search(done.stdout.decode("utf-8", "replace"))
        if done.returncode != 0 or found is None:
            raise SettingsError(
                f"The PostgreSQL client program pg_dump in {self.home} does not run.",
                code="TOOLS_BROKEN",
                detail=done.stderr.decode("utf-8", "replace").strip()[-500:],
                hint="Rebuild the layer PostgresqlClientLayer for this function's architecture.",
            )
        return int(found[1]), int(found[2] or 0)

    def refuse_newer_server(self, connection: Connection, server_version_number: int) -> None:
        """Refuse a server whose major version is newer than the tools' (field note 6)."""
        server_major, tools_major = server_version_number // 10000, self.version()[0]
        if server_major > tools_major:
            raise ServerVersionError(
                f"The server {connection} is PostgreSQL {server_major}, newer than the client tools ({tools_major}).",
                hint="Update Coffre to a version with newer client tools; an older pg_dump cannot be trusted here.",
            )


@contextlib.contextmanager
def output_of(
    children: Children, argv: Sequence[str], environment: Mapping[str, str], connection: Connection | None
) -> Iterator[IO[bytes]]:
    """Run a dumping program and give its stdout; leaving without error means that it exited with 0.

    Warnings on stderr are not failures (field note 22): the exit status is.

    Raises
    ------
    CoffreError
        What the program complained about, translated by `explain_complaint`.
    """
    child = children.start(argv, environment)
    if child.stdout is None or child.stderr is None:
        raise AssertionError
    stderr = StderrTail(child.stderr)
    try:
        yield child.stdout
        status = child.wait()
        if status != 0:
            raise explain_complaint(connection, Path(argv[0]).name, status, stderr.text())
    finally:
        children.forget(child)


_PERMISSION: Final = re.compile(r"permission denied for ([a-z ]+?) (\"?[^\n]+?\"?)(?:\n|$)")
_ROW_SECURITY: Final = re.compile(r"row-level security policy for table \"?([^\n\"]+)")
_PASSING: Final[tuple[tuple[str, str, str, str], ...]] = (
    (
        r"lock timeout|could not obtain lock",
        "LOCK_TIMEOUT",
        "A table is locked by somebody else for longer than limits.lock_timeout_seconds.",
        "It is tried again. Find the session that holds an ACCESS EXCLUSIVE lock (ALTER TABLE, VACUUM FULL).",
    ),
    (
        (
            r"server closed the connection|terminating connection|connection to server was lost|Connection reset"
            r"|SSL connection has been closed|could not receive data from server|SSL SYSCALL"
            r"|no connection to the server"
        ),
        "CONNECTION_LOST",
        "The connection to the database was cut while it was being read.",
        "Nothing was published. Run the backup again; if it goes on, look at the server's log and idle limits.",
    ),
    (
        r"relation .* does not exist|could not open relation|cache lookup failed",
        "SCHEMA_CHANGED",
        "A table was dropped or changed while the backup began.",
        "It is tried again with a new snapshot.",
    ),
)


def explain_complaint(connection: Connection | None, program: str, status: int, stderr: str) -> CoffreError:
    """Turn a failed program's stderr into an error that says what to do."""
    if connection is None:
        return _failed(program, status, stderr, "a file")
    where = f"{connection}"
    detail = stderr[-800:] or f"exit status {status}, nothing on stderr"
    if found := _PERMISSION.search(stderr):
        return DumpError(
            f'The role "{connection.user}" may not read the {found[1]} {found[2].strip()} of {where}.',
            code="PERMISSION_DENIED",
            detail=detail,
            hint=f'Run: GRANT pg_read_all_data TO "{connection.user}"; or exclude the table in the configuration.',
        )
    if found := _ROW_SECURITY.search(stderr):
        return DumpError(
            f'Row level security hides rows of {found[1]} in {where} from the role "{connection.user}".',
            code="ROW_SECURITY",
            detail=detail,
            hint=f'Run: ALTER ROLE "{connection.user}" BYPASSRLS; a backup that silently lacks rows is none.',
        )
    if "server version mismatch" in stderr:
        return ServerVersionError(f"The server {where} is newer than {program}.", detail=detail, hint="Update Coffre.")
    for pattern, code, message, hint in _PASSING:
        if re.search(pattern, stderr):
            return DumpTransientError(message, code=code, detail=detail, hint=hint)
    if (
        "connection to server" in stderr
        and (refusal := explain_refusal(connection, stderr)).code != ConnectError.default_code
    ):
        return refusal
    return _failed(program, status, stderr, where)


def _failed(program: str, status: int, stderr: str, where: str) -> DumpError:
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return DumpError(
        f"{program} {how} while reading {where}.",
        code="TOOL_FAILED",
        detail=stderr[-800:] or None,
        hint="Nothing was published and older backups are untouched. The detail is the program's own last words.",
    )


def set_pipe_size(pipe: IO[bytes], size_bytes: int) -> None:
    """Enlarge a pipe, so that the writer goes on while we compress. Best effort: Linux only, bounded by the system."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import fcntl

        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, size_bytes)


def read_into(pipe: IO[bytes], view: memoryview) -> int:
    """Read what is there, at most `len(view)` bytes, straight into `view`; 0 at the end of the stream."""
    return os.readv(pipe.fileno(), [view])
