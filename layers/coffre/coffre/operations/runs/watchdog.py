"""The watch that keeps a run honest: heartbeats, the lock, the deadline."""

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
# Time that a stopped run needs to record that it failed, and to tell somebody.
DEADLINE_RESERVE_SECONDS: Final = 20.0
# Of that, what recording and telling need themselves. The rest of it is for clearing away.
RECORDING_SECONDS: Final = 8.0
# Less than the time after which another run takes over (`dead_runs.STALE_AFTER`).
SILENT_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.25
# A run that failed does not wait longer for a catalog that does not answer.
_BEATING_SECONDS: Final = 1.0


class Watch:
    """Beats in a thread while a run works, and stops the run when it must not go on.

    Nothing that the run, or the catalog, waits for keeps it from looking at the time: it beats in one thread and looks
    in another.

    Parameters
    ----------
    meter
        What to report.
    beat
        Writes the heartbeat; raises when the run has lost its lock or its record.
    remaining_seconds
        Time until the platform kills the function.
    stop
        Called once from the watch's thread to make the run fail soon (ends children, cuts connections).
    silent_seconds
        A catalog that does not answer for so long means that nobody can see us alive: another run may take over.

    Attributes
    ----------
    reason
        Why the run has to stop.
    has_left
        Whether `run` has left its work behind.
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

        Work that goes on after it was stopped, until there is only time left to record that, is left behind: whatever
        it waits for, the run ends.
        """
        with self:
            done: Future[T] = Future()
            threading.Thread(target=_fulfil, args=(done, work), name="run", daemon=True).start()
            while not wait([done], timeout=_LOOK_SECONDS).done:
                if self.reason is not None and self._remaining_seconds() <= RECORDING_SECONDS:
                    self.has_left = True
                    self.reason.add_note("It did not end by itself when it was stopped, and was left behind.")
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
            beating.join()  # a run that goes on in another invocation must not beat any more
        else:
            left = max(0.0, self._remaining_seconds() - RECORDING_SECONDS)
            looking.join(min(left, threading.TIMEOUT_MAX))  # it may be ending what the run had begun
            beating.join(min(left, _BEATING_SECONDS))
        # Work that came to its end in spite of the watch is done: a backup that is committed must not be called failed.
        if error is not None and self.reason is not None and error is not self.reason:
            for note in getattr(error, "__notes__", ()):
                self.reason.add_note(note)
            raise self.reason from error

    def check(self) -> None:
        """Raise why the run must stop, if it must."""
        if self.reason is None and self._remaining_seconds() <= DEADLINE_RESERVE_SECONDS:
            self.reason = _deadline(self._meter.read())
        if self.reason is not None:
            raise self.reason

    def end(self, reason: Exception) -> None:
        """Stop the run from another thread; the reason is what it fails with."""
        if self.reason is None:
            self.reason = reason
            self._stop()

    def _look(self) -> None:
        while not self._done.wait(self._next_wait()):
            try:
                self.check()
                if time.monotonic() - self._heard >= self._silent_seconds:
                    self.reason = self._unheard or _silent(self._silent_seconds)
            except Exception as error:  # noqa: BLE001 - whatever it is, the run must hear of it and end
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
            except Exception as error:  # noqa: BLE001 - whatever it is, the run must hear of it and end
                if not self._done.is_set():
                    self.end(error)
                return

    def _next_wait(self) -> float:
        return max(0.05, min(self._beat_seconds, self._remaining_seconds() - DEADLINE_RESERVE_SECONDS))


def _fulfil[T](done: Future[T], work: Callable[[], T]) -> None:
    try:
        done.set_result(work())
    except BaseException as error:  # noqa: BLE001 - whoever waits gets it
        done.set_exception(error)


def _silent(seconds: float) -> CatalogError:
    return CatalogError(
        f"The catalog has not answered for {seconds:.0f} seconds: nobody can see that this run is alive.",
        code="CATALOG_UNAVAILABLE",
        hint="Is there a route to DynamoDB? A function in a VPC needs a gateway endpoint for it. Run it again.",
    )


def _deadline(progress: Progress) -> DeadlineError:
    done = f"{progress.done_bytes:,} of about {progress.total_bytes:,} bytes"
    return DeadlineError(
        "The function's time is nearly over and the job is not finished; it was stopped cleanly.",
        detail=f"phase: {progress.phase}; {done}",
        hint="Raise the function's timeout (up to 900 s) or memory (which brings cores), or exclude large tables.",
    )
