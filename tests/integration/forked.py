"""A process that dies in the middle of its work, and no other: a fork of the one that tests run in."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable

_LONGEST_SECONDS = 120


def forked(work: Callable[[], object]) -> int:
    """Do work in a process of its own and return its pid.

    It ends by itself after a while: a lock that another thread held when it was made stays locked in it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the work needs no lock of another thread
        pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # pytest's own handler would fail a test here
        signal.alarm(_LONGEST_SECONDS)
        try:
            work()
        finally:
            os._exit(7)
    return pid


def was_killed(pid: int) -> bool:
    """Wait for the end of a process, and tell whether it was killed."""
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
