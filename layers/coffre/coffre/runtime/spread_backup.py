"""The function `backup_database`, of a backup that several invocations take together: each of its steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from coffre.model.audit import Actor
from coffre.model.backup import Backup, Failure, Status
from coffre.model.configuration import Configuration
from coffre.model.errors import (
    BackupStateError,
    CatalogError,
    CoffreError,
    EventError,
    LockLostError,
    RunCancelledError,
    TransientError,
)
from coffre.model.target import DatabaseTarget
from coffre.operations.backup_database.plan import DatabaseBackupJob
from coffre.operations.backup_database.spread.hold import Holding
from coffre.operations.backup_database.spread.plan_files import SpreadHeader, read_header
from coffre.operations.backup_database.spread.seal import seal_spread
from coffre.operations.backup_database.spread.step import Step, is_final
from coffre.operations.backup_database.spread.work import Group
from coffre.operations.backup_database.unfinished_runs import UnfinishedRun
from coffre.operations.runs.admission import Request, Result, RunOutcome
from coffre.operations.runs.backup_lifecycle import Lifecycle
from coffre.operations.runs.dead_runs import STALE_AFTER, settle_backup
from coffre.operations.runs.locked_backup import locking_vault
from coffre.operations.runs.parallel_map import ThreadRunner, width_for
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.watchdog import Watch
from coffre.operations.stored_backup.record import completed
from coffre.postgres.connection.client_tools import Children
from coffre.runtime.backup_runs import BackupRuns
from coffre.runtime.bootstrap import Services
from coffre.runtime.events import CaughtError, SpreadStepEvent, SpreadStoppedEvent
from coffre.runtime.function import LambdaContext, clearing_seconds, remaining_seconds, utc_now
from coffre.runtime.machine import TRANSITIONS
from coffre.runtime.observability import log_failure
from coffre.runtime.scratch import scratch_directory
from coffre.runtime.settings import PostgresSettings
from coffre.runtime.spread_failure import failure_of

_BEAT_SECONDS: Final = 5.0
_EARLIER_RUNS: Final = 5
# A holder whose session broke asks for another one: not faster than this.
_PAUSE_SECONDS: Final = 2.0
# As long as a claim of another invocation that was killed counts, and a little more.
_SEAL_WAIT: Final = STALE_AFTER + timedelta(seconds=15)

type MakeJob = Callable[[Configuration, DatabaseTarget, Children, Path], DatabaseBackupJob]


@dataclass(frozen=True)
class SpreadBackup:
    """Does the steps of backups that are spread.

    `make_job` puts together what an invocation reads and stores with; `watched` gets the watch of each step.
    """

    services: Services
    settings: PostgresSettings | None
    make_job: MakeJob
    watched: Callable[[Watch], None] = lambda _: None

    @property
    def _runs(self) -> BackupRuns:
        return BackupRuns(self.services)

    # --- the steps ---

    def handle(
        self, configuration: Configuration, event: SpreadStepEvent | SpreadStoppedEvent, context: LambdaContext
    ) -> dict[str, Any]:
        """Do one step of a run. One that has ended already is left as it is.

        Raises
        ------
        BackupStateError
            `BACKUP_UNKNOWN`; `RUN_OVER`: what has failed cannot be sealed.
        TransientError
            Another attempt at the step may succeed.
        CoffreError
            The run has FAILED by it: the record says so, and people are notified.
        """
        run_id = event.stopped if isinstance(event, SpreadStoppedEvent) else event.backup_id
        backup = self.services.catalog.get_backup(run_id)
        target = configuration.database(backup.target)
        self.services.metering.about(target.name, backup.id)
        if isinstance(event, SpreadStoppedEvent):
            return self.settle(target, backup, failure_of(f"status {event.status}"), context)
        if backup.target != event.target:
            raise EventError(f"The backup {backup.id} is of {backup.target}, not of {event.target}.")
        self.services.metering.tally.add(transitions=TRANSITIONS[event.step])
        if event.step == "settle":
            caught = event.caught or CaughtError()
            return self.settle(target, backup, failure_of(caught.error, caught.cause), context)
        if backup.status.is_final:
            if event.step == "seal":
                self._release(backup)  # an attempt that was killed may have left it
            return _over(event, backup)
        invocation = _Invocation(configuration, target, event, context, backup)
        try:
            with self._recorded(invocation):
                return {"hold": self._hold, "work": self._work, "seal": self._seal}[event.step](invocation)
        except LockLostError:
            return _over(event, self.services.catalog.get_backup(backup.id))

    def _hold(self, of: _Invocation) -> dict[str, Any]:
        with self._step(of) as (step, children):
            life = self.settings.spread_hold_seconds if self.settings else None
            holding = Holding(step, of.event.holder or "a", life)
            try:
                held = self._watch(of, holding.beat, children).run(holding.hold)
            except CoffreError as error:
                if is_final(error) or isinstance(error, LockLostError):
                    raise
                # The state machine asks again, and another holder has the snapshot, or it is lost.
                log_failure(self.services.edge.logger, error, target=of.target.name, backup_id=of.backup.id)
                step.pause(_PAUSE_SECONDS)
                return {"over": False, "epoch": None}
        return {"over": False, "epoch": held.epoch}

    def _work(self, of: _Invocation) -> dict[str, Any]:
        with self._step(of) as (step, children):
            if of.event.group is None or of.event.group >= len(step.header.groups):
                raise EventError(f"The plan of {of.backup.id} has no group {of.event.group}.")
            group = Group(step, of.event.group)
            watch = self._watch(of, group.beat, children)
            try:
                group.say()
                stored = watch.run(lambda: group.work(watch))
            except LockLostError:
                raise
            except Exception as error:
                group.say(is_over=True, failure=Failure.of(error))
                raise
        return {"group": of.event.group, "outcome": "stored", "parts": stored}

    def _seal(self, of: _Invocation) -> dict[str, Any]:
        catalog, now = self.services.catalog, utc_now
        attempt = of.context.aws_request_id
        until = now() + _SEAL_WAIT
        while not catalog.spread.claim_seal(of.backup.id, attempt, now(), stale_after=STALE_AFTER):
            if now() > until:
                raise TransientError(
                    f"Another invocation is sealing the backup {of.backup.id}.",
                    code="SEAL_CLAIMED",
                    hint="The state machine tries it again.",
                )
            time.sleep(_PAUSE_SECONDS)
        backup = catalog.get_backup(of.backup.id)
        if backup.status.is_final:
            return _over(of.event, backup)

        def keep_claim() -> None:
            if not catalog.spread.claim_seal(backup.id, attempt, now(), stale_after=STALE_AFTER):
                raise LockLostError(f"Another invocation seals the backup {backup.id} now.", code="RUN_OVER")

        children = Children(clearing_seconds(of.context))
        lifecycle = Lifecycle(
            catalog=catalog,
            vault=self.services.vault,
            now=now,
            remaining_seconds=remaining_seconds(of.context),
            stop=children.end_all,
            report_died=self._runs.report_died,
            beat_seconds=_BEAT_SECONDS,
            watched=self.watched,
            also_beat=keep_claim,
        )
        header = self._header(of)
        with scratch_directory() as scratch:
            job = self._job(of, children, scratch)
            found = self._settled_by_manifest(backup) or lifecycle.finish(
                backup, lambda run: seal_spread(job, header, run, lambda: catalog.parts.of(backup.id))
            )
        return self._runs.ended(of.target, _request(backup), _actor(header), found, of.context)

    def _settled_by_manifest(self, backup: Backup) -> Result | None:
        """Publish what an invocation that was killed has committed; None: none has."""
        found = self.services.vault.find_manifest(backup.target, backup.id)
        if found is None or found[1].sha256 != backup.manifest_sha256:
            return None
        record = self.services.catalog.complete_backup(completed(backup, *found))
        self._release(backup)
        return Result(RunOutcome.COMPLETED, record)

    def settle(
        self, target: DatabaseTarget, backup: Backup, failure: Failure, context: LambdaContext
    ) -> dict[str, Any]:
        """End a run whose state machine has failed or was stopped; a run that has ended stays as it is.

        Parameters
        ----------
        failure
            Why, if no step has said it.
        """
        catalog = self.services.catalog
        if not backup.status.is_final:
            said = [group for group in catalog.spread.groups(backup.id) if group.failure is not None]
            newest = max(said, key=lambda group: group.seen_at, default=None)
            failure = (newest.failure if newest else None) or failure
            failed = settle_backup(catalog, self.services.vault, backup, utc_now(), failure)
            backup = failed or catalog.get_backup(backup.id)
            if failed is None:
                result = Result(RunOutcome.COMPLETED, backup)
                self._runs.ended(target, _request(backup), Actor("unknown"), result, context)
            else:
                self._runs.report_died(failed)
                self._runs.audit_failed(_request(backup), Actor("unknown"), failure)
        self._release(backup)
        return {"id": backup.id, "target": backup.target, "status": backup.status.value}

    # --- what the steps have in common ---

    @contextmanager
    def _recorded(self, of: _Invocation) -> Iterator[None]:
        """Record what ends the run; what another attempt may cure is raised by the name that is tried again."""
        try:
            yield
        except LockLostError:
            raise
        except RunCancelledError as error:  # as a person wanted: no alarm
            self.services.catalog.fail_backup(of.backup.id, Failure.of(error), utc_now())
            self._release(of.backup)
            raise LockLostError(error.message, code="RUN_OVER") from error
        except Exception as error:
            if not is_final(error) and isinstance(error, CoffreError):
                log_failure(self.services.edge.logger, error, target=of.target.name, backup_id=of.backup.id)
                raise TransientError(error.message, code=error.code, detail=error.detail, hint=error.hint) from error
            self._fail(of, error)
            raise

    def _fail(self, of: _Invocation, error: Exception) -> None:
        catalog, failure = self.services.catalog, Failure.of(error)
        log_failure(self.services.edge.logger, error, target=of.target.name, backup_id=of.backup.id)
        if catalog.get_backup(of.backup.id).status.is_final:
            return
        failed = catalog.fail_backup(of.backup.id, failure, utc_now())
        self._release(of.backup)
        self._runs.report_died(failed)
        actor = Actor("unknown")
        with suppress(CoffreError):  # the plan may be what has failed
            actor = _actor(self._header(of))
        self._runs.audit_failed(_request(failed), actor, failure)

    def _release(self, backup: Backup) -> None:
        with suppress(CatalogError):  # it expires by itself
            self.services.catalog.locks.release(backup.target, backup.id)

    @contextmanager
    def _step(self, of: _Invocation) -> Iterator[tuple[Step, Children]]:
        children = Children(clearing_seconds(of.context))
        with scratch_directory() as scratch, children.ending():
            step = Step(
                job=self._job(of, children, scratch),
                header=self._header(of),
                backup=of.backup,
                catalog=self.services.catalog,
                attempt=of.context.aws_request_id,
                remaining_seconds=remaining_seconds(of.context),
                pause=time.sleep,
            )
            yield step, children

    def _header(self, of: _Invocation) -> SpreadHeader:
        return read_header(self.services.vault, of.target.name, of.backup.id, of.event.plan.sha256)

    def _job(self, of: _Invocation, children: Children, scratch: Path) -> DatabaseBackupJob:
        header = self._header(of)
        job = self.make_job(of.configuration, of.target, children, scratch)
        catalog = self.services.catalog
        previous = catalog.get_backup(header.previous) if header.previous else None
        return replace(
            job,
            vault=locking_vault(job.vault, of.target, of.backup, utc_now()),
            streams=header.streams,
            runner=ThreadRunner(width_for(header.streams), children.end_all),
            previous=previous,
            unfinished=tuple(
                UnfinishedRun(catalog.get_backup(one), catalog.parts.of(one)) for one in header.unfinished
            ),
        )

    def _watch(self, of: _Invocation, beat: Callable[[], None], children: Children) -> Watch:
        watch = Watch(
            Meter(),
            beat=lambda _: beat(),
            remaining_seconds=remaining_seconds(of.context),
            stop=children.end_all,
            beat_seconds=_BEAT_SECONDS,
        )
        self.watched(watch)
        return watch


@dataclass(frozen=True)
class _Invocation:
    """What one step was invoked with, and the record of its run."""

    configuration: Configuration
    target: DatabaseTarget
    event: SpreadStepEvent
    context: LambdaContext
    backup: Backup


def _over(event: SpreadStepEvent, backup: Backup) -> dict[str, Any]:
    """Return the answer of a step whose run has ended.

    Raises
    ------
    BackupStateError
        `RUN_OVER`: it has failed, and cannot be sealed. So the state machine settles it, and ends as failed.
    """
    if event.step == "hold":
        return {"over": True, "epoch": None}
    if event.step == "work":
        return {"group": event.group, "outcome": "over", "parts": 0}
    if backup.status is not Status.COMPLETED:
        raise BackupStateError(f"The backup {backup.id} is {backup.status} and cannot be sealed.", code="RUN_OVER")
    return {"id": backup.id, "target": backup.target, "status": backup.status.value}


def _request(backup: Backup) -> Request:
    return Request(
        target=backup.target,
        kind=backup.kind,
        tier=backup.tiers[0],
        backup_id=backup.id,
        request_id=backup.request_id or "-",
        slot=datetime.fromisoformat(backup.slot) if backup.slot else None,
    )


def _actor(header: SpreadHeader) -> Actor:
    return Actor(header.actor, verified=header.actor_verified)
