"""Child processes that outlive the command that started them, found again by pid and start time."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

# Linux derives start times from the boot time, which moves a little when the clock is set.
START_TOLERANCE_SECONDS = 2.0

# The shell puts the command in the background and prints its pid; $0 is the log. No parent has to wait for it then.
DETACH = 'umask 077; "$@" >>"$0" 2>&1 </dev/null & echo $!'


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """Names one process for ever: a pid alone may be given to another process later."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> "ProcessMark":
        """Return the mark of a process that runs now."""
        return cls(pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """Return the process, or None when it is gone (or only waits to be collected)."""
        try:
            process = psutil.Process(self.pid)
            alive = process.status() != psutil.STATUS_ZOMBIE
            same = abs(process.create_time() - self.started) < START_TOLERANCE_SECONDS
        except psutil.NoSuchProcess:
            return None
        return process if alive and same else None


def start_detached(
    arguments: list[str], *, environment: Mapping[str, str], log: Path, directory: Path, user: int | None = None
) -> ProcessMark:
    """Start a program in a session of its own, with its output in a log, and do not wait for it.

    Parameters
    ----------
    user
        User and group id to run as; the caller's when None.

    Raises
    ------
    psutil.NoSuchProcess
        The program ended immediately.
    """
    shell = subprocess.run(
        ["/bin/sh", "-c", DETACH, str(log), *arguments],
        env=dict(environment),
        cwd=directory,
        stdout=subprocess.PIPE,
        check=True,
        start_new_session=True,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )
    return ProcessMark.of(int(shell.stdout))


def end(mark: ProcessMark, *, first: signal.Signals = signal.SIGTERM, patience_seconds: float = 10.0) -> None:
    """End a process and what it started: ask with a signal, then kill. Does nothing when it is gone."""
    process = mark.process()
    if process is None:
        return
    family = [process, *_children_of(process)]
    _send(process, first)
    deadline = time.monotonic() + patience_seconds
    while mark.process() is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    for member in family:
        _send(member, signal.SIGKILL)
    while any(_is_alive(member) for member in family) and time.monotonic() < deadline + patience_seconds:
        time.sleep(0.01)


def _children_of(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _send(process: psutil.Process, number: signal.Signals) -> None:
    # psutil refuses when the pid belongs to another process by now.
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def minimal_environment(**additions: str) -> dict[str, str]:
    """Return the few variables a child program of ours needs, and nothing of the user's."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C", "LC_ALL": "C", **additions}
