"""The function `backup_storage`: which targets an event means, what each needs, and its further invocations."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from coffre.buckets.open_reader import open_reader
from coffre.buckets.reader import BucketReader
from coffre.model.backup import Backup
from coffre.model.configuration import Configuration
from coffre.model.errors import BackupStateError
from coffre.model.manifest import Manifest
from coffre.model.target import BucketTarget
from coffre.operations.backup_buckets.backup import backup_buckets
from coffre.operations.backup_buckets.job import WORKERS, BucketBackupJob
from coffre.operations.runs.admission import Request, Result
from coffre.operations.runs.backup_lifecycle import Lifecycle
from coffre.operations.runs.parallel_map import ThreadRunner
from coffre.operations.runs.run import Paused, Run
from coffre.operations.runs.watchdog import Watch
from coffre.runtime.backup_runs import BackupRuns
from coffre.runtime.bootstrap import Services
from coffre.runtime.checkup_readers import readers_of_buckets, readers_of_every_target
from coffre.runtime.credentials import keys_from
from coffre.runtime.doctor import see_doctor
from coffre.runtime.events import BackupStorageEvent, DoctorEvent, parse_backup
from coffre.runtime.function import LambdaContext, remaining_seconds, utc_now
from coffre.runtime.metering import metered
from coffre.runtime.scratch import scratch_directory
from coffre.runtime.settings import Settings
from coffre.runtime.start_runs import StartRuns
from coffre.vault.bucket_progress import BucketProgress, read_progress
from coffre.vault.codec import FrameEncoder
from coffre.vault.vault import Committed


@dataclass(frozen=True)
class BackupStorageFunction:
    """Everything that lives as long as the function's process.

    `watched` gets the watch of each run.
    """

    services: Services
    watched: Callable[[Watch], None] = lambda _: None

    @classmethod
    def make(cls, environment: Mapping[str, str]) -> Self:
        """Put the function together from its environment."""
        return cls(Services("backup_storage", Settings.from_env(environment)))

    @property
    def _runs(self) -> BackupRuns:
        return BackupRuns(self.services)

    @metered
    def handle(self, event: object, context: LambdaContext) -> dict[str, Any]:
        """Back up the event's target, or start one invocation for each target of buckets when it names none."""
        with self.services.edge.beginning(context, event):
            wanted = parse_backup(event, BackupStorageEvent)
            configuration = self.services.configuration()
            if isinstance(wanted, DoctorEvent):
                return self._look(configuration.bucket(wanted.target), wanted, context)
            if wanted.target is None:
                return StartRuns(self.services, context.function_name).start(wanted, configuration.buckets)
            target = configuration.bucket(wanted.target)

        def run(request: Request) -> Result:
            return self._run(configuration, target, request, wanted, context)

        return self._runs.back_up(configuration, target, wanted, context, run)

    def _look(self, target: BucketTarget, wanted: DoctorEvent, context: LambdaContext) -> dict[str, Any]:
        """Look for what prevents backups of a target, and return it."""
        readers = (
            *readers_of_every_target(self.services, target, probe=wanted.probe),
            *readers_of_buckets(self.services, target),
        )
        return see_doctor(self.services, wanted, readers, context.aws_request_id)

    def _run(
        self,
        configuration: Configuration,
        target: BucketTarget,
        request: Request,
        wanted: BackupStorageEvent,
        context: LambdaContext,
    ) -> Result:
        stopping = threading.Event()
        lifecycle = Lifecycle(
            catalog=self.services.catalog,
            vault=self.services.vault,
            now=utc_now,
            remaining_seconds=remaining_seconds(context),
            stop=stopping.set,
            report_died=self._runs.report_died,
            watched=self.watched,
        )

        def work(run: Run) -> tuple[Manifest, Committed] | Paused:
            recipients = configuration.recipients_of(target.name)
            begun = read_progress(self.services.vault, target.name, run.backup.id) if wanted.after_invocations else None
            with scratch_directory() as scratch, self._reader(target, stopping) as reader:
                job = BucketBackupJob(
                    target=target,
                    reader=reader,
                    vault=self.services.vault,
                    encoder=FrameEncoder(recipients, level=target.limits.compression_level),
                    recipients=recipients,
                    scratch=scratch,
                    runner=ThreadRunner(WORKERS, stopping.set),
                    now=utc_now,
                    remaining_seconds=remaining_seconds(context),
                    start_next=self._continuation(wanted, target.name, request.backup_id, context.function_name),
                    previous=self._previous(target.name, begun, full=wanted.full),
                    begun=begun,
                )
                try:
                    return backup_buckets(job, run)
                finally:
                    self.services.metering.tally.add_source(reader.wire.requests, reader.wire.received_bytes)

        if wanted.after_invocations is not None:
            return lifecycle.resume(request, work, wanted.after_invocations)
        return lifecycle.run(request, work)

    def _continuation(
        self, wanted: BackupStorageEvent, target: str, backup_id: str, function: str
    ) -> Callable[[int], None]:
        """Return a function that starts the next invocation, given the number of invocations so far."""
        sent = wanted.sent_by(self.services.actor(wanted))
        return lambda invocations: self._runs.start_next(function, sent.after(target, backup_id, invocations))

    def _previous(self, target: str, begun: BucketProgress | None, *, full: bool) -> Backup | None:
        """Return the backup to compare with: for a continued run, the one that it began with."""
        if begun is None:
            return None if full else self.services.catalog.latest_completed(target, damaged_too=True, safety_too=True)
        try:
            return self.services.catalog.get_backup(begun.previous) if begun.previous else None
        except BackupStateError:
            return None

    def _reader(self, target: BucketTarget, stopping: threading.Event) -> BucketReader:
        secret = target.store.secret
        keys = keys_from(self.services.secret, secret, self.services.secret(secret)) if secret else None
        return open_reader(target, keys, stopping=stopping, session=self.services.session)
