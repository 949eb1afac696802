"""Cancelling a backup, a restore or a drill that runs: its record asks it to end, and it looks there often."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime

from coffre.catalog.catalog import Catalog
from coffre.catalog.runs import cancelled_by
from coffre.model.audit import Actor
from coffre.model.backup import Backup, Failure, Restore, Status
from coffre.model.drill import DrillRun
from coffre.model.errors import BackupStateError, CatalogError
from coffre.operations.runs import restore_record
from coffre.operations.runs.dead_runs import STALE_AFTER, is_silent


@dataclass(frozen=True)
class Cancelling:
    """Cancels runs in the name of `actor`, `now`."""

    catalog: Catalog
    actor: Actor
    now: datetime

    def cancel(self, run_id: str) -> Backup | Restore | DrillRun:
        """Ask the run with this id to end, and return its record. Asking again is fine.

        The run sees it with its next heartbeat, and ends as FAILED with the code `CANCELLED`. The record of a run that
        is dead already is ended here.

        Raises
        ------
        BackupStateError
            `RUN_UNKNOWN`: no backup, restore or drill has this id. `RUN_ENDED`: it is not running any more.
        """
        run = self._find(run_id)
        if run.status is not Status.IN_PROGRESS:
            raise BackupStateError(
                f"The {_noun(run)} {run.id} of {run.target} is not running: it is {run.status}.",
                code="RUN_ENDED",
                hint=f"What it did: coffre show {run.id}" if isinstance(run, Backup) else "Nothing is left to cancel.",
            )
        action = f"{_noun(run)}.cancelled"
        self.catalog.audit.record(self.now, self.actor, action, run.target, run.id, None)
        if isinstance(run, Backup):
            return self._cancel_backup(run)
        if isinstance(run, DrillRun):
            return self._cancel_drill(run)
        return self._cancel_restore(run)

    def _find(self, run_id: str) -> Backup | Restore | DrillRun:
        for find in (self.catalog.get_backup, self.catalog.get_restore):
            with contextlib.suppress(BackupStateError):
                return find(run_id)
        for drill in self.catalog.drill_runs.newest():
            if drill.id == run_id:
                return drill
        raise BackupStateError(
            f'No backup, restore or drill has the id "{run_id}".',
            code="RUN_UNKNOWN",
            hint="What runs now: coffre status",
        )

    def _cancel_backup(self, backup: Backup) -> Backup:
        asked = self.catalog.cancel_backup(backup.id, self.actor.name)
        if not is_silent(asked, self.now, STALE_AFTER):
            return asked
        ended = self.catalog.fail_backup(
            asked.id, Failure.of(cancelled_by("backup", asked.id, self.actor.name)), self.now
        )
        with contextlib.suppress(CatalogError):  # it expires by itself
            self.catalog.locks.release(asked.target, asked.id)
        return ended

    def _cancel_restore(self, restore: Restore) -> Restore:
        asked = self.catalog.cancel_restore(restore.id, self.actor.name)
        if not is_silent(asked, self.now, STALE_AFTER):
            return asked
        ended = restore_record.ended(asked, asked.progress, Status.FAILED, self.now)
        failure = Failure.of(cancelled_by("restore", asked.id, self.actor.name))
        return self.catalog.finish_restore(ended.model_copy(update={"failure": failure}))

    def _cancel_drill(self, drill: DrillRun) -> DrillRun:
        self.catalog.drill_runs.ask_to_end(drill, self.actor.name, self.now)
        if not is_silent(drill, self.now, STALE_AFTER):
            return drill
        # It was killed, or is between two invocations: the next one sees the wish as soon as it begins.
        failure = Failure.of(cancelled_by("drill", drill.id, self.actor.name))
        return drill.model_copy(update={"status": Status.FAILED, "failure": failure})


def _noun(run: Backup | Restore | DrillRun) -> str:
    if isinstance(run, DrillRun):
        return "drill"
    return "backup" if isinstance(run, Backup) else "restore"
