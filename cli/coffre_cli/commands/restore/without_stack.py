"""`coffre --vault ... restore`: a restore in the command's own process, without a stack."""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

import typer
from ulid import ULID

from coffre.buckets.client import make_bucket_client, parse_store_secret
from coffre.buckets.writer import BucketWriter
from coffre.model.backup import Backup, Failure, Progress, Restore, Status
from coffre.model.bucket_target import ObjectStore
from coffre.model.errors import CoffreError
from coffre.model.restore_report import RestoreReport
from coffre.model.safety import Safety
from coffre.operations.restore_buckets.job import StorageJob
from coffre.operations.restore_buckets.restore import restore_storage
from coffre.operations.restore_buckets.safety import safety_of_buckets
from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.restore_database.restore import restore_database
from coffre.operations.restore_database.safety import safety_of_database
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.parallel_map import ThreadRunner
from coffre.operations.runs.progress import Meter
from coffre.operations.stored_backup.open_backup import open_manifest
from coffre.policy.confirmation import refuse_plan
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.client_tools import Children
from coffre.runtime.scratch import scratch_directory
from coffre.stores.s3_client import S3Credentials
from coffre_cli.background import InterruptedRunError
from coffre_cli.commands.restore.database_result import Ask
from coffre_cli.commands.restore.object_options import contents_of_store
from coffre_cli.confirming import Confirmed
from coffre_cli.exit_status import Exit
from coffre_cli.follow import bar, facts
from coffre_cli.output_file import new_file
from coffre_cli.screen import remark, show_error
from coffre_cli.standalone import StandaloneVault

if TYPE_CHECKING:
    from coffre_cli.commands.restore.objects_asked import Ask as ObjectsAsk

_OBJECT_STREAMS: Final = 8
# Large objects use further connections for their parts, besides those of the streams.
_MORE_CONNECTIONS: Final = 8
_BEAT_SECONDS: Final = 0.5

type Work = Callable[[Meter, Children, Path], RestoreReport]


@dataclass(frozen=True)
class _Run:
    """The id of a restore, its backup and its destination."""

    id: str
    backup: Backup
    destination: str
    dry_run: bool
    quiet: bool


def restore_database_here(
    place: StandaloneVault,
    ask: Ask,
    streams: int | None,
    confirmed: Confirmed | None = None,
    *,
    quiet: bool,
    restore_id: str | None = None,
    continues: bool = False,
    on_whole: Callable[[RestoreReport], None] = lambda _: None,
) -> tuple[Restore, RestoreReport | None]:
    """Restore a database, or some of its tables or rows, into the address that was given.

    Parameters
    ----------
    restore_id
        Of a restore that another process can continue.
    continues
        An earlier process may have begun it.
    on_whole
        Gets the report when all is done but the removal of the mark.

    Raises
    ------
    typer.BadParameter
        No address was given.
    EncryptionError
        `IDENTITY_MISSING`
    """
    connection = _address_of(ask)
    decoder = place.decoder_of(ask.backup)
    run = _Run(restore_id or str(ULID()), ask.backup, str(connection), ask.scope.dry_run, quiet)
    width = streams or os.cpu_count() or 1
    consent = confirmed.consent() if confirmed else refuse_plan

    def work(meter: Meter, children: Children, scratch: Path) -> RestoreReport:
        job = RestoreJob(
            restore_id=run.id,
            backup=ask.backup,
            connection=children.watching(connection),
            children=children,
            vault=place.vault,
            decoder=decoder,
            scratch=scratch,
            streams=width,
            runner=ThreadRunner(2 * width, children.end_all),
            scope=ask.scope,
            consent=consent,
            safety=_safety_of(place, ask, connection),
            is_resumable=ask.scope.resume is not None or (restore_id is not None and not ask.scope.overwrites),
            continues=continues,
            on_whole=on_whole,
        )
        return restore_database(job, meter)

    return _restore(run, work, Children(run_id=ask.scope.resume or run.id))


def restore_objects_here(
    place: StandaloneVault, ask: ObjectsAsk, confirmed: Confirmed | None = None, *, quiet: bool
) -> tuple[Restore, RestoreReport | None]:
    """Restore objects into a bucket, by the credentials of this machine or those of `--store`.

    Parameters
    ----------
    place
        Its vault takes what the restore writes of its own: lists of failed objects.

    Raises
    ------
    EncryptionError
        `IDENTITY_MISSING`
    SecretError
        `--store` has no store.
    """
    backup, scope = ask.backup, ask.scope
    decoder = place.decoder_of(backup)
    wanted, credentials = store_of(ask.store)
    where = f"{scope.to or 'where they were'} at {wanted.endpoint or 'AWS'}"
    run = _Run(str(ULID()), backup, where, scope.dry_run, quiet)
    width = ask.streams or _OBJECT_STREAMS
    consent = confirmed.consent() if confirmed else refuse_plan
    stop = threading.Event()

    def work(meter: Meter, _: Children, scratch: Path) -> RestoreReport:
        client = make_bucket_client(wanted, credentials, connections=width + _MORE_CONNECTIONS)
        with closing(client):
            job = StorageJob(
                restore_id=run.id,
                backup=backup,
                vault=place.vault,
                decoder=decoder,
                scope=scope,
                open_bucket=lambda name: BucketWriter(client, name, is_aws=wanted.endpoint is None),
                store=wanted.endpoint or "AWS",
                store_secret=None,
                streams=width,
                scratch=scratch,
                stop=stop,
                remaining_seconds=lambda: math.inf,
                consent=consent,
            )
            manifest = open_manifest(place.vault, backup)
            safety = safety_of_buckets(manifest, scope, wanted, job.open_bucket, (), None)
            done = restore_storage(replace(job, safety=safety), None, meter)
        if isinstance(done, RestoreReport):
            return done
        raise InterruptedRunError("The restore was interrupted.", hint=f"It stopped after {done.after}. Run it again.")

    return _restore(run, work, _Stoppable(stop))


def keep_report(report: RestoreReport) -> Path | None:
    """Write the whole report into the working directory: without a stack, no vault keeps it."""
    path = Path(f"coffre-restore-{report.id}.json")
    try:
        with new_file(path) as file:
            file.write(report.model_dump_json(indent=1).encode())
    except CoffreError as error:
        remark(f"The report could not be saved: {error.message}")
        return None
    return path


class _Stoppable(Children):
    """Work without child processes: setting an event ends it."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__()
        self._stop = stop

    def end_all(self) -> None:
        self._stop.set()
        super().end_all()


def _safety_of(place: StandaloneVault, ask: Ask, connection: Connection) -> Safety | None:
    return safety_of_database(
        ask.scope, connection, lambda: open_manifest(place.vault, ask.backup), lambda _: None, None
    )


def _address_of(ask: Ask) -> Connection:
    if ask.wanted is None or ask.wanted.url is None:
        raise typer.BadParameter(
            "with --vault the address of the database is unknown: give --to postgresql://... or --to env:NAME"
        )
    return ask.wanted.url


def store_of(store: str | None) -> tuple[ObjectStore, S3Credentials | None]:
    """Return the store that `--store` describes, AWS without one; raises what reading it raises."""
    if store is None:
        return ObjectStore(), None
    secret = parse_store_secret(contents_of_store(store), where=f"in {store}")
    return secret.store, secret.credentials


def _restore(run: _Run, work: Work, children: Children) -> tuple[Restore, RestoreReport | None]:
    """Do the work with a progress bar, and return how it ended as a stack's catalog would have it."""
    began = datetime.now(UTC)
    record = Restore(
        id=run.id,
        backup_id=run.backup.id,
        target=run.backup.target,
        destination=run.destination,
        status=Status.IN_PROGRESS,
        created_at=began,
        dry_run=run.dry_run,
    )
    meter = Meter()
    try:
        with scratch_directory() as scratch, _watched(record, meter, children, quiet=run.quiet):
            report = work(meter, children, scratch)
    except InterruptedRunError as interrupted:
        show_error(interrupted)
        raise typer.Exit(Exit.INTERRUPTED) from None
    except CoffreError as error:
        return _ended(record, Status.FAILED, failure=Failure.of(error)), None
    storage = report.storage
    amounts = {"objects": storage.written} if storage else {"tables": len(report.tables), "rows": report.rows}
    facts_of_end = {"destination": report.destination, "exceptions": report.exceptions, **amounts}
    return _ended(record, Status.COMPLETED, **facts_of_end), report


def _ended(record: Restore, status: Status, **changes: object) -> Restore:
    now = datetime.now(UTC)
    duration_ms = int((now - record.created_at).total_seconds() * 1000)
    return record.model_copy(update={"status": status, "completed_at": now, "duration_ms": duration_ms, **changes})


@contextmanager
def _watched(record: Restore, meter: Meter, children: Children, *, quiet: bool) -> Iterator[None]:
    """Show the progress, and let Ctrl-C end the run as a deadline would: what was created is dropped."""
    what = "Planning a restore of" if record.dry_run else "Restoring"
    with bar(quiet=quiet) as shown:
        task = shown.add_task(f"{what} {record.target}", total=None, facts="starting")

        def beat(done: Progress) -> None:
            now = record.model_copy(update={"progress": done, "heartbeat_at": datetime.now(UTC)})
            shown.update(task, completed=done.done_bytes, total=done.total_bytes or None, facts=facts(now))

        watch = Watch(
            meter, beat=beat, remaining_seconds=lambda: math.inf, stop=children.end_all, beat_seconds=_BEAT_SECONDS
        )
        with watch, _ctrl_c_ends(watch):
            yield


@contextmanager
def _ctrl_c_ends(watch: Watch) -> Iterator[None]:
    def interrupt(_: int, __: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second one ends immediately
        remark("Stopping. Press Ctrl-C again to exit immediately and leave behind what was created so far.")
        reason = InterruptedRunError(
            "The restore was interrupted.", hint="What it created was removed, as after any failure. Run it again."
        )
        threading.Thread(target=watch.end, args=(reason,), name="interrupt").start()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
