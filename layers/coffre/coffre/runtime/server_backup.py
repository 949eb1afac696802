"""A backup of a server: find its databases, report what changed, and start one invocation for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ulid import ULID

from coffre.alerts.alert import Alert, AlertKind
from coffre.alerts.runs import backup_failed
from coffre.alerts.servers import databases_found, databases_gone, names_unreadable
from coffre.model.audit import Actor
from coffre.model.backup import Failure, Tier
from coffre.model.configuration import Configuration
from coffre.model.database_target import DatabaseTarget
from coffre.model.errors import EventError
from coffre.model.server import SeenDatabase
from coffre.operations.monitoring.alerting import Review, what_is_safe
from coffre.operations.servers.find_databases import FindJob, FoundDatabases, find_databases
from coffre.postgres.connection.address import apply_tls
from coffre.postgres.connection.poolers import refuse_transaction_pooler
from coffre.runtime.bootstrap import Services
from coffre.runtime.credentials import connection_from
from coffre.runtime.events.backup import BackupDatabaseEvent
from coffre.runtime.function import utc_now
from coffre.runtime.invocations import start_each
from coffre.runtime.observability import count_backup
from coffre.runtime.scratch import scratch_directory

_SAFE: Final = "Backups of its databases are untouched: coffre list"
_ACTOR: Final = Actor("backup", verified=True)
# What is over for a database that is gone: nothing more is expected of it.
_OVER: Final = tuple(kind for kind in AlertKind if kind.is_of_runs)


@dataclass(frozen=True)
class ServerBackup:
    """Backs up a server; `function` is the deployed name of the function that backs up databases."""

    services: Services
    function: str

    def start(
        self, configuration: Configuration, server: DatabaseTarget, wanted: BackupDatabaseEvent, request_id: str
    ) -> dict[str, Any]:
        """Find the databases of a server, and start the backup of each.

        Raises
        ------
        ConnectError, ConnectTransientError, ConfigurationError, CatalogError
            As `find_databases`; nothing was started.
        TransientError
            `INVOKE_FAILED`, as `start_each`.
        """

        def failed(error: Exception) -> Alert:
            count_backup(self.services.edge.logger.service, server.name, None)
            return backup_failed(server.name, Failure.of(error), backup_id="", request_id=request_id, safe=_SAFE)

        with self.services.edge.reporting(failed, target=server.name, request_id=request_id):
            found = self._find(configuration, server)
            self._report(server, found)
            sent = wanted.sent_by(self.services.actor(wanted))
            events = {one.name: _event(sent, one.name) for one in found.present}
            started = start_each(self.services.functions, self.function, events.items(), "backup")
        ids = {name: event["backup_id"] for name, event in events.items() if "backup_id" in event}
        return {"server": server.name, "started": started, "backups": ids}

    def _find(self, configuration: Configuration, server: DatabaseTarget) -> FoundDatabases:
        read = self.services.secret
        timeout = server.limits.connect_timeout_seconds
        with scratch_directory() as scratch:
            connection = connection_from(read, server.secret)
            refuse_transaction_pooler(connection)
            connection = apply_tls(connection, server.tls, scratch, connect_timeout_seconds=timeout, read_secret=read)
            return find_databases(FindJob(server, connection, self.services.catalog, configuration.names, utc_now))

    def _report(self, server: DatabaseTarget, found: FoundDatabases) -> None:
        """Record and send what changed; a message that cannot be sent stops no backup."""
        edge = self.services.edge
        for one in found.new:
            edge.audit(_ACTOR, "database.found", one.name, one.database)
        for one in (*found.dropped, *found.left_out):
            edge.audit(_ACTOR, "database.gone", one.name, one.database)
            edge.recovered(one.name, *_OVER)
        if found.new:
            edge.publish(databases_found(server.name, found.new), target=server.name)
        if found.dropped or found.left_out:
            safe = {one.name: self._safe(one) for one in found.dropped}
            edge.publish(databases_gone(server.name, found.dropped, found.left_out, safe), target=server.name)
        unreadable = (names_unreadable(server.name, found.unreadable),) if found.unreadable else ()
        checked = frozenset((kind, server.name) for kind in (AlertKind.BACKUP_FAILED, AlertKind.BACKUP_OVERDUE))
        edge.review(lambda: Review(unreadable, checked), target=server.name)

    def _safe(self, one: SeenDatabase) -> str:
        return what_is_safe(self.services.catalog, one.name)


def _event(sent: BackupDatabaseEvent, name: str) -> dict[str, Any]:
    """Return the event of one database. By hand its id is chosen here, so that the caller can follow the run."""
    chosen = {"backup_id": str(ULID.from_datetime(utc_now()))} if sent.tier is Tier.MANUAL else {}
    return {**sent.for_target(name), **chosen}


def refuse_server(server: DatabaseTarget, wanted: BackupDatabaseEvent) -> None:
    """Refuse an event that is for one database, and names a server (`EVENT_INVALID`)."""
    wrong = "backup_id" if wanted.backup_id is not None else "tier SAFETY" if wanted.tier is Tier.SAFETY else None
    if wrong is not None:
        raise EventError(
            f'{wrong} is for one database, and "{server.name}" is a server with several.',
            hint="Name one of its databases as the target: coffre list has them.",
        )
