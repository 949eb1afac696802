"""What the kernel knows of processes: CPU seconds of those that ended, memory of those that run."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import psutil

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_SAMPLE_SECONDS: Final = 0.05
# Looking through all of /proc for new children takes 3 ms; reading the memory of known ones, a few dozen microseconds.
_LOOK_SECONDS: Final = 0.25
_SESSION_END_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Ended:
    """A process that ended: its status, and the CPU seconds of it and of all its descendants that were waited for."""

    status: int
    cpu_seconds: float


def wait_for(child: subprocess.Popen[bytes]) -> Ended:
    """Wait for a child and return what it used."""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)  # so that Popen does not wait for it again
    return Ended(child.returncode, usage.ru_utime + usage.ru_stime)


def cpu_of_process(pid: int | None) -> float:
    """Return the CPU seconds of one process; 0 for None."""
    if pid is None:
        return 0.0
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def cpu_of_server(postmaster: int | None) -> float:
    """Return the CPU seconds of a PostgreSQL server, all that it ever started included; 0 for None.

    Waits until the sessions of those who were measured have ended: one that ends between two looks would be lost.
    """
    if postmaster is None:
        return 0.0
    root = psutil.Process(postmaster)
    deadline = time.monotonic() + _SESSION_END_SECONDS
    while time.monotonic() < deadline and any(_is_session(child) for child in root.children()):
        time.sleep(0.005)
    times = root.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in root.children():
        times = child.cpu_times()
        total += times.user + times.system
    return float(total)


def _is_session(process: psutil.Process) -> bool:
    """Whether this is a server process of a client, by its title, or one that is about to end."""
    try:
        title = " ".join(process.cmdline())
        return not title or "127.0.0.1(" in title
    except psutil.NoSuchProcess:
        return True  # it was there a moment ago


class TreeMemory:
    """The peak of the sum of resident sizes, private and shared, of some processes and all their descendants.

    Use as a context manager; `peak` is bytes. Sampled 20 times a second: a shorter peak may be missed.
    """

    def __init__(self, roots: Sequence[int]) -> None:
        self.peak = 0
        self._roots = roots
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        looked = float("-inf")
        known: list[int] = []
        while not self._done.is_set():
            if time.monotonic() - looked > _LOOK_SECONDS:
                known, looked = self._look(), time.monotonic()
            self.peak = max(self.peak, sum(_resident_bytes(pid) for pid in known))
            self._done.wait(_SAMPLE_SECONDS)

    def _look(self) -> list[int]:
        found = set(self._roots)
        for root in self._roots:
            try:
                found |= {child.pid for child in psutil.Process(root).children(recursive=True)}
            except psutil.NoSuchProcess:
                continue
        return sorted(found)


def peak_of_process() -> int:
    """Return the most bytes that were resident of this process; `ru_maxrss` counts those of who started it too."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (FileNotFoundError, ProcessLookupError):
        return 0
