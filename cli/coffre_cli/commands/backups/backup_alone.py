"""`coffre --vault ... backup database --here`: a backup without a stack; the vault alone is the record (docs/ci.md)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import typer
from ulid import ULID

from coffre.model.backup import Backup, Progress, Status, Tier
from coffre.model.configuration import Configuration, parse_configuration
from coffre.model.database_target import DatabaseTarget
from coffre.model.errors import ConfigurationError, SecretError
from coffre.model.manifest import Manifest
from coffre.model.times import parse_span
from coffre.operations.backup_database.backup import backup_database
from coffre.operations.backup_database.job import DatabaseBackupJob
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.parallel_map import ThreadRunner, width_for
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.run import Run
from coffre.operations.stored_backup.catalog_record import completed
from coffre.operations.stored_backup.vault_backups import VaultBackups
from coffre.policy.connection_counts import default_streams
from coffre.postgres.connection.address import Connection, apply_tls
from coffre.postgres.connection.client_tools import Children, PostgresTools
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.postgres.connection.poolers import refuse_transaction_pooler
from coffre.runtime.function import utc_now
from coffre.runtime.scratch import scratch_directory
from coffre.vault.codec import FrameEncoder
from coffre.vault.vault import Committed, Vault
from coffre_cli.client_programs import find_tools
from coffre_cli.follow import bar, facts
from coffre_cli.here import Interruption, RunHere, end_interrupted
from coffre_cli.screen import remark
from coffre_cli.standalone import open_store
from coffre_cli.vault_choice import VaultChoice

NEVER_OVER: Final = 1e9  # seconds: no platform ends this process
_BEAT_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True)
class Alone:
    """What is backed up, from where, and how it is encrypted.

    Parameters
    ----------
    url_variable
        The environment variable with the database's address.
    recipients, document
        Public keys, or the path of a configuration document that has them: one of both.
    """

    target: str
    url_variable: str
    recipients: Sequence[str] = ()
    document: str | None = None
    full: bool = False
    keep: str | None = None
    home: Path | None = None

    def configuration(self) -> Configuration:
        """Return the configuration that the options or the document are.

        Raises
        ------
        typer.BadParameter
            Neither or both of the two ways to say who can read the backup are given.
        ConfigurationError
            The document cannot be read, or is not valid.
        """
        if bool(self.recipients) == (self.document is not None):
            raise typer.BadParameter(
                "say who can read the backup: --recipient age1... (coffre keys new makes keys), or --configuration FILE"
            )
        if self.document is None:
            own = {"name": self.target, "secret": self.url_variable}
            fields = {"encryption": "age", "recipients": list(self.recipients), "targets": [own]}
            return Configuration.model_validate(fields)
        try:
            text = Path(self.document).expanduser().read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"The configuration document {self.document} cannot be read.",
                code="CONFIGURATION_MISSING",
                detail=error.strerror if isinstance(error, OSError) else "It is not text in UTF-8.",
                hint="Give the path of a file with the document (docs/configuration.md).",
            ) from error
        return parse_configuration(text, where=self.document)

    def connection(self) -> Connection:
        """Return the database's address.

        Raises
        ------
        SecretError
            `SECRET_MISSING`: the variable is not set. And what `parse_secret` raises.
        """
        text = os.environ.get(self.url_variable)
        if not text:
            raise SecretError(
                f"The variable {self.url_variable[:100]} is not set, or is empty.",
                code="SECRET_MISSING",
                hint="Set it to postgresql://USER:PASSWORD@HOST/DATABASE, in CI as a secret of the pipeline.",
            )
        return parse_secret(text, where=f"the variable {self.url_variable}")


def back_up_alone(choice: VaultChoice, wanted: Alone, *, quiet: bool) -> Backup:
    """Take the backup, and return its record as a catalog would have it.

    Raises
    ------
    CoffreError
        Whatever stopped it: nothing was published.
    typer.Exit
        The user pressed Ctrl-C.
    """
    configuration = wanted.configuration()
    target = configuration.database(wanted.target)
    connection = wanted.connection()
    tools = find_tools(wanted.home)
    vault = Vault(open_store(choice))
    backups = VaultBackups(vault)
    is_known = wanted.target in backups.targets
    if not backups.targets:
        remark(f"{choice.place} has no backup yet: this is its first.")
    previous = backups.latest_completed(wanted.target, damaged_too=True) if is_known and not wanted.full else None
    now = datetime.now(UTC)
    record = Backup(
        id=str(ULID.from_datetime(now)),
        target=target.name,
        tiers=(Tier.MANUAL,),
        status=Status.IN_PROGRESS,
        created_at=now,
        started_at=now,
        heartbeat_at=now,
        expires_at=now + parse_span(wanted.keep) if wanted.keep else None,
    )
    run = RunAlone(record, configuration.recipients_of(target.name), target, connection, tools, vault, previous)
    return run.back_up(quiet=quiet)


type _Work = Callable[[Run], tuple[Manifest, Committed]]


def watched_alone(record: Backup, stop: Callable[[], None], work: _Work, *, quiet: bool) -> Backup:
    """Do a backup's work, show its progress, and return its record; Ctrl-C ends it as a deadline would.

    Parameters
    ----------
    stop
        Makes the work end soon.
    """
    meter, interruption = Meter(), Interruption("backup")
    watch = Watch(
        meter,
        beat=lambda _: None,
        remaining_seconds=lambda: NEVER_OVER,
        stop=stop,
        beat_seconds=_BEAT_SECONDS,
    )
    interruption.watched(watch)
    run = Run(record, meter, watch, ready_to_commit=lambda: record.tiers, announce=lambda _: None)
    job = RunHere(lambda: watch.run(lambda: work(run)), interruption)
    try:
        _show(record, job, meter, quiet=quiet)
    except KeyboardInterrupt:
        end_interrupted([job])
    return completed(record, *job.result())


def _show(record: Backup, work: RunHere[tuple[Manifest, Committed]], meter: Meter, *, quiet: bool) -> None:
    with bar(quiet=quiet) as shown:
        task = shown.add_task(f"Backing up {record.target} here", total=None, facts="starting")
        while not work.wait(_POLL_SECONDS):
            done: Progress = meter.read()
            now = record.model_copy(update={"progress": done, "heartbeat_at": datetime.now(UTC)})
            shown.update(task, completed=done.done_bytes, total=done.total_bytes or None, facts=facts(now))


@dataclass(frozen=True)
class RunAlone:
    """One run: what `Lifecycle` is with a catalog. `record` is the backup as it begins."""

    record: Backup
    recipients: tuple[str, ...]
    target: DatabaseTarget
    connection: Connection
    tools: PostgresTools
    vault: Vault
    previous: Backup | None

    def back_up(self, *, quiet: bool) -> Backup:
        """Take the backup; see `watched_alone`."""
        children = Children()

        def work(run: Run) -> tuple[Manifest, Committed]:
            with scratch_directory() as scratch, children.ending():
                return backup_database(self._job(children, scratch), run)

        return watched_alone(self.record, children.end_all, work, quiet=quiet)

    def _job(self, children: Children, scratch: Path) -> DatabaseBackupJob:
        target, limits = self.target, self.target.limits
        streams = limits.streams or default_streams(os.cpu_count() or 1)
        connection = apply_tls(
            self.connection,
            target.tls,
            scratch,
            connect_timeout_seconds=limits.connect_timeout_seconds,
            read_secret=_no_secret,
        )
        refuse_transaction_pooler(connection)
        return DatabaseBackupJob(
            target=target,
            connection=children.watching(connection),
            tools=self.tools,
            children=children,
            vault=self.vault,
            encoder=FrameEncoder(self.recipients, level=limits.compression_level),
            recipients=self.recipients,
            scratch=scratch,
            streams=streams,
            runner=ThreadRunner(width_for(streams), children.end_all),
            now=utc_now,
            previous=self.previous,
        )


def _no_secret(reference: str) -> str:
    raise SecretError(
        f"The secret {reference} cannot be read without a stack.",
        code="SECRET_MISSING",
        hint="In the configuration document, give the CA as PEM text or as system.",
    )
