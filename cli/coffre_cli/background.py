"""Work that runs while something else is shown."""

from __future__ import annotations

import threading
from collections.abc import Callable

from coffre.model.errors import PermanentError


class InterruptedRunError(PermanentError):
    """The user pressed Ctrl-C."""

    default_code = "INTERRUPTED"


class Background[T]:
    """Work in a thread of its own; Ctrl-C does not wait for it."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._done: list[T] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), name="background", daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], T]) -> None:
        try:
            self._done.append(work())
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
            self._error = error

    def has_ended(self) -> bool:
        """Return whether the work is over."""
        return not self._thread.is_alive()

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the work for so long at most, and return whether it is over."""
        self._thread.join(seconds)
        return self.has_ended()

    def result(self) -> T:
        """Wait for the work, and return or raise what it did."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._done[0]
