"""The function `backup_storage`: which targets an event means, what each needs, and going on in another invocation."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coffre.buckets.client import parse_credentials
from coffre.buckets.open_reader import open_reader
from coffre.buckets.reader import BucketReader
from coffre.catalog.catalog import Catalog
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
from coffre.runtime.announce import Announcer
from coffre.runtime.backup_runs import BackupRuns
from coffre.runtime.events import BackupStorageEvent
from coffre.runtime.function import Edge, LambdaContext, remaining_seconds, utc_now
from coffre.runtime.scratch import scratch_directory
from coffre.runtime.settings import Settings
from coffre.runtime.sources import read_configuration, read_secret
from coffre.vault.bucket_progress import BucketProgress, read_progress
from coffre.vault.codec import FrameEncoder
from coffre.vault.vault import Committed, Vault

if TYPE_CHECKING:
    from botocore.session import Session
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient

_SERVICE = "backup_storage"


@dataclass(frozen=True)
class BackupStorageFunction:
    """Everything that lives as long as the function's process."""

    settings: Settings
    edge: Edge
    vault: Vault
    catalog: Catalog
    ssm: SSMClient
    secrets: SecretsManagerClient
    functions: LambdaClient
    announcer: Announcer
    session: Session

    @property
    def runs(self) -> BackupRuns:
        """What is said about runs."""
        return BackupRuns(self.edge, self.vault, self.catalog, self.functions, self.announcer)

    def handle(self, event: object, context: LambdaContext) -> dict[str, Any]:
        """Back up the event's target, or start one invocation for each target of buckets when it names none."""
        with self.edge.beginning(context):
            wanted = BackupStorageEvent.parse(event)
            configuration = read_configuration(self.ssm, self.settings.configuration)
            if wanted.target is None:
                events = {target.name: wanted.for_target(target.name) for target in configuration.buckets}
                return self.runs.start_each(context.function_name, events)
            target = configuration.bucket(wanted.target)

        def run(request: Request) -> Result:
            return self._run(configuration, target, request, wanted, context)

        return self.runs.back_up(configuration, target, wanted, context, run)

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
            catalog=self.catalog,
            vault=self.vault,
            now=utc_now,
            remaining_seconds=remaining_seconds(context),
            stop=stopping.set,
            report_died=self.runs.report_died,
        )

        def go_on(invocations: int) -> None:
            event = wanted.after(target.name, request.backup_id, invocations)
            self.runs.go_on(context.function_name, event)

        def work(run: Run) -> tuple[Manifest, Committed] | Paused:
            begun = read_progress(self.vault, target.name, run.backup.id) if wanted.after_invocations else None
            previous = self._previous(target.name, begun, full=wanted.full)
            with scratch_directory() as scratch, self._reader(target, stopping) as reader:
                job = BucketBackupJob(
                    target=target,
                    reader=reader,
                    vault=self.vault,
                    encoder=FrameEncoder(configuration.recipients, level=target.limits.compression_level),
                    recipients=configuration.recipients,
                    scratch=scratch,
                    runner=ThreadRunner(WORKERS, stopping.set),
                    now=utc_now,
                    remaining_seconds=remaining_seconds(context),
                    start_next=go_on,
                    previous=previous,
                    begun=begun,
                )
                return backup_buckets(job, run)

        if wanted.after_invocations is not None:
            return lifecycle.resume(request, work, wanted.after_invocations)
        return lifecycle.run(request, work)

    def _previous(self, target: str, begun: BucketProgress | None, *, full: bool) -> Backup | None:
        """Return the backup to compare with: of a run that goes on the one that it began with."""
        if begun is None:
            return None if full else self.catalog.latest_completed(target, damaged_too=True)
        try:
            return self.catalog.get_backup(begun.previous) if begun.previous else None
        except BackupStateError:
            return None

    def _reader(self, target: BucketTarget, stopping: threading.Event) -> BucketReader:
        secret = target.store.secret
        credentials = parse_credentials(read_secret(self.secrets, secret), where=secret) if secret else None
        return open_reader(target, credentials, stopping=stopping, session=self.session)
