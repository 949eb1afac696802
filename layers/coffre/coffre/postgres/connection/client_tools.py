"""The client programs: how each is started, watched and ended."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import IO, Final

import psycopg2.extensions

from coffre.model.errors import ServerVersionError, SettingsError
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.child_process import Child, send_signal
from coffre.postgres.connection.end_sessions import end_at_server
from coffre.postgres.connection.query_errors import explain_complaint
from coffre.postgres.connection.sessions import Sessions

_CANCEL_SECONDS: Final = 1.0  # of the deadline's reserve: what a server needs to take requests to cancel, with room
_END_SECONDS: Final = 2.0  # of it: what a client needs to cancel its query, with room
_VERSION: Final = re.compile(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?")


class Children:
    """The child processes and sessions of one run, so that they can all be ended together (deadline, first error).

    Parameters
    ----------
    clearing_seconds
        How long clearing away may take from now on, once the run is stopped. None: as long as it takes.
    run_id
        Of a run that another process may continue, which then finds the sessions of this one by their name.

    Attributes
    ----------
    remarks
        What a person has to know after `end_all`: that something of the run may still run at the server.
    has_paused
        Whether the run ended by `pause`: its errors since then mean nothing else.
    """

    def __init__(self, clearing_seconds: Callable[[], float] | None = None, run_id: str | None = None) -> None:
        self.sessions = Sessions(clearing_seconds, run_id)
        self.has_paused = False
        self.remarks: tuple[str, ...] = ()
        self._lock = threading.Lock()
        self._ending = threading.Lock()
        self._running: set[Child] = set()
        self._server: Connection | None = None
        self._is_over = False

    def watching(self, connection: Connection) -> Connection:
        """Return a connection whose sessions, and those of client programs that get it, end with this run.

        The last one that was asked for is where `end_all` makes sure of it.
        """
        self._server = replace(connection, sessions=self.sessions)
        return self._server

    def check(self) -> None:
        """Raise after `end_all`: for work that neither starts a child nor waits for a session.

        Raises
        ------
        DumpTransientError
            Code `STOPPED`. Why the run is stopped is what its watch raises in the end.
        """
        self.sessions.check()

    def start(
        self, argv: Sequence[str], environment: Mapping[str, str], *, stdin: int | IO[bytes] = subprocess.DEVNULL
    ) -> Child:
        """Start a child with a pipe at stdout. After `end_all` no child starts any more."""
        with self._lock:
            self.check()
            child = Child(argv, environment, stdin)
            self._running.add(child)
            return child

    @contextlib.contextmanager
    def cancelling(self, session: psycopg2.extensions.connection) -> Iterator[None]:
        """Let `end_all` also end this session, if its connection is not one that this run watches already."""
        with self.sessions.holding(session):
            yield

    def forget(self, child: Child) -> None:
        """Kill the child and its own children if they still run, reap it and close its pipes."""
        send_signal(child, signal.SIGKILL)
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        with self._lock:
            self._running.discard(child)

    @contextlib.contextmanager
    def ending(self) -> Iterator[None]:
        """Leave nothing of a run that fails inside: end all, and note at the error what could not be ended."""
        try:
            yield
        except Exception as error:
            self.end_all()
            for remark in self.remarks:
                error.add_note(remark)
            raise

    def pause(self) -> None:
        """End all as `end_all` does, but leave the statements of sessions that last to the server."""
        with self._lock:
            if self.sessions.has_ended:
                return
            self.has_paused = True
        self.sessions.abandon()  # first: a thread that sees an error calls `end_all`
        self.end_all()

    def end_all(self) -> None:
        """End every child, and every session, here and at the server. Their users then see an error.

        A session is cancelled first. What has not ended within a second, a cancel that came before its statement for
        one, is terminated from a session of our own. A server that does not answer keeps no caller waiting: the
        connections to it are broken. A second caller waits until all of this is done.
        """
        with self._lock:
            self.sessions.end()
            children = list(self._running)
        with self._ending:
            if self._is_over:
                return
            for child in children:
                send_signal(child, signal.SIGTERM)
            answers = self.sessions.cancel(seconds=_CANCEL_SECONDS)
            if not answers:
                self.sessions.cut(all_of_them=True)
            # A child gets a moment to cancel what its server is doing: the backend of a killed client works on until
            # it has something to say.
            deadline = time.monotonic() + _END_SECONDS
            for child in children:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(timeout=max(0.0, deadline - time.monotonic()))
                send_signal(child, signal.SIGKILL)
            self._end_at_server()
            self._is_over = True

    def _end_at_server(self) -> None:
        # A login that was refused is not tried a third time: some servers lock a role out.
        if self._server is not None and not self.sessions.is_kept_out:
            own = self.sessions
            names = (own.name,) if self.has_paused else (own.name, own.lasting_name)
            remark = end_at_server(self._server, *names)
            self.remarks = (remark,) if remark else ()
        self.sessions.cut(all_of_them=False)


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
        """Return pg_dump's version, for example (18, 6). It is asked once."""
        return _version_of(self)

    def _ask_version(self) -> tuple[int, int]:
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


@cache
def _version_of(tools: PostgresTools) -> tuple[int, int]:
    return tools._ask_version()


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
    try:
        yield child.output
        status = child.wait()
        if status != 0:
            raise explain_complaint(connection, Path(argv[0]).name, status, child.complaint())
    finally:
        children.forget(child)
