"""The life of a restore in the catalog: record, heartbeat, report, end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Failure, Progress, Restore, Status
from coffre.model.errors import BackupStateError, CoffreError, RunCancelledError
from coffre.model.restore_report import RestoreReport
from coffre.operations.runs import restore_record
from coffre.operations.runs.dead_runs import STALE_AFTER, settle_restores
from coffre.operations.runs.heartbeat import BEAT_SECONDS, RECORDING_SECONDS, Watch
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.run import HAND_OVER_WITHIN, Paused
from coffre.operations.stored_backup.open_backup import refuse_unrestorable
from coffre.vault.vault import Vault

type Work = Callable[[Meter], RestoreReport | Paused]

_PAUSES_SECONDS: Final = (0.5, 2.0)
_NO_REPORT: Final = "The data is restored, but the report about it could not be written to the vault:"
_NO_RECORD: Final = (
    "The data is restored, but the catalog did not take the record of it and may list it as in progress or failed:"
)


@dataclass(frozen=True)
class RestoreRun:
    """Records a restore from its start to its end.

    Parameters
    ----------
    now, remaining_seconds, stop
        As in `coffre.operations.runs.backup_lifecycle.Lifecycle`.
    find_backup
        Returns the backup as it is at this instant where it is read; by default in the catalog.
    report_died
        Gets the record of an earlier restore that was found dead and marked FAILED.
    watched
        Gets the watch of the run before it begins.
    pause
        Waits for this number of seconds.
    """

    catalog: Catalog
    vault: Vault
    now: Callable[[], datetime]
    remaining_seconds: Callable[[], float]
    stop: Callable[[], None]
    find_backup: Callable[[str], Backup] | None = None
    beat_seconds: float = BEAT_SECONDS
    report_died: Callable[[Restore], None] = lambda _: None
    watched: Callable[[Watch], None] = lambda _: None
    pause: Callable[[float], None] = time.sleep

    def run(self, restore: Restore, work: Work, *, continues: bool = False) -> Restore | None:
        """Do the work, keep its report in the vault, and return the finished record.

        None: another delivery of the same event has begun this restore, and works on it.

        Every error of `work` is recorded in the catalog and raised, but for a person's wish that it ends: then the
        record is FAILED. Work that is done stays done: if the report or the
        record cannot be written, the restore is complete with that as an exception.

        Parameters
        ----------
        restore
            The record.
        work
            Returns that it paused if another invocation continues the restore: the record stays in progress.
        continues
            An earlier invocation created the record, and this one has claimed it (`Catalog.continue_restore`).
        """
        meter = Meter()
        if not continues:
            self._settle_dead()
            if not self._create(restore):
                return None
        watch = Watch(
            meter,
            beat=lambda progress: self._beat(restore, progress),
            remaining_seconds=self.remaining_seconds,
            stop=self.stop,
            beat_seconds=self.beat_seconds,
        )
        try:
            self.watched(watch)
            report = watch.run(lambda: self._work(restore, meter, work))
            if isinstance(report, Paused):
                return self._pause(restore, report)
            if report.dry_run:
                return self._finish(restore, meter, report, self._keep(report))
        except Exception as error:
            if watch.has_left:
                error.add_note(f"It is not known what its last step did. {restore_record.how_to_find_out(restore.id)}")
            self._record_failure(restore, meter, error)
            if isinstance(error, RunCancelledError):
                return self.catalog.get_restore(restore.id)
            raise
        return self._finish_done(restore, meter, report)

    def _create(self, restore: Restore) -> bool:
        """Add the record; False if the same event was delivered twice at the same time, and this one came second."""
        try:
            self.catalog.create_restore(restore)
        except BackupStateError as error:
            if error.code == "RESTORE_EXISTS":
                return False
            raise
        return True

    def _pause(self, restore: Restore, paused: Paused) -> Restore:
        """Hand the restore over to the next invocation, and start it. Until then it does not count as dead."""
        self.catalog.hand_over_restore(restore.id, paused.invocations + 1, self.now() + HAND_OVER_WITHIN)
        paused.start_next()
        return restore

    def _work(self, restore: Restore, meter: Meter, work: Work) -> RestoreReport | Paused:
        # From now on, this run's record keeps rotation from deleting the backup. It may have been deleted before.
        find = self.find_backup or self.catalog.get_backup
        refuse_unrestorable(find(restore.backup_id))
        return work(meter)

    def _settle_dead(self) -> None:
        """End the records of restores that were killed. No problem with them stops this restore."""
        with contextlib.suppress(CoffreError):
            settle_restores(self.catalog, self.vault, self.now(), STALE_AFTER, self.report_died)

    def _beat(self, restore: Restore, progress: Progress) -> None:
        self.catalog.heartbeat_restore(restore.id, self.now(), progress)

    def _keep(self, report: RestoreReport) -> str:
        return self.vault.write_report(report.id, report.model_dump_json(indent=1))

    def _finish_done(self, restore: Restore, meter: Meter, report: RestoreReport) -> Restore:
        """Record a restore that is done. If that fails repeatedly, exceptions carry the main facts of the report."""
        exceptions: list[str] = []
        try:
            key = self._retry(lambda: self._keep(report))
        except Exception as error:  # noqa: BLE001 - with any error, the data is restored
            key = None
            exceptions.append(f"{_NO_REPORT} {_reason(error)}{_kept(report)}")
        try:
            return self._retry(lambda: self._finish(restore, meter, report, key, exceptions))
        except Exception as error:  # noqa: BLE001 - with any error, the data is restored
            exceptions.append(f"{_NO_RECORD} {_reason(error)}{_kept(report)}")
            return restore_record.completed(restore, meter.read(), report, key, exceptions, self.now())

    def _retry[T](self, write: Callable[[], T]) -> T:
        """Try to write several times, as long as there is time."""
        for pause in _PAUSES_SECONDS:
            try:
                return write()
            except Exception:
                if self.remaining_seconds() < RECORDING_SECONDS:
                    raise
                self.pause(pause)
        return write()

    def _finish(
        self, restore: Restore, meter: Meter, report: RestoreReport, key: str | None, exceptions: Sequence[str] = ()
    ) -> Restore:
        return self.catalog.finish_restore(
            restore_record.completed(restore, meter.read(), report, key, exceptions, self.now())
        )

    def _record_failure(self, restore: Restore, meter: Meter, error: Exception) -> None:
        failed = restore_record.ended(restore, meter.read(), Status.FAILED, self.now())
        failed = failed.model_copy(update={"failure": Failure.of(error)})
        try:
            self.catalog.finish_restore(failed)
        except CoffreError as unrecorded:
            error.add_note(f"This could not be recorded in the catalog: {unrecorded.message}")


def _reason(error: Exception) -> str:
    failure = Failure.of(error)
    return f"{failure.message.rstrip('.')} ({failure.code})."


def _kept(report: RestoreReport) -> str:
    """Return where the replaced data is kept: without the report, only this says so."""
    return "".join(f" Kept: {kept.what} (to remove it: {kept.remove})." for kept in report.kept)
