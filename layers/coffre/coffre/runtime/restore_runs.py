"""What restores of databases, of objects and into files have in common: the run of an invocation, and a new record."""

from __future__ import annotations

from collections.abc import Callable

from coffre.model.backup import Backup, Restore, Status
from coffre.operations.runs.dead_runs import STALE_AFTER
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.restore_lifecycle import RestoreRun
from coffre.runtime.bootstrap import Services
from coffre.runtime.confirming import refuse_unconfirmed
from coffre.runtime.events.restore import RestoreEvent, StorageRestoreEvent
from coffre.runtime.function import LambdaContext, remaining_seconds, utc_now
from coffre.runtime.reading import OpenBackup


def run_of(
    services: Services,
    found: OpenBackup,
    context: LambdaContext,
    stop: Callable[[], None],
    *,
    report_died: Callable[[Restore], None] = lambda _: None,
    watched: Callable[[Watch], None] = lambda _: None,
) -> RestoreRun:
    """Return the run of one invocation, which `stop` ends."""
    return RestoreRun(
        catalog=services.catalog,
        vault=found.vault,
        now=utc_now,
        remaining_seconds=remaining_seconds(context),
        stop=stop,
        find_backup=found.find,
        report_died=report_died,
        watched=watched,
    )


def begun(
    services: Services,
    backup: Backup,
    wanted: RestoreEvent | StorageRestoreEvent,
    restore_id: str,
    context: LambdaContext,
    report_started: Callable[[Restore], None],
    *,
    continues: bool,
) -> Restore | None:
    """Return the record of a restore: a new one, which is reported, or the one that this invocation continues.

    None: it has ended, or another invocation works on it.
    """
    if continues:
        refuse_unconfirmed(services.catalog, backup, wanted, restore_id)
        return services.catalog.continue_restore(restore_id, wanted.invocation, utc_now(), stale_after=STALE_AFTER)
    record = new_record(backup, restore_id, wanted.place, context, source=wanted.source, dry_run=wanted.dry_run)
    report_started(record)
    return record


def new_record(
    backup: Backup,
    restore_id: str,
    destination: str,
    context: LambdaContext,
    *,
    source: str | None,
    dry_run: bool = False,
) -> Restore:
    """Return the record of a restore that begins now."""
    now = utc_now()
    return Restore(
        id=restore_id,
        backup_id=backup.id,
        target=backup.target,
        destination=destination,
        status=Status.IN_PROGRESS,
        created_at=now,
        heartbeat_at=now,
        dry_run=dry_run,
        request_id=context.aws_request_id,
        source=source,
    )
