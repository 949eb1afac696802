"""The processes of a scratch server: each of its backends leads a group of its own, so that no one signal ends all."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path


def kill_with_children(pid: int) -> None:
    """Kill a process, and then those that it has started: ones that were stopped would stay for ever."""
    started = list(_children(pid))
    for one in (pid, *started):
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def _children(pid: int) -> Iterator[int]:
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name in parentheses can hold anything, parentheses too; what follows it are the state and the parent.
            if int((place / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[1]) == pid:
                yield int(place.name)
