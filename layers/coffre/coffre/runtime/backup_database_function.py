"""The function `backup_database`: which targets an event means, and what each needs."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coffre.catalog.catalog import Catalog
from coffre.model.configuration import Configuration
from coffre.model.manifest import Manifest
from coffre.model.target import DatabaseTarget
from coffre.operations.backup_database.backup import backup_database
from coffre.operations.backup_database.plan import DatabaseBackupJob
from coffre.operations.runs.admission import Request, Result
from coffre.operations.runs.backup_lifecycle import Lifecycle
from coffre.operations.runs.parallel_map import ThreadRunner, width_for
from coffre.operations.runs.run import Run
from coffre.policy.streams import default_streams
from coffre.postgres.connection.client_tools import Children, PostgresTools
from coffre.postgres.connection.connect import Connection, apply_tls, refuse_transaction_pooler
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.runtime.announce import Announcer
from coffre.runtime.backup_runs import BackupRuns
from coffre.runtime.events import BackupDatabaseEvent
from coffre.runtime.function import Edge, LambdaContext, clearing_seconds, remaining_seconds, utc_now
from coffre.runtime.scratch import scratch_directory
from coffre.runtime.settings import Settings
from coffre.runtime.sources import read_configuration, read_secret
from coffre.vault.codec import FrameEncoder
from coffre.vault.vault import Committed, Vault

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient

_SERVICE = "backup_database"


@dataclass(frozen=True)
class BackupDatabaseFunction:
    """Everything that lives as long as the function's process."""

    settings: Settings
    edge: Edge
    vault: Vault
    catalog: Catalog
    ssm: SSMClient
    secrets: SecretsManagerClient
    functions: LambdaClient
    announcer: Announcer

    @property
    def runs(self) -> BackupRuns:
        """What is said about runs."""
        return BackupRuns(self.edge, self.vault, self.catalog, self.functions, self.announcer)

    def handle(self, event: object, context: LambdaContext) -> dict[str, Any]:
        """Back up the event's target, or start one invocation for each target when it names none."""
        with self.edge.beginning(context):
            wanted = BackupDatabaseEvent.parse(event)
            configuration = read_configuration(self.ssm, self.settings.configuration)
            if wanted.target is None:
                events = {target.name: wanted.for_target(target.name) for target in configuration.databases}
                return self.runs.start_each(context.function_name, events)
            target = configuration.database(wanted.target)

        def run(request: Request) -> Result:
            return self._run(configuration, target, request, context, full=wanted.full)

        return self.runs.back_up(configuration, target, wanted, context, run)

    def _run(
        self,
        configuration: Configuration,
        target: DatabaseTarget,
        request: Request,
        context: LambdaContext,
        *,
        full: bool,
    ) -> Result:
        children = Children(clearing_seconds(context))
        lifecycle = Lifecycle(
            catalog=self.catalog,
            vault=self.vault,
            now=utc_now,
            remaining_seconds=remaining_seconds(context),
            stop=children.end_all,
            report_died=self.runs.report_died,
        )

        def work(run: Run) -> tuple[Manifest, Committed]:
            with children.ending(), scratch_directory() as scratch:
                job = self._job(configuration, target, children, scratch)
                previous = None if full else self.catalog.latest_completed(target.name, damaged_too=True)
                return backup_database(replace(job, previous=previous), run)

        return lifecycle.run(request, work)

    def _job(
        self, configuration: Configuration, target: DatabaseTarget, children: Children, scratch: Path
    ) -> DatabaseBackupJob:
        streams = target.limits.streams or default_streams(os.cpu_count() or 1)
        return DatabaseBackupJob(
            target=target,
            connection=children.watching(self._connection(target, scratch)),
            tools=PostgresTools(self.settings.postgres_home),
            children=children,
            vault=self.vault,
            encoder=FrameEncoder(configuration.recipients, level=target.limits.compression_level),
            recipients=configuration.recipients,
            scratch=scratch,
            streams=streams,
            runner=ThreadRunner(width_for(streams), children.end_all),
            now=utc_now,
        )

    def _connection(self, target: DatabaseTarget, scratch: Path) -> Connection:
        connection = parse_secret(read_secret(self.secrets, target.secret), where=target.secret)
        refuse_transaction_pooler(connection)
        return apply_tls(connection, target.tls, scratch, connect_timeout_seconds=target.limits.connect_timeout_seconds)
