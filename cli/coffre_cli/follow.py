"""Follow a run by its heartbeat in the catalog, with a progress bar on terminals."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from coffre.model.errors import BackupStateError, CatalogError, TransientError
from coffre.model.words import counted, duration, size
from coffre_cli.screen import error_console

if TYPE_CHECKING:
    from rich.progress import Progress

    from coffre.model.backup import Backup, Restore
    from coffre.model.backup import Progress as Done
    from coffre_cli.deployed import DeployedStack

_POLL_SECONDS: Final = 0.4
# A cold start takes seconds: a function that has written no record by then has not started.
_START_SECONDS: Final = 60.0
# Heartbeats come every two seconds.
_SILENT_SECONDS: Final = 90.0
# A run that continues in another invocation says until when that may begin: its heartbeat is of a time to come.
_LONGEST_AHEAD_SECONDS: Final = 900.0


class NotStartedError(TransientError):
    """The function wrote no heartbeat."""

    default_code = "RUN_NOT_STARTED"


def follow[R: (Backup, Restore)](look: Callable[[], R], *, title: str, quiet: bool, has_ended: Callable[[], bool]) -> R:
    """Wait until a run has ended and return its record.

    Parameters
    ----------
    look
        Reads the run's record; `BackupStateError` means that it does not exist yet. A `CatalogError` is tolerated as
        long as a heartbeat may be missing: the run itself continues.
    title
        What is shown before the bar.
    quiet
        Show nothing (for `--json`).
    has_ended
        Called while no record exists: True when the run ended without one.

    Raises
    ------
    NotStartedError
        No record appeared within a minute, or its heartbeat stopped.
    BackupStateError
        The run ended without a record.
    CatalogError
        The catalog did not answer for 90 seconds.
    """
    signs = _Signs()
    with bar(quiet=quiet) as shown:
        task = shown.add_task(title, total=None, facts="starting")
        while True:
            try:
                record = _look(look, has_ended)
            except CatalogError:
                if signs.silent_seconds() > _SILENT_SECONDS:
                    raise
                time.sleep(_POLL_SECONDS)
                continue
            if record is None:
                signs.none()
            else:
                if record.status.is_final:
                    return record
                signs.seen(record)
                done = record.progress
                shown.update(task, completed=done.done_bytes, total=done.total_bytes or None, facts=facts(record))
            time.sleep(_POLL_SECONDS)


def _look[R: (Backup, Restore)](look: Callable[[], R], has_ended: Callable[[], bool]) -> R | None:
    """Return the record as it is now; None: it does not exist yet."""
    try:
        return look()
    except BackupStateError:
        if has_ended():
            raise
    return None


@contextmanager
def left_on_interrupt(deployed: DeployedStack, run_id: str) -> Iterator[None]:
    """Leave a run on Ctrl-C: one in the stack continues, one in this process is stopped (`DeployedStack.leave`).

    An error while a run in this process is followed does not end that run: its end is awaited.
    """
    try:
        try:
            yield
        except Exception:
            deployed.settle()
            raise
    except KeyboardInterrupt:
        deployed.leave(run_id)


class _Signs:
    """When the last heartbeat was seen, by this machine's clock: the function's may differ from it."""

    def __init__(self) -> None:
        self._heard = time.monotonic()
        self._beat: datetime | None = None
        self._patience = _SILENT_SECONDS

    def silent_seconds(self) -> float:
        return time.monotonic() - self._heard

    def none(self) -> None:
        if self.silent_seconds() > _START_SECONDS:
            raise NotStartedError(
                "The function was invoked but wrote no record for a minute.",
                hint="Look at its log group in CloudWatch; `coffre invoke` shows an error at its start. "
                "If it starts late, `coffre list` will show the run.",
            )

    def seen(self, record: Backup | Restore) -> None:
        beat = record.heartbeat_at or record.created_at
        if beat != self._beat:
            self._beat, self._heard = beat, time.monotonic()
            ahead = (beat - datetime.now(UTC)).total_seconds()
            self._patience = _SILENT_SECONDS + min(max(ahead, 0.0), _LONGEST_AHEAD_SECONDS)
        elif self.silent_seconds() > self._patience:
            raise NotStartedError(
                f"The run {record.id} has had no heartbeat since {beat:%H:%M:%S} UTC: it is dead.",
                code="RUN_DIED",
                hint=f"Look at the function's log for the request {record.request_id or '-'}.",
            )


def facts(record: Backup | Restore) -> str:
    """Return the progress of a run in words: `12.0 of 70.0 MB, 5.1 MB/s, 12 s left, 12/49 tables`, or its phase.

    Of a run of several functions, the numbers are those of all of them together, and it has their number: `4 workers`.
    """
    done = record.progress
    things, is_over = _things(done)
    # Each worker has its own tables: the last table is begun long before all of its bytes are read.
    is_over = is_over and not done.workers
    if not done.total_bytes or done.done_bytes >= done.total_bytes or is_over:
        so_far = f"{size(done.done_bytes)} so far" if done.done_bytes and not done.total_bytes else ""
        return ", ".join(part for part in (done.phase, so_far, things) if part)
    amount = f"{size(done.done_bytes)} of {size(done.total_bytes)}"
    workers = counted(done.workers, "worker") if done.workers else ""
    return ", ".join(part for part in (amount, *_speed(record, done), things, workers) if part)


def _things(done: Done) -> tuple[str, bool]:
    """Return how many tables or objects of how many are done, and whether these are all."""
    if done.total_objects:
        return f"{done.done_objects:,}/{done.total_objects:,} objects", done.done_objects >= done.total_objects
    tables = f"{done.done_tables}/{done.total_tables} tables" if done.total_tables else ""
    return tables, done.done_tables >= done.total_tables


def _speed(record: Backup | Restore, done: Done) -> tuple[str, ...]:
    """Return rate and time left, both by the run's own clock; nothing in its first second."""
    if record.heartbeat_at is None or not done.done_bytes:
        return ()
    seconds = (record.heartbeat_at - record.created_at).total_seconds()
    if seconds < 1:
        return ()
    rate = done.done_bytes / seconds
    left = max(1, round((done.total_bytes - done.done_bytes) / rate))
    return f"{size(int(rate))}/s", f"{left} s left" if left < 60 else f"{duration(left * 1000)} left"


def bar(*, quiet: bool) -> Progress:
    """Return the progress bar of a run, shown on terminals only."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
    from rich.table import Column

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=None, table_column=Column(ratio=1)),
        TextColumn("{task.fields[facts]}"),
        console=error_console,
        transient=True,
        expand=True,
        disable=quiet or not error_console.is_terminal,
    )
