"""One child process, and the end of what it has printed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Final

_STDERR_KEPT_BYTES: Final = 16 * 1024


def send_signal(child: Child, number: signal.Signals) -> None:
    """Send a signal to a child and to the workers that it has; one that has ended gets none."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


class Child(subprocess.Popen[bytes]):
    """A running client program; `output` is its stdout."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], stdin: int | IO[bytes]) -> None:
        super().__init__(
            argv,
            env=dict(environment),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            process_group=0,  # pg_restore has workers of its own: they are ended together with it
        )
        if self.stdout is None or self.stderr is None:
            raise AssertionError
        self.output = self.stdout
        self._stderr = StderrTail(self.stderr)

    def complaint(self) -> str:
        """Wait until the child has said all that it had to say on stderr, and return the end of it."""
        return self._stderr.text()


class StderrTail:
    """Reads a stream to its end in a thread, so that it never blocks the child, and keeps the last 16 KiB.

    The thread alone closes the stream: a number that another thread closed could be another child's pipe already.
    """

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
        with self._pipe, contextlib.suppress(OSError):
            while block := self._pipe.read(4096):
                self._kept += block
                del self._kept[:-_STDERR_KEPT_BYTES]
