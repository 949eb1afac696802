"""A PostgreSQL server of our own for one drill: made in a directory, our child, gone before the function answers.

Nothing of it outlives the drill, so nothing of it waits for the disk. It listens on a socket in its directory alone,
and every role has a random password that is kept nowhere.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

from coffre.model.errors import CoffreError, ConnectError, ConnectTransientError, DrillImpossibleError
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.client_tools import PostgresTools
from coffre.postgres.connection.sessions import Sessions
from coffre.postgres.scratch.processes import kill_with_children
from coffre.postgres.scratch.programs import reachable, trust_extensions
from coffre.postgres.scratch.server_settings import OWN_SETTINGS, SETTINGS, THROWAWAY_SETTINGS

# PostgreSQL refuses to run as root (field note 38), and initdb wants a user that has a name.
_NOBODY: Final = 65534
_PORT: Final = 5432
_START_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.01
_STOP_SECONDS: Final = 3.0
_LAST_WORDS_SECONDS: Final = 2.0
# The line of postmaster.pid with the server's state, which pg_ctl waits for too.
_STATE_LINE: Final = 7
_SAID_BYTES: Final = 8192
_NO_SHARED_MEMORY: Final = re.compile(r"could not create shared memory segment|shmget|shmat")
NO_SPACE: Final = re.compile(r"No space left on device|Disk quota exceeded|SQLSTATE 53100")
_KILLED: Final = re.compile(r"was terminated by signal 9|exit status -9|Cannot allocate memory|out of memory")


@dataclass(frozen=True)
class ScratchServer:
    """A running server. `superuser` makes roles and looks into files; nothing of a backup is ever run by it."""

    directory: Path
    superuser: str
    password: str = field(repr=False)
    sessions: Sessions | None = field(default=None, repr=False)

    def connection(self, database: str, user: str | None = None) -> Connection:
        """Return how to reach a database of it; every role has the same password."""
        return Connection(
            host=str(self.directory),
            port=_PORT,
            user=user or self.superuser,
            password=self.password,
            database=database,
            sslmode="disable",
            sessions=self.sessions,
        )

    def kill(self) -> None:
        """Kill it with all that it has started, however it was left, and remove its directory."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            kill_with_children(int((self.directory / "data" / "postmaster.pid").read_text().splitlines()[0]))
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def said(self) -> str:
        """The end of the server's log."""
        try:
            return (self.directory / "server.log").read_bytes()[-_SAID_BYTES:].decode("utf-8", "replace")
        except OSError:
            return ""

    def used_bytes(self) -> int:
        """Return what the server's files take now; some come and go while they are counted."""
        total, folders = 0, [str(self.directory / "data")]
        while folders:
            with contextlib.suppress(OSError), os.scandir(folders.pop()) as found:
                for one in found:
                    if one.is_dir(follow_symlinks=False):
                        folders.append(one.path)
                        continue
                    with contextlib.suppress(OSError):
                        total += one.stat().st_blocks * 512
        return total

    def refuse_impossible(self, error: BaseException) -> None:
        """Raise when an error is not about what was restored, but about the place where it was tried.

        Raises
        ------
        DrillImpossibleError
            `SCRATCH_FULL`, `SCRATCH_MEMORY` or `SCRATCH_SERVER_FAILED`.
        """
        is_gone = isinstance(error, ConnectError | ConnectTransientError) or _code_of(error) == "CONNECTION_LOST"
        words = f"{error} {getattr(error, 'detail', '') or ''} {self._last_words() if is_gone else self.said}"
        if NO_SPACE.search(words):
            raise _full() from error
        if _KILLED.search(words):
            raise DrillImpossibleError(
                "The scratch server ran out of memory.",
                code="SCRATCH_MEMORY",
                detail=_last_line(self.said),
                hint="Nothing is known against the backup. Give the function `drill` more memory (DrillMemorySize).",
            ) from error
        if is_gone:
            raise _failed("The scratch PostgreSQL server went away.", words) from error

    def _last_words(self) -> str:
        """Wait until the server has logged why a session ended: the session's own end is seen before."""
        deadline = time.monotonic() + _LAST_WORDS_SECONDS
        while time.monotonic() < deadline and not (_KILLED.search(self.said) or NO_SPACE.search(self.said)):
            time.sleep(_LOOK_SECONDS)
        return self.said


@contextmanager
def scratch_server(tools: PostgresTools) -> Iterator[ScratchServer]:
    """Make a server, start it, and remove it with everything in it.

    Raises
    ------
    DrillImpossibleError
        `SHARED_MEMORY_UNAVAILABLE`, `SCRATCH_FULL` or `SCRATCH_SERVER_FAILED`: nothing of it says anything about a
        backup.
    """
    directory = Path(tempfile.mkdtemp(prefix="coffre-server-"))
    try:
        user = _NOBODY if os.geteuid() == 0 else None
        if user is not None:
            os.chown(directory, user, user)
            with _told_apart():
                tools = PostgresTools(reachable(tools.home, directory))
        server = ScratchServer(directory, f"scratch_{secrets.token_hex(4)}", secrets.token_urlsafe(24))
        _initialise(tools, server, user)
        with _running(tools, server, user):
            yield server
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _initialise(tools: PostgresTools, server: ScratchServer, user: int | None) -> None:
    with _told_apart():
        trust_extensions(tools.home, server.directory)
        password_file = server.directory / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(f"{server.password}\n")
        if user is not None:
            os.chown(password_file, user, user)
        argv = [tools.program("initdb"), "--no-sync", "--no-instructions", "--locale=C", "--encoding=UTF8"]
        argv += ["--auth=scram-sha-256", f"--username={server.superuser}", f"--pwfile={password_file}"]
        argv += [f"--pgdata={server.directory / 'data'}"]
        done = subprocess.run(
            argv, capture_output=True, check=False, timeout=_START_SECONDS, **_surroundings(tools, server, user)
        )
        password_file.unlink()
    if done.returncode != 0:
        _refuse(done.stderr.decode("utf-8", "replace"))


@contextmanager
def _running(tools: PostgresTools, server: ScratchServer, user: int | None) -> Iterator[None]:
    own = {"port": str(_PORT), "unix_socket_directories": str(server.directory)}
    own["extension_control_path"] = f"{server.directory / 'trusted'}:$system"
    lines = {**SETTINGS, **THROWAWAY_SETTINGS, **OWN_SETTINGS, **own}
    pairs = [part for name, value in lines.items() for part in ("-c", f"{name}={value}")]
    with _told_apart(), (server.directory / "server.log").open("ab") as log:
        child = subprocess.Popen(
            [tools.program("postgres"), "-D", str(server.directory / "data"), *pairs],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **_surroundings(tools, server, user),
        )
    try:
        _wait_until_ready(server, child)
        yield
    finally:
        _stop(child)


def _wait_until_ready(server: ScratchServer, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            child.wait(timeout=_LOOK_SECONDS)
            break
        except subprocess.TimeoutExpired:
            if _state(server.directory / "data" / "postmaster.pid") == "ready":
                return
    _refuse(server.said)


def _state(pid_file: Path) -> str:
    try:
        lines = pid_file.read_text().splitlines()
    except OSError:
        return ""
    return lines[_STATE_LINE].strip() if len(lines) > _STATE_LINE else ""


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End the server and all that it has started: a frozen function would keep them (field note 39)."""
    child.send_signal(signal.SIGQUIT)
    try:
        child.wait(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        kill_with_children(child.pid)
        child.wait()


def _surroundings(tools: PostgresTools, server: ScratchServer, user: int | None) -> dict[str, Any]:
    """Return where and as whom a program of the server runs, for `subprocess`."""
    environment = {**tools.environment(), "HOME": str(server.directory), "TZ": "UTC"}
    as_whom = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    return {"cwd": server.directory, "env": environment, **as_whom}


@contextmanager
def _told_apart() -> Iterator[None]:
    try:
        yield
    except (OSError, subprocess.TimeoutExpired) as error:
        if NO_SPACE.search(str(error)):
            raise _full() from error
        raise _failed("The scratch PostgreSQL server could not be started.", str(error)) from error


def _refuse(said: str) -> NoReturn:
    if _NO_SHARED_MEMORY.search(said):
        raise DrillImpossibleError(
            "PostgreSQL cannot run here: the system gives it no shared memory (SysV shmget).",
            code="SHARED_MEMORY_UNAVAILABLE",
            detail=_last_line(said),
            hint="Nothing is known against the backup. Restore it into a server of yours to prove it, and rely on "
            "`coffre verify --level read` meanwhile.",
        )
    if NO_SPACE.search(said):
        raise _full()
    raise _failed("The scratch PostgreSQL server could not be started.", said)


def _failed(what: str, said: str) -> DrillImpossibleError:
    return DrillImpossibleError(
        what,
        code="SCRATCH_SERVER_FAILED",
        detail=said.strip()[-800:] or None,
        hint="Nothing is known against the backup. The detail is the server's own explanation; is the layer "
        "PostgresqlServerLayer of this function's architecture?",
    )


def _code_of(error: BaseException) -> str:
    return error.code if isinstance(error, CoffreError) else ""


def _full() -> DrillImpossibleError:
    return DrillImpossibleError(
        "The function's temporary disk is too small for what the drill restores.",
        code="SCRATCH_FULL",
        hint="Nothing is known against the backup. Raise DrillStorageSize (up to 10,240 MB): tables are drilled in "
        "groups that fit, so the largest table with its indexes has to. Or drill it elsewhere: coffre verify --level "
        "drill ID --here, or --scratch env:NAME (docs/here.md).",
    )


def _last_line(said: str) -> str | None:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:500] if lines else None
