"""Following a run by its heartbeat in the catalog, with a progress bar for people."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import TransferSpeedColumn as SpeedColumn

from coffre.model.backup import Backup, Restore
from coffre.model.errors import BackupStateError, TransientError
from coffre_cli.screen import error_console

_POLL_SECONDS: Final = 0.4
# A cold start takes seconds; who has not written a record by then has not started.
_START_TIMEOUT: Final = timedelta(seconds=60)
_SILENT_TIMEOUT: Final = timedelta(seconds=90)


class NotStartedError(TransientError):
    """The function left no sign of life."""

    default_code = "RUN_NOT_STARTED"


def follow[R: (Backup, Restore)](look: Callable[[], R], *, title: str, quiet: bool, has_ended: Callable[[], bool]) -> R:
    """Wait until a run has ended and return its record.

    Parameters
    ----------
    look
        Reads the run's record; `BackupStateError` means that there is none yet.
    title
        What is shown before the bar.
    quiet
        Show nothing (for `--json`).
    has_ended
        Asked while there is no record: True when the run ended without one.

    Raises
    ------
    NotStartedError
        There was no record within a minute, or its heartbeat stopped.
    BackupStateError
        The run ended without a record.
    """
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(), SpeedColumn())
    bar = Progress(
        *columns,
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=error_console,
        transient=True,
        disable=quiet,
    )
    started = datetime.now(UTC)
    with bar:
        task = bar.add_task(title, total=None, note="starting")
        while True:
            record = _read(look, started, has_ended)
            if record is not None:
                if record.status.is_final:
                    return record
                _refuse_silence(record)
                progress = record.progress
                tables = f"{progress.done_tables}/{progress.total_tables} tables" if progress.total_tables else ""
                bar.update(
                    task,
                    completed=progress.done_bytes,
                    total=progress.total_bytes or None,
                    note=" ".join(part for part in (progress.phase, tables) if part),
                )
            time.sleep(_POLL_SECONDS)


def _read[R: (Backup, Restore)](look: Callable[[], R], started: datetime, has_ended: Callable[[], bool]) -> R | None:
    try:
        return look()
    except BackupStateError:
        if has_ended():
            raise
    if datetime.now(UTC) - started > _START_TIMEOUT:
        raise NotStartedError(
            "The function was invoked but left no sign of life for a minute.",
            hint="Look at its log group in CloudWatch; on the local stack: coffre invoke shows the function's error.",
        )
    return None


def _refuse_silence(record: Backup | Restore) -> None:
    beat = record.heartbeat_at or record.created_at
    if datetime.now(UTC) - beat > _SILENT_TIMEOUT:
        raise NotStartedError(
            f"The run {record.id} has given no sign of life since {beat:%H:%M:%S} UTC: it is dead.",
            code="RUN_DIED",
            hint="Look at the function's log for this request: " + (record.request_id or "-"),
        )
