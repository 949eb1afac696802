"""The function `backup_database`, of a backup that several invocations take together: each of its steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from coffre.model.audit import Actor
from coffre.model.backup import Failure
from coffre.model.configuration import Configuration
from coffre.model.database_target import DatabaseTarget
from coffre.model.errors import (
    CoffreError,
    EventError,
    LockLostError,
)
from coffre.operations.backup_database.job import DatabaseBackupJob
from coffre.operations.backup_database.spread.hold import Holding
from coffre.operations.backup_database.spread.plan_files import SpreadHeader, read_header
from coffre.operations.backup_database.spread.seal import seal_spread
from coffre.operations.backup_database.spread.step import Step, is_final
from coffre.operations.backup_database.spread.work import Group
from coffre.operations.runs.backup_lifecycle import Lifecycle
from coffre.operations.runs.locked_backup import locking_vault
from coffre.operations.runs.parallel_map import ThreadRunner, width_for
from coffre.operations.runs.unfinished_runs import UnfinishedRun
from coffre.postgres.connection.client_tools import Children
from coffre.runtime.environment import PostgresSettings
from coffre.runtime.function import clearing_seconds, remaining_seconds, utc_now
from coffre.runtime.observability import log_failure
from coffre.runtime.scratch import scratch_directory
from coffre.runtime.spread_steps import BEAT_SECONDS, Invocation, SpreadSteps, over, request_of
from coffre.runtime.state_machine import TRANSITIONS

# A holder whose session broke asks for another one: not faster than this.
_PAUSE_SECONDS: Final = 2.0

type MakeJob = Callable[[Configuration, DatabaseTarget, Children, Path], DatabaseBackupJob]


@dataclass(frozen=True)
class SpreadBackup(SpreadSteps[DatabaseTarget]):
    """Does the steps of backups that are spread. `make_job` puts together what an invocation reads and stores with."""

    settings: PostgresSettings | None
    make_job: MakeJob

    def _target(self, configuration: Configuration, name: str) -> DatabaseTarget:
        return configuration.database(name)

    def _do(self, of: Invocation[DatabaseTarget]) -> dict[str, Any]:
        return {"hold": self._hold, "work": self._work, "seal": self._seal}[of.event.step](of)

    def _transitions(self, step: str) -> int:
        return TRANSITIONS[step]

    def _is_final(self, error: Exception) -> bool:
        return is_final(error)

    def _asked_by(self, of: Invocation[DatabaseTarget]) -> Actor:
        return _actor(self._header(of))

    def _hold(self, of: Invocation[DatabaseTarget]) -> dict[str, Any]:
        with self._step(of) as (step, children):
            life = self.settings.spread_hold_seconds if self.settings else None
            holding = Holding(step, of.event.holder or "a", life)
            try:
                held = self._watch(of, holding.beat, children.end_all).run(holding.hold)
            except CoffreError as error:
                if is_final(error) or isinstance(error, LockLostError):
                    raise
                # The state machine asks again, and another holder has the snapshot, or it is lost.
                log_failure(self.services.edge.logger, error, target=of.target.name, backup_id=of.backup.id)
                step.pause(_PAUSE_SECONDS)
                return {"over": False, "epoch": None}
        return {"over": False, "epoch": held.epoch}

    def _work(self, of: Invocation[DatabaseTarget]) -> dict[str, Any]:
        with self._step(of) as (step, children):
            if of.event.group is None or of.event.group >= len(step.header.groups):
                raise EventError(f"The plan of {of.backup.id} has no group {of.event.group}.")
            group = Group(step, of.event.group)
            watch = self._watch(of, group.beat, children.end_all)
            try:
                group.say()
                stored = watch.run(lambda: group.work(watch))
            except LockLostError:
                raise
            except Exception as error:
                group.say(is_over=True, failure=Failure.of(error))
                raise
        return {"group": of.event.group, "outcome": "stored", "parts": stored}

    def _seal(self, of: Invocation[DatabaseTarget]) -> dict[str, Any]:
        catalog = self.services.catalog
        claim = self._claim_seal(of)
        if claim is None:
            return over(of.event, catalog.get_backup(of.backup.id))
        backup = claim.backup
        children = Children(clearing_seconds(of.context))
        lifecycle = Lifecycle(
            catalog=catalog,
            vault=self.services.vault,
            now=utc_now,
            remaining_seconds=remaining_seconds(of.context),
            stop=children.end_all,
            report_died=self._runs.report_died,
            beat_seconds=BEAT_SECONDS,
            watched=self.watched,
            also_beat=claim.keep,
        )
        header = self._header(of)
        with scratch_directory() as scratch:
            job = self._job(of, children, scratch)
            found = self._settled_by_manifest(backup) or lifecycle.finish(
                backup, lambda run: seal_spread(job, header, run, lambda: catalog.parts.of(backup.id))
            )
        return self._runs.ended(of.target, request_of(backup), _actor(header), found, of.context)

    @contextmanager
    def _step(self, of: Invocation[DatabaseTarget]) -> Iterator[tuple[Step, Children]]:
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

    def _header(self, of: Invocation[DatabaseTarget]) -> SpreadHeader:
        return read_header(self.services.vault, of.target.name, of.backup.id, of.event.plan.sha256)

    def _job(self, of: Invocation[DatabaseTarget], children: Children, scratch: Path) -> DatabaseBackupJob:
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


def _actor(header: SpreadHeader) -> Actor:
    return Actor(header.actor, verified=header.actor_verified)
