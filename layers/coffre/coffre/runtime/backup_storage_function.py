"""The function `backup_storage`: which targets an event means, what each needs, and its further invocations."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from coffre.buckets.open_reader import open_reader
from coffre.buckets.reader import BucketReader
from coffre.buckets.settings_reader import SettingsReader
from coffre.model.any_target import ObjectTarget
from coffre.model.backup import Backup
from coffre.model.bucket_target import BucketTarget
from coffre.model.configuration import Configuration
from coffre.model.errors import BackupStateError, EventError
from coffre.model.manifest import Manifest
from coffre.model.points import PointRecord
from coffre.model.repository_target import RepositoryTarget
from coffre.model.settings_target import SettingsTarget
from coffre.operations.backup_buckets.backup import backup_buckets
from coffre.operations.backup_buckets.job import WORKERS, BucketBackupJob
from coffre.operations.runs.admission import Request, Result
from coffre.operations.runs.backup_lifecycle import Lifecycle
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.parallel_map import ThreadRunner
from coffre.operations.runs.run import Paused, Run, Spread
from coffre.operations.runs.unfinished_runs import UnfinishedRun, find_unfinished, reopened
from coffre.operations.stored_backup.readable_backup import newest_readable
from coffre.runtime.backup_runs import BackupRuns
from coffre.runtime.bootstrap import Services
from coffre.runtime.credentials import keys_from
from coffre.runtime.environment import Settings
from coffre.runtime.events.backup import BackupStorageEvent, DoctorEvent, parse_storage_backup
from coffre.runtime.events.spread import RangeStepEvent, SpreadStoppedEvent
from coffre.runtime.function import LambdaContext, remaining_seconds, utc_now
from coffre.runtime.metering import metered
from coffre.runtime.point_parts import point_of_part, point_of_run, refuse_skipped
from coffre.runtime.scratch import scratch_directory
from coffre.runtime.settings_source import open_settings
from coffre.runtime.start_runs import StartRuns
from coffre.vault.bucket_progress import BucketProgress, read_progress
from coffre.vault.codec import FrameEncoder
from coffre.vault.vault import Committed

if TYPE_CHECKING:
    from coffre.buckets.repositories.reader import RepositoryReader
    from coffre.runtime.spread_ranges import SpreadRanges


@dataclass(frozen=True)
class BackupStorageFunction:
    """Everything that lives as long as the function's process.

    `watched` gets the watch of each run. `is_here`: it runs on a person's or a pipeline's machine (`--here`).
    """

    services: Services
    watched: Callable[[Watch], None] = lambda _: None
    is_here: bool = False

    @classmethod
    def make(cls, environment: Mapping[str, str]) -> Self:
        """Put the function together from its environment."""
        return cls(Services("backup_storage", Settings.from_env(environment)))

    @property
    def _runs(self) -> BackupRuns:
        return BackupRuns(self.services)

    @metered
    def handle(self, event: object, context: LambdaContext) -> dict[str, Any]:
        """Back up the event's target, or start one invocation for each target of objects when it names none."""
        with self.services.edge.beginning(context, event):
            wanted = parse_storage_backup(event)
            configuration = self.services.configuration()
            if isinstance(wanted, DoctorEvent):
                return self._look(configuration.object_target(wanted.target), wanted, context)
            if isinstance(wanted, BackupStorageEvent):
                if wanted.target is None:
                    started = _started(configuration, wanted)
                    return StartRuns(self.services, context.function_name).start(wanted, started)
                target = configuration.object_target(wanted.target)
                _refuse_files(target, wanted)
                point = point_of_part(self.services, wanted)
        if isinstance(wanted, RangeStepEvent):
            return self._ranges.step(configuration, wanted, context)
        if isinstance(wanted, SpreadStoppedEvent):
            return self._ranges.handle(configuration, wanted, context)

        def run(request: Request) -> Result:
            return refuse_skipped(self._run(configuration, target, request, wanted, context, point), wanted)

        return self._runs.back_up(configuration, target, wanted, context, run)

    @property
    def _ranges(self) -> SpreadRanges:
        from coffre.runtime.spread_ranges import SpreadRanges  # here, for few backups wait for it

        def open_job(
            configuration: Configuration, target: ObjectTarget, context: LambdaContext, stopping: threading.Event
        ) -> AbstractContextManager[BucketBackupJob]:
            wanted = BackupStorageEvent(target=target.name)
            return self._opened(configuration, target, context, stopping, wanted, None)

        return SpreadRanges(self.services, open_job, watched=self.watched)

    def _look(self, target: ObjectTarget, wanted: DoctorEvent, context: LambdaContext) -> dict[str, Any]:
        """Look for what prevents backups of a target, and return it."""
        # Here, for no backup waits for it.
        from coffre.runtime.checkup_readers import readers_of_every_target, readers_of_source
        from coffre.runtime.doctor import see_doctor

        readers = (
            *readers_of_every_target(self.services, target, probe=wanted.probe),
            *readers_of_source(self.services, target),
        )
        return see_doctor(self.services, wanted, readers, context.aws_request_id)

    def _run(
        self,
        configuration: Configuration,
        target: ObjectTarget,
        request: Request,
        wanted: BackupStorageEvent,
        context: LambdaContext,
        point: PointRecord | None,
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

        def work(run: Run) -> tuple[Manifest, Committed] | Paused | Spread:
            begun = read_progress(self.services.vault, target.name, run.backup.id) if wanted.after_invocations else None
            previous = self._previous(target, begun, full=wanted.full)
            with self._opened(configuration, target, context, stopping, wanted, previous) as opened:
                job = replace(
                    opened,
                    start_next=self._continuation(wanted, target.name, request.backup_id, context.function_name),
                    begun=begun,
                    unfinished=() if wanted.full else self._unfinished(target, previous, begun),
                    point=point_of_run(self.services, point) if point else None,
                )
                # Several functions cannot share what the rows of a restore point refer to.
                if isinstance(target, BucketTarget) and point is None and self._has_machine:
                    from coffre.runtime.spread_ranges import RangesPlanning  # as above

                    actor = self.services.actor(wanted)
                    planning = RangesPlanning(self.services, target, actor, remaining_seconds(context)())
                    job = replace(job, spread=partial(planning.hand_over, job))
                return backup_buckets(job, run)

        if wanted.after_invocations is not None:
            return lifecycle.resume(request, work, wanted.after_invocations)
        return lifecycle.run(request, work)

    @property
    def _has_machine(self) -> bool:
        return self.services.settings.ranges_machine is not None and not self.is_here

    @contextmanager
    def _opened(
        self,
        configuration: Configuration,
        target: ObjectTarget,
        context: LambdaContext,
        stopping: threading.Event,
        wanted: BackupStorageEvent,
        previous: Backup | None,
    ) -> Iterator[BucketBackupJob]:
        """Open what an invocation reads and stores with, and count what it has read."""
        recipients = configuration.recipients_of(target.name)
        encoder = FrameEncoder(recipients, level=target.limits.compression_level)
        with (
            scratch_directory() as scratch,
            self._source(target, stopping, wanted, previous, _Sink(encoder, recipients, scratch)) as reader,
        ):
            try:
                yield BucketBackupJob(
                    target=target,
                    reader=reader,
                    vault=self.services.vault,
                    encoder=encoder,
                    recipients=recipients,
                    scratch=scratch,
                    runner=ThreadRunner(WORKERS, stopping.set),
                    now=utc_now,
                    remaining_seconds=remaining_seconds(context),
                    start_next=lambda _: None,
                    previous=previous,
                    # Each page is a repository, which is fetched when it is listed, and stored before the next but one.
                    looked_at=1 if isinstance(target, RepositoryTarget) else None,
                )
            finally:
                self.services.metering.tally.add_source(reader.requests, reader.received_bytes)

    def _continuation(
        self, wanted: BackupStorageEvent, target: str, backup_id: str, function: str
    ) -> Callable[[int], None]:
        """Return a function that starts the next invocation, given the number of invocations so far."""
        sent = wanted.sent_by(self.services.actor(wanted))
        return lambda invocations: self._runs.start_next(function, sent.after(target, backup_id, invocations))

    def _previous(self, target: ObjectTarget, begun: BucketProgress | None, *, full: bool) -> Backup | None:
        """Return the backup to compare with: for a continued run, the one that it began with.

        Settings always have one: it has the files that were handed in. So do repositories: what cannot be read is kept.
        If the newest of them cannot be read, an older one has these.
        """
        catalog = self.services.catalog
        if begun is None and not isinstance(target, BucketTarget):
            return newest_readable(catalog, self.services.vault, target.name)
        if begun is None:
            return None if full else catalog.latest_completed(target.name, damaged_too=True, safety_too=True)
        try:
            return catalog.get_backup(begun.previous) if begun.previous else None
        except BackupStateError:
            return None

    def _unfinished(
        self, target: ObjectTarget, previous: Backup | None, begun: BucketProgress | None
    ) -> tuple[UnfinishedRun, ...]:
        """Return what did not finish since the previous backup: for a continued run, what it began with."""
        if not isinstance(target, BucketTarget):
            return ()
        if begun is not None:
            return reopened(self.services.catalog, begun.unfinished, begun.position)
        return find_unfinished(self.services.catalog, target.name, previous, utc_now())

    def _source(
        self,
        target: ObjectTarget,
        stopping: threading.Event,
        wanted: BackupStorageEvent,
        previous: Backup | None,
        sink: _Sink,
    ) -> BucketReader | SettingsReader | RepositoryReader:
        if isinstance(target, SettingsTarget):
            return open_settings(
                self.services, target, stopping=stopping, wanted=wanted, previous=previous, encoder=sink.encoder
            )
        if isinstance(target, RepositoryTarget):
            from coffre.runtime.repository_source import open_repositories  # dulwich, which buckets should not wait for

            return open_repositories(
                self.services,
                target,
                sink.scratch / "repositories",
                stopping=stopping,
                previous=previous,
                recipients=sink.recipients,
                is_full=wanted.full,
                is_here=self.is_here,
            )
        secret = target.store.secret
        keys = keys_from(self.services.secret, secret, self.services.secret(secret)) if secret else None
        return open_reader(target, keys, stopping=stopping, session=self.services.session)


@dataclass(frozen=True)
class _Sink:
    """What a source has to know about where its objects go: to whom they are encrypted, and a disk to use meanwhile."""

    encoder: FrameEncoder
    recipients: tuple[str, ...]
    scratch: Path


def _started(configuration: Configuration, wanted: BackupStorageEvent) -> tuple[ObjectTarget, ...]:
    """Return what an event without a target starts: a schedule starts no part of a restore point, its database does."""
    if wanted.scheduled_time is None:
        return configuration.object_targets
    return tuple(one for one in configuration.object_targets if configuration.point_of(one.name) is None)


def _refuse_files(target: ObjectTarget, wanted: BackupStorageEvent) -> None:
    if (wanted.files or wanted.forget) and not isinstance(target, SettingsTarget):
        raise EventError(
            f"The target {target.name} is no target of settings: files are handed in to settings.",
            hint="Name a target of the kind settings (docs/settings.md).",
        )
