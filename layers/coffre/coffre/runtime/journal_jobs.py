"""What a drain of one target's journal is put together from: its database, the vault, and its bases."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, time
from typing import Final

from ulid import ULID

from coffre.model.configuration import Configuration, parse_configuration
from coffre.model.database_target import DatabaseTarget
from coffre.model.errors import ConfigurationError, IntegrityError, SettingsError, TargetUnknownError
from coffre.model.journal_options import JournalOptions
from coffre.model.manifest import JournalBase
from coffre.operations.journal.job import JournalJob
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.policy.journal_health import Guarding, silent_after
from coffre.postgres.connection.poolers import refuse_transaction_pooler
from coffre.runtime.bootstrap import Services
from coffre.runtime.credentials import checked_connection
from coffre.runtime.events.backup import BackupDatabaseEvent
from coffre.runtime.function import LambdaContext, remaining_seconds, utc_now
from coffre.runtime.invocations import start
from coffre.runtime.scratch import scratch_directory
from coffre.runtime.server_databases import with_databases
from coffre.vault.codec import FrameEncoder

# A base that the open interval can have is among the newest: it was asked for when the interval began.
_BASES_LOOKED_AT: Final = 3
_ACTOR: Final = "journal"


@dataclass(frozen=True)
class JournalJobs:
    """Makes the job of a target."""

    services: Services

    @contextmanager
    def job(self, configuration: Configuration, target: DatabaseTarget, context: LambdaContext) -> Iterator[JournalJob]:
        """Yield what a drain of a target needs.

        Raises
        ------
        SecretError, ConnectError
            The address cannot be read, or leads to a transaction pooler.
        """
        options = target.journal or JournalOptions()
        recipients = configuration.recipients_of(target.name)
        with scratch_directory() as scratch:
            connection = checked_connection(self.services.secret, target, scratch)
            refuse_transaction_pooler(connection)
            yield JournalJob(
                target=target.name,
                connection=connection,
                vault=self.services.vault,
                encoder=FrameEncoder(recipients, level=target.limits.compression_level),
                recipients=recipients,
                journals=self.services.catalog.journals,
                bases=lambda: self._bases(target.name),
                ask_for_base=lambda why: self._ask_for_base(target.name, options, why),
                now=utc_now,
                remaining_seconds=remaining_seconds(context),
                plugin=options.plugin,
                provider=target.provider,
                guarding=Guarding(options.maximum_lag_bytes, silent_after=silent_after(options)),
            )

    def former(self, name: str) -> tuple[Configuration, DatabaseTarget]:
        """Return a target that the configuration has no more, as the newest version that had it says.

        Raises
        ------
        TargetUnknownError
            No version that can be read had it.
        """
        for version in self.services.catalog.configurations.all():
            try:
                older = parse_configuration(version.document, where=f"version {version.number}")
                older = with_databases(older, self.services.catalog)
                return older, older.database(name)
            except (ConfigurationError, TargetUnknownError):
                continue
        slot = self.services.catalog.journals.find(name)
        raise TargetUnknownError(
            f'No version of the configuration has a database "{name}": its journal cannot be switched off from here.',
            hint=f"On its server: SELECT pg_drop_replication_slot('{slot.slot}');" if slot and slot.slot else None,
        )

    def _bases(self, target: str) -> list[JournalBase]:
        found = list[JournalBase]()
        for backup in self.services.catalog.completed_backups(target)[:_BASES_LOOKED_AT]:
            try:
                content = manifest_of(self.services.vault, backup).database
            except IntegrityError:
                continue  # verification reports it
            if content is not None and content.journal is not None:
                found.append(content.journal)
        return found

    def _ask_for_base(self, target: str, options: JournalOptions, why: str) -> None:
        function = self.services.settings.backup_database_function
        if function is None:
            raise SettingsError(
                "The function journal does not know which function backs databases up.",
                hint="template.yaml sets COFFRE_BACKUP_DATABASE_FUNCTION: deploy the stack again.",
            )
        # Moments of the whole window need it, and rotation deletes it afterwards.
        wanted = BackupDatabaseEvent(target=target, actor=_ACTOR, keep=f"{options.window_days + 1}d")
        start(self.services.functions, function, wanted.for_target(target))
        self.services.edge.logger.info("a base was asked for", extra={"target": target, "why": why})


def usage_id(target: str, now: datetime) -> str:
    """Return the id of what a journal uses in a day: drains are many, and their counts are added."""
    midnight = datetime.combine(now.date(), time(), now.tzinfo)
    milliseconds = int(midnight.timestamp() * 1000).to_bytes(6)
    return str(ULID.from_bytes(milliseconds + hashlib.sha256(target.encode()).digest()[:10]))
