"""The function `restore`: which backup an event means, where it goes, and with which identity it is read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulid import ULID

from coffre.alerts.alert import Alert
from coffre.alerts.runs import restore_completed, restore_failed, restore_started
from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Failure, Restore, RestoreReport, Status
from coffre.model.errors import BackupStateError, EventError
from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.restore_database.restore import restore_database
from coffre.operations.runs.dead_runs import STALE_AFTER, settle_restores
from coffre.operations.runs.parallel_map import ThreadRunner
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.restore_lifecycle import RestoreRun
from coffre.operations.stored_backup.open import refuse_unrestorable
from coffre.policy.recency import refuse_distant_id
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.connect import Connection, apply_tls, refuse_transaction_pooler
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.runtime.events import RestoreEvent, StorageRestoreEvent, parse_restore
from coffre.runtime.function import Edge, LambdaContext, clearing_seconds, remaining_seconds, utc_now
from coffre.runtime.observability import count_restore
from coffre.runtime.restore_storage_function import StorageRestores
from coffre.runtime.scratch import scratch_directory
from coffre.runtime.settings import RestoreSettings
from coffre.runtime.sources import read_configuration, read_secret
from coffre.vault.codec import FrameDecoder, parse_identities
from coffre.vault.vault import Vault

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient

_SERVICE = "restore"
_OWN_DATABASE = "the target's own database"
_FROM_TO = "coffre/destination/"


@dataclass(frozen=True)
class RestoreFunction:
    """Everything that lives as long as the function's process."""

    settings: RestoreSettings
    edge: Edge
    vault: Vault
    catalog: Catalog
    ssm: SSMClient
    secrets: SecretsManagerClient
    functions: LambdaClient

    def handle(self, event: object, context: LambdaContext) -> dict[str, Any]:
        """Restore the event's backup into its destination."""
        request_id = context.aws_request_id
        with self.edge.beginning(context):
            wanted = parse_restore(event)
        restore_id = wanted.restore_id or str(ULID.from_datetime(utc_now()))
        ids = {"restore_id": restore_id, "backup_id": wanted.backup_id, "request_id": request_id}

        def failed(error: Exception, target: str | None = wanted.target) -> Alert:
            failure = Failure.of(error)
            return restore_failed(
                target,
                failure,
                backup_id=wanted.backup_id,
                restore_id=restore_id,
                request_id=request_id,
                destination=wanted.destination or _OWN_DATABASE,
            )

        with self.edge.reporting(failed, **ids):
            if (known := self._begun_before(wanted)) is not None:
                self.edge.logger.info("the event was delivered before", extra={**ids, "status": known.status.value})
                return summary(known)
            if wanted.restore_id is not None and not _goes_on(wanted):
                refuse_distant_id("restore_id", wanted.restore_id, utc_now())
            backup = self._find(wanted)
            refuse_unrestorable(backup)
        ids = {**ids, "target": backup.target, "backup_id": backup.id}
        try:
            with self.edge.reporting(lambda error: failed(error, backup.target), **ids):
                restore = self._restore(backup, wanted, restore_id, context)
        except Exception:
            count_restore(_SERVICE, backup.target, succeeded=False)
            raise
        self._tell(restore, ids)
        return summary(restore)

    def _begun_before(self, wanted: RestoreEvent | StorageRestoreEvent) -> Restore | None:
        """Return the restore that an event has begun already: a chosen id names one run and no second one."""
        if wanted.restore_id is None:
            return None
        try:
            known = self.catalog.get_restore(wanted.restore_id)
        except BackupStateError:
            return None
        goes_on = isinstance(wanted, StorageRestoreEvent) and wanted.invocation > 1
        if known.status.is_final or goes_on:
            return known if known.status.is_final else None
        settle_restores(self.catalog, self.vault, utc_now(), STALE_AFTER, self._tell_died)
        return self.catalog.get_restore(known.id)

    def _tell(self, restore: Restore, ids: dict[str, str]) -> None:
        if not restore.status.is_final:
            self.edge.logger.info("restore goes on in another invocation", extra=ids)
            return
        count_restore(_SERVICE, restore.target, succeeded=True)
        if not restore.dry_run:
            self.edge.publish(restore_completed(restore), **ids)
        amounts = {"duration_ms": restore.duration_ms, "rows": restore.rows, "objects": restore.objects}
        self.edge.logger.info("restore ended", extra={**ids, **amounts})

    def _restore(
        self, backup: Backup, wanted: RestoreEvent | StorageRestoreEvent, restore_id: str, context: LambdaContext
    ) -> Restore:
        if isinstance(wanted, StorageRestoreEvent):
            return self._of_objects().restore(backup, wanted, restore_id, self._decoder(), context)
        children = Children(clearing_seconds(context))
        run = RestoreRun(
            catalog=self.catalog,
            vault=self.vault,
            now=utc_now,
            remaining_seconds=remaining_seconds(context),
            stop=children.end_all,
            report_died=self._tell_died,
        )
        now = utc_now()
        restore = Restore(
            id=restore_id,
            backup_id=backup.id,
            target=backup.target,
            destination=wanted.destination or _OWN_DATABASE,
            status=Status.IN_PROGRESS,
            created_at=now,
            heartbeat_at=now,
            dry_run=wanted.dry_run,
            request_id=context.aws_request_id,
        )
        self._tell_started(restore)
        return run.run(restore, lambda meter: self._work(backup, wanted, children, restore_id, meter, context))

    def _of_objects(self) -> StorageRestores:
        return StorageRestores(
            settings=self.settings,
            vault=self.vault,
            catalog=self.catalog,
            ssm=self.ssm,
            secrets=self.secrets,
            functions=self.functions,
            tell_started=self._tell_started,
            report_died=self._tell_died,
        )

    def _tell_started(self, restore: Restore) -> None:
        if not restore.dry_run:
            self.edge.publish(restore_started(restore), restore_id=restore.id, target=restore.target)

    def _tell_died(self, restore: Restore) -> None:
        """Tell a person about an earlier restore that could not do so itself."""
        count_restore(_SERVICE, restore.target, succeeded=False)
        if restore.failure is not None:
            alert = restore_failed(
                restore.target,
                restore.failure,
                backup_id=restore.backup_id,
                restore_id=restore.id,
                request_id=restore.request_id,
                destination=restore.destination,
            )
            self.edge.publish(alert, restore_id=restore.id, target=restore.target)

    def _work(
        self,
        backup: Backup,
        wanted: RestoreEvent,
        children: Children,
        restore_id: str,
        meter: Meter,
        context: LambdaContext,
    ) -> RestoreReport:
        streams = wanted.streams or os.cpu_count() or 1
        with children.ending(), scratch_directory() as scratch:
            job = RestoreJob(
                restore_id=restore_id,
                backup=backup,
                connection=children.watching(self._connection(backup, wanted, scratch)),
                children=children,
                vault=self.vault,
                decoder=self._decoder(),
                scratch=scratch,
                streams=streams,
                runner=ThreadRunner(2 * streams, children.end_all),
                scope=wanted.scope,
                remaining_seconds=remaining_seconds(context),
            )
            return restore_database(job, meter)

    def _connection(self, backup: Backup, wanted: RestoreEvent, scratch: Path) -> Connection:
        """Return how to reach the destination, by default the target's own database with its own TLS settings."""
        if wanted.destination is not None:
            text = read_secret(self.secrets, wanted.destination)
            # The command keeps what --to says in a secret of this name, for as long as the restore runs.
            place = "--to" if wanted.destination == f"{_FROM_TO}{wanted.restore_id}" else None
            connection = parse_secret(text, where=wanted.destination, place=place)
        else:
            target = read_configuration(self.ssm, self.settings.configuration).database(backup.target)
            own = parse_secret(read_secret(self.secrets, target.secret), where=target.secret)
            timeout = target.limits.connect_timeout_seconds
            connection = apply_tls(own, target.tls, scratch, connect_timeout_seconds=timeout)
        refuse_transaction_pooler(connection)
        return connection

    def _find(self, wanted: RestoreEvent | StorageRestoreEvent) -> Backup:
        if wanted.backup_id != "latest":
            backup = self.catalog.get_backup(wanted.backup_id)
            if wanted.target not in (None, backup.target):
                raise EventError(
                    f"Backup {backup.id} is of {backup.target}, not of {wanted.target}.",
                    hint="Leave target out, or choose a backup of that target.",
                )
            return backup
        if wanted.target is None:
            raise EventError('"latest" needs a target.', hint="Add the field target.")
        latest = self.catalog.latest_completed(wanted.target)
        if latest is None and (damaged := self.catalog.latest_completed(wanted.target, damaged_too=True)) is not None:
            raise BackupStateError(
                f'Every completed backup of "{wanted.target}" is damaged; the newest is {damaged.id}.',
                code="BACKUP_DAMAGED",
                detail=damaged.damage,
                hint="What is still whole of it can be restored by its id.",
            )
        if latest is None:
            raise BackupStateError(
                f'There is no completed backup of "{wanted.target}".',
                code="BACKUP_UNKNOWN",
                hint="List what there is: coffre list",
            )
        return latest

    def _decoder(self) -> FrameDecoder:
        reference = self.settings.identity_secret
        return FrameDecoder(parse_identities(read_secret(self.secrets, reference)) if reference else ())


def _goes_on(wanted: RestoreEvent | StorageRestoreEvent) -> bool:
    return isinstance(wanted, StorageRestoreEvent) and wanted.invocation > 1


def summary(restore: Restore) -> dict[str, Any]:
    """Return what an invocation answers: small, and without secrets."""
    return {
        "id": restore.id,
        "backup_id": restore.backup_id,
        "status": restore.status.value,
        "dry_run": restore.dry_run,
        **({"rows": restore.rows} if restore.objects is None else {"objects": restore.objects}),
        "exceptions": len(restore.exceptions),
    }
