"""What the functions that back up have in common when several invocations take a backup together: the run's steps."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from coffre.model.any_target import AnyTarget
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
from coffre.operations.runs.admission import Request, Result, RunOutcome
from coffre.operations.runs.dead_runs import STALE_AFTER, settle_backup
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.progress import Meter
from coffre.operations.stored_backup.catalog_record import completed
from coffre.runtime.backup_runs import BackupRuns
from coffre.runtime.bootstrap import Services
from coffre.runtime.events.spread import CaughtError, SpreadStepEvent, SpreadStoppedEvent
from coffre.runtime.function import LambdaContext, remaining_seconds, utc_now
from coffre.runtime.observability import log_failure
from coffre.runtime.spread_failure import failure_of

# A heartbeat of each step.
BEAT_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 2.0
# As long as a claim of another invocation that was killed counts, and a little more.
_SEAL_WAIT: Final = STALE_AFTER + timedelta(seconds=15)


@dataclass(frozen=True)
class Invocation[T: AnyTarget]:
    """What one step was invoked with, and the record of its run."""

    configuration: Configuration
    target: T
    event: SpreadStepEvent
    context: LambdaContext
    backup: Backup


@dataclass(frozen=True)
class SealClaim:
    """The right to seal a run, which one invocation at a time has; `keep` renews it, and raises when it is lost."""

    backup: Backup
    keep: Callable[[], None]


@dataclass(frozen=True)
class SpreadSteps[T: AnyTarget]:
    """Does the steps of backups that are spread: what each kind of target does in them is said by its own class.

    `watched` gets the watch of each step.
    """

    services: Services
    watched: Callable[[Watch], None] = field(default=lambda _: None, kw_only=True)

    # --- what differs ---

    @abstractmethod
    def _target(self, configuration: Configuration, name: str) -> T:
        """Return the target of a run."""

    @abstractmethod
    def _do(self, of: Invocation[T]) -> dict[str, Any]:
        """Do one step of a run that is in progress, and return what the state machine gets."""

    @abstractmethod
    def _transitions(self, step: str) -> int:
        """Return how many transitions a step is billed for."""

    @abstractmethod
    def _asked_by(self, of: Invocation[T]) -> Actor:
        """Return who asked for a run, as its plan says."""

    @abstractmethod
    def _is_final(self, error: Exception) -> bool:
        """Tell whether an error ends the run, because another attempt at the step would fail as well."""

    # --- the steps ---

    @property
    def _runs(self) -> BackupRuns:
        return BackupRuns(self.services)

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
        target = self._target(configuration, backup.target)
        self.services.metering.about(target.name, backup.id)
        if isinstance(event, SpreadStoppedEvent):
            return self.settle(target, backup, failure_of(f"status {event.status}"), context)
        if backup.target != event.target:
            raise EventError(f"The backup {backup.id} is of {backup.target}, not of {event.target}.")
        self.services.metering.tally.add(transitions=self._transitions(event.step))
        if event.step == "settle":
            caught = event.caught or CaughtError()
            return self.settle(target, backup, failure_of(caught.error, caught.cause), context)
        if backup.status.is_final:
            if event.step == "seal":
                self._release(backup)  # an attempt that was killed may have left it
            return over(event, backup)
        invocation = Invocation(configuration, target, event, context, backup)
        try:
            with self._recorded(invocation):
                return self._do(invocation)
        except LockLostError:
            return over(event, self.services.catalog.get_backup(backup.id))

    def _claim_seal(self, of: Invocation[T], turn: str = "") -> SealClaim | None:
        """Wait until this invocation alone may seal the run, or do this turn of it; None: it has ended meanwhile.

        Raises
        ------
        TransientError
            `SEAL_CLAIMED`
        """
        catalog, attempt, run_id = self.services.catalog, of.context.aws_request_id, of.backup.id
        until = utc_now() + _SEAL_WAIT
        while not catalog.spread.claim_seal(run_id + turn, attempt, utc_now(), stale_after=STALE_AFTER):
            if utc_now() > until:
                raise TransientError(
                    f"Another invocation is sealing the backup {run_id}.",
                    code="SEAL_CLAIMED",
                    hint="The state machine tries it again.",
                )
            time.sleep(_PAUSE_SECONDS)

        def keep() -> None:
            if not catalog.spread.claim_seal(run_id + turn, attempt, utc_now(), stale_after=STALE_AFTER):
                raise LockLostError(f"Another invocation seals the backup {run_id} now.", code="RUN_OVER")

        backup = catalog.get_backup(run_id)
        return None if backup.status.is_final else SealClaim(backup, keep)

    def _settled_by_manifest(self, backup: Backup) -> Result | None:
        """Publish what an invocation that was killed has committed; None: none has."""
        found = self.services.vault.find_manifest(backup.target, backup.id)
        if found is None or found[1].sha256 != backup.manifest_sha256:
            return None
        record = self.services.catalog.complete_backup(completed(backup, *found))
        self._release(backup)
        return Result(RunOutcome.COMPLETED, record)

    def settle(self, target: T, backup: Backup, failure: Failure, context: LambdaContext) -> dict[str, Any]:
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
                self._runs.ended(target, request_of(backup), Actor("unknown"), result, context)
            else:
                self._runs.report_died(failed)
                self._runs.audit_failed(request_of(backup), Actor("unknown"), failure)
        self._release(backup)
        return {"id": backup.id, "target": backup.target, "status": backup.status.value}

    # --- what the steps have in common ---

    @contextmanager
    def _recorded(self, of: Invocation[T]) -> Iterator[None]:
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
            if not self._is_final(error) and isinstance(error, CoffreError):
                log_failure(self.services.edge.logger, error, target=of.target.name, backup_id=of.backup.id)
                raise TransientError(error.message, code=error.code, detail=error.detail, hint=error.hint) from error
            self._fail(of, error)
            raise

    def _fail(self, of: Invocation[T], error: Exception) -> None:
        catalog, failure = self.services.catalog, Failure.of(error)
        log_failure(self.services.edge.logger, error, target=of.target.name, backup_id=of.backup.id)
        if catalog.get_backup(of.backup.id).status.is_final:
            return
        failed = catalog.fail_backup(of.backup.id, failure, utc_now())
        self._release(of.backup)
        self._runs.report_died(failed)
        actor = Actor("unknown")
        with suppress(CoffreError):  # the plan may be what has failed
            actor = self._asked_by(of)
        self._runs.audit_failed(request_of(failed), actor, failure)

    def _release(self, backup: Backup) -> None:
        with suppress(CatalogError):  # it expires by itself
            self.services.catalog.locks.release(backup.target, backup.id)

    def _watch(self, of: Invocation[T], beat: Callable[[], None], stop: Callable[[], None]) -> Watch:
        watch = Watch(
            Meter(),
            beat=lambda _: beat(),
            remaining_seconds=remaining_seconds(of.context),
            stop=stop,
            beat_seconds=BEAT_SECONDS,
        )
        self.watched(watch)
        return watch


def over(event: SpreadStepEvent, backup: Backup) -> dict[str, Any]:
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


def request_of(backup: Backup) -> Request:
    return Request(
        target=backup.target,
        kind=backup.kind,
        tier=backup.tiers[0],
        backup_id=backup.id,
        request_id=backup.request_id or "-",
        slot=datetime.fromisoformat(backup.slot) if backup.slot else None,
    )
