"""The life of a restore in the catalog: record, heartbeat, report, end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Failure, Progress, Restore, RestoreReport, Status
from coffre.model.errors import BackupStateError, CoffreError
from coffre.operations.admission import STALE_AFTER
from coffre.operations.progress import BEAT_SECONDS, Meter, Watch
from coffre.operations.restore_plan import refuse_unrestorable
from coffre.vault.vault import Vault


@dataclass(frozen=True)
class RestoreRun:
    """Records a restore from its first second to its end, whatever that is.

    Parameters
    ----------
    now, remaining_seconds, stop
        As in `coffre.operations.lifecycle.Lifecycle`.
    tell_died
        Gets the record of an earlier restore that was found dead and marked FAILED.
    """

    catalog: Catalog
    vault: Vault
    now: Callable[[], datetime]
    remaining_seconds: Callable[[], float]
    stop: Callable[[], None]
    beat_seconds: float = BEAT_SECONDS
    tell_died: Callable[[Restore], None] = lambda _: None

    def run(self, restore: Restore, work: Callable[[Meter], RestoreReport | None], *, goes_on: bool = False) -> Restore:
        """Do the work, keep its report in the vault, and return the finished record.

        Whatever `work` raises is recorded in the catalog and raised.

        Parameters
        ----------
        restore
            The record.
        work
            Returns None when another invocation goes on with it: the record stays as it is.
        goes_on
            An earlier invocation has made the record.
        """
        meter = Meter()
        if goes_on:
            self._beat(restore, restore.progress)
        else:
            self._settle_dead()
            self.catalog.create_restore(restore)
        watch = Watch(
            meter,
            beat=lambda progress: self._beat(restore, progress),
            remaining_seconds=self.remaining_seconds,
            stop=self.stop,
            beat_seconds=self.beat_seconds,
        )
        try:
            report = watch.run(lambda: self._work(restore, meter, work))
            return self._finish(restore, meter, report) if report else restore
        except Exception as error:
            self._record_failure(restore, meter, error)
            raise

    def _settle_dead(self) -> None:
        """End the records of restores that were killed without a word. Whatever is wrong with them stops no restore."""
        with contextlib.suppress(CoffreError):
            settle_restores(self.catalog, self.now(), STALE_AFTER, self.tell_died)

    def _beat(self, restore: Restore, progress: Progress) -> None:
        self.catalog.heartbeat_restore(restore.id, self.now(), progress)

    def _finish(self, restore: Restore, meter: Meter, report: RestoreReport) -> Restore:
        key = self.vault.write_report(restore.id, report.model_dump_json(indent=1))
        storage = report.storage
        amounts = {"objects": storage.written} if storage else {"tables": len(report.tables), "rows": report.rows}
        finished = _ended(restore, meter.read(), Status.COMPLETED, self.now()).model_copy(
            update={
                "destination": report.destination,
                "exceptions": report.exceptions,
                "report_key": key,
                **amounts,
            }
        )
        return self.catalog.finish_restore(finished)

    def _record_failure(self, restore: Restore, meter: Meter, error: Exception) -> None:
        failed = _ended(restore, meter.read(), Status.FAILED, self.now())
        failed = failed.model_copy(update={"failure": Failure.of(error)})
        try:
            self.catalog.finish_restore(failed)
        except CoffreError as unrecorded:
            error.add_note(f"This could not be recorded in the catalog: {unrecorded.message}")


def settle_restores(
    catalog: Catalog, now: datetime, silent_for: timedelta, tell_died: Callable[[Restore], None]
) -> list[Restore]:
    """End the records of restores without a sign of life for so long, as FAILED, tell of them, and return them."""
    failed = []
    for restore in list(catalog.restores(status=Status.IN_PROGRESS)):
        if now - (restore.heartbeat_at or restore.created_at) > silent_for:
            ended = _with_failure(_ended(restore, restore.progress, Status.FAILED, now))
            with contextlib.suppress(BackupStateError):  # it has just ended otherwise
                failed.append(catalog.finish_restore(ended))
                tell_died(failed[-1])
    return failed


def _ended(restore: Restore, progress: Progress, status: Status, now: datetime) -> Restore:
    duration_ms = int((now - restore.created_at).total_seconds() * 1000)
    return restore.model_copy(
        update={"status": status, "completed_at": now, "duration_ms": duration_ms, "progress": progress}
    )


def _with_failure(restore: Restore) -> Restore:
    run = restore.id.lower()
    died = Failure(
        code="RUN_DIED",
        message="The restore stopped without a word (killed, out of memory, or its deadline passed).",
        hint=f"Look at the function's log for its request id. What it may have left: the schema restored_{run}, and "
        f"databases whose names end in _restored_{run} (not in use) or _before_{run} (the one that was replaced).",
    )
    return restore.model_copy(update={"failure": died})
