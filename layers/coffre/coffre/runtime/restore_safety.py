"""The function `restore`: what it overwrites has to be in a backup first. Finds whose the destination is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from coffre.model.backup import Backup
from coffre.model.bucket_target import ObjectStore
from coffre.model.database_target import DatabaseTarget
from coffre.model.errors import CoffreError
from coffre.model.manifest import Manifest
from coffre.model.safety import Safety
from coffre.operations.restore_buckets.job import StorageJob
from coffre.operations.restore_buckets.safety import safety_of_buckets
from coffre.operations.restore_database.safety import safety_of_database
from coffre.operations.runs.safety import SafetyRecords
from coffre.operations.stored_backup.open_backup import open_manifest
from coffre.postgres.connection.address import Connection, apply_tls
from coffre.postgres.connection.connect import connect
from coffre.postgres.destination.database_identity import DatabaseIdentity, identity_of
from coffre.runtime.bootstrap import Services
from coffre.runtime.credentials import target_connection
from coffre.runtime.events.restore import RestoreEvent
from coffre.runtime.function import utc_now
from coffre.vault.vault import Vault


@dataclass(frozen=True)
class RestoreSafety:
    """Checks that a backup holds what a restore overwrites; raises what `coffre.operations.runs.safety` says."""

    services: Services
    vault: Vault

    def _records(self, backup: Backup) -> SafetyRecords:
        return SafetyRecords(self.services.catalog, self.vault, utc_now(), backup.id)

    def of_database(self, backup: Backup, wanted: RestoreEvent, connection: Connection, scratch: Path) -> Safety | None:
        """Return which backup holds what the restore overwrites."""

        def target_of(there: DatabaseIdentity) -> DatabaseTarget | None:
            targets = self.services.configuration().databases
            if wanted.destination is None:
                return next(target for target in targets if target.name == backup.target)
            alike = sorted(targets, key=lambda target: target.name != backup.target)
            return next((one for one in alike if self._is_at(one, connection, there, scratch)), None)

        def restored() -> Manifest:
            return open_manifest(self.vault, backup)

        return safety_of_database(wanted.scope, connection, restored, target_of, self._records(backup))

    def _is_at(self, target: DatabaseTarget, connection: Connection, there: DatabaseIdentity, scratch: Path) -> bool:
        """Return whether a target's database is this one. One that cannot be reached is not known to be."""
        own = scratch / f"target-{target.name}"
        own.mkdir()
        try:
            source = target_connection(self.services.secret, target)
            if source.database != connection.database:
                return False
            timeout = target.limits.connect_timeout_seconds
            source = apply_tls(
                source, target.tls, own, connect_timeout_seconds=timeout, read_secret=self.services.secret
            )
            with connect(source) as session:
                return identity_of(session).is_same(there)
        except CoffreError as error:
            self.services.edge.logger.warning(
                "a target's database could not be compared with the destination",
                extra={"target": target.name, "code": error.code},
            )
            return False

    def of_buckets(self, job: StorageJob, store: ObjectStore) -> Safety | None:
        """Return which backup holds what the restore overwrites."""
        if not job.scope.touches:
            return None
        targets = sorted(self.services.configuration().buckets, key=lambda target: target.name != job.backup.target)
        manifest = open_manifest(job.vault, job.backup)
        return safety_of_buckets(manifest, job.scope, store, job.open_bucket, targets, self._records(job.backup))
