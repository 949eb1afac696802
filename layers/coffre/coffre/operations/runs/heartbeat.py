"""The watch over a run: heartbeats, the lock, the deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from types import TracebackType
from typing import Final, Self

from coffre.model.backup import Progress
from coffre.model.errors import CatalogError, DeadlineError
from coffre.operations.runs.progress import Meter

BEAT_SECONDS: Final = 2.0
# Time that a stopped run needs to clean up, to record its failure and to send an alert.
DEADLINE_RESERVE_SECONDS: Final = 20.0
# Of that, the time for the record and the alert. The rest is for cleaning up.
RECORDING_SECONDS: Final = 8.0
# Less than the time after which another run replaces it (`dead_runs.STALE_AFTER`).
SILENT_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.25
# A run that failed does not wait longer for a catalog that does not answer.
_BEATING_SECONDS: Final = 1.0


class Watch:
    """Sends heartbeats while a run works, and stops the run when it must not continue.

    One thread sends heartbeats, another one looks at the time: neither a run nor a catalog that hangs delays that.

    Parameters
    ----------
    meter
        What to report.
    beat
        Writes the heartbeat; raises when the run has lost its lock or its record.
    remaining_seconds
        Time until the platform kills the function.
    stop
        Called once, from a thread of the watch, to make the run fail soon (ends children, cuts connections).
    silent_seconds
        If the catalog does not answer for this long, other runs see no heartbeat, and may replace this one.

    Attributes
    ----------
    reason
        Why the run has to stop.
    has_left
        Whether `run` has abandoned its work.
    """

    def __init__(
        self,
        meter: Meter,
        *,
        beat: Callable[[Progress], None],
        remaining_seconds: Callable[[], float],
        stop: Callable[[], None],
        beat_seconds: float = BEAT_SECONDS,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        self._meter = meter
        self._beat = beat
        self._remaining_seconds = remaining_seconds
        self._stop = stop
        self._beat_seconds = beat_seconds
        self._silent_seconds = silent_seconds
        self._done = threading.Event()
        self._heard = time.monotonic()
        self._unheard: CatalogError | None = None
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for name, work in (("watch", self._look), ("heartbeat", self._beat_on))
        ]
        self.reason: Exception | None = None
        self.has_left = False

    def run[T](self, work: Callable[[], T]) -> T:
        """Do the work under this watch, in a thread of its own.

        Work that does not end after it was stopped is abandoned when only the time to record that is left. So the run
        ends, even if its work hangs.
        """
        with self:
            done: Future[T] = Future()
            threading.Thread(target=_fulfil, args=(done, work), name="run", daemon=True).start()
            while not wait([done], timeout=_LOOK_SECONDS).done:
                if self.reason is not None and self._remaining_seconds() <= RECORDING_SECONDS:
                    self.has_left = True
                    self.reason.add_note("The work did not end when it was stopped, and was left behind.")
                    raise self.reason
            return done.result()

    def __enter__(self) -> Self:
        self.check()
        self._heard = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        looking, beating = self._threads
        if error is None:
            looking.join()
            beating.join()  # after this, a run that another invocation continues must not send heartbeats
        else:
            left = max(0.0, self._remaining_seconds() - RECORDING_SECONDS)
            looking.join(min(left, threading.TIMEOUT_MAX))  # it may still be stopping the work
            beating.join(min(left, _BEATING_SECONDS))
        # Work that finished despite the watch is done: a committed backup must not be recorded as failed.
        if error is not None and self.reason is not None and error is not self.reason:
            for note in getattr(error, "__notes__", ()):
                self.reason.add_note(note)
            raise self.reason from error

    def check(self) -> None:
        """Raise the reason if the run must stop."""
        if self.reason is None and self._remaining_seconds() <= DEADLINE_RESERVE_SECONDS:
            self.reason = _deadline(self._meter.read())
        if self.reason is not None:
            raise self.reason

    def progress(self) -> Progress:
        """Return how far the run is."""
        return self._meter.read()

    def end(self, reason: Exception) -> None:
        """Stop the run from another thread; it fails with this reason."""
        if self.reason is None:
            self.reason = reason
            self._stop()

    def _look(self) -> None:
        while not self._done.wait(self._next_wait()):
            try:
                self.check()
                if time.monotonic() - self._heard >= self._silent_seconds:
                    self.reason = self._unheard or _silent(self._silent_seconds)
            except Exception as error:  # noqa: BLE001 - any error must end the run
                self.reason = error
            if self.reason is not None:
                self._stop()
                return

    def _beat_on(self) -> None:
        while not self._done.wait(self._next_wait()) and self.reason is None:
            try:
                self._beat(self._meter.read())
                self._heard = time.monotonic()
            except CatalogError as error:
                self._unheard = error
            except Exception as error:  # noqa: BLE001 - any error must end the run
                if not self._done.is_set():
                    self.end(error)
                return

    def _next_wait(self) -> float:
        return max(0.05, min(self._beat_seconds, self._remaining_seconds() - DEADLINE_RESERVE_SECONDS))


def _fulfil[T](done: Future[T], work: Callable[[], T]) -> None:
    try:
        done.set_result(work())
    except BaseException as error:  # noqa: BLE001 - the waiting thread gets it
        done.set_exception(error)


def _silent(seconds: float) -> CatalogError:
    return CatalogError(
        f"The catalog has not answered for {seconds:.0f} seconds: other runs may take this one for dead.",
        code="CATALOG_UNAVAILABLE",
        hint="Check the route to DynamoDB: a function in a VPC needs a gateway endpoint for it. Run it again.",
    )


def _deadline(progress: Progress) -> DeadlineError:
    done = f"{progress.done_bytes:,} of about {progress.total_bytes:,} bytes"
    return DeadlineError(
        "The function's time is nearly over and the job is not finished; it was stopped cleanly.",
        detail=f"phase: {progress.phase}; {done}",
        hint="Raise the function's timeout (up to 900 s) or memory (which brings cores), or exclude large tables.",
    )
