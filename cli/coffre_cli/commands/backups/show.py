"""`coffre show`: the details of one backup or restore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from coffre.model.errors import BackupStateError, IntegrityError
from coffre.model.kinds import Status
from coffre.model.names import shown
from coffre.model.words import counted, duration, size, span
from coffre_cli.backup_argument import resolve_run
from coffre_cli.commands.backups.cost import cost_line, find_usage, usage_json, used_line
from coffre_cli.commands.backups.show_copies import copies_of, show_copies
from coffre_cli.commands.backups.show_source import show_buckets, source_of
from coffre_cli.commands.points.show import find_shown, show_point
from coffre_cli.commands.restore.database_result import show_comparisons, show_kept, show_script
from coffre_cli.commands.restore.run_objects import show_examples
from coffre_cli.examples import examples
from coffre_cli.follow import facts
from coffre_cli.place import Place, find_place
from coffre_cli.screen import (
    age,
    backup_json,
    print_json,
    print_table,
    restore_json,
    say,
    show_failure,
)
from coffre_cli.stack_options import JsonOption, StackOption

if TYPE_CHECKING:
    from coffre.model.backup import Backup, Restore
    from coffre.model.manifest import Manifest
    from coffre.model.restore_report import RestoreReport

_TABLES_SHOWN = 20

EXAMPLES = examples("coffre show latest", "coffre show 01K9X... --json | jq .manifest.content.tables")


def show(
    run_id: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="A backup's or a restore's id (its beginning or end is enough), `latest`, or a day or time (UTC): the "
            "last backup until then. Or the id of a restore point.",
        ),
    ],
    target: Annotated[str | None, typer.Option(help="With `latest`: of which target.")] = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one backup or restore with its tables or buckets, or one restore point with its parts."""
    from coffre.model.backup import Restore

    deployed = find_place(stack)
    try:
        run = resolve_run(deployed, run_id, target)
    except BackupStateError:
        point = find_shown(deployed, run_id) if target is None else None
        if point is None:
            raise
        show_point(deployed, point, as_json=as_json)
        return
    if isinstance(run, Restore):
        _show_restore(deployed, run, as_json=as_json)
    else:
        _show_backup(deployed, run, as_json=as_json)


def _show_backup(deployed: Place, backup: Backup, *, as_json: bool) -> None:
    manifest = _manifest_of(deployed, backup)
    if as_json:
        copies = [copy.model_dump(mode="json") for copy in copies_of(deployed, backup)]
        manifest_json = manifest.model_dump(mode="json") if manifest else None
        used = usage_json(find_usage(deployed, backup))
        print_json({**backup_json(backup), "usage": used, "copies": copies, "manifest": manifest_json})
        return
    say(f"Backup {backup.id} of {backup.target}: {backup.status.value}")
    say(f"  tiers     {' '.join(tier.lower() for tier in backup.tiers)}")
    if backup.expires_at is not None:
        say(f"  kept      until {backup.expires_at:%Y-%m-%d %H:%M:%S} UTC, as asked for; then rotation deletes it")
    say(f"  taken     {backup.created_at:%Y-%m-%d %H:%M:%S} UTC ({age(backup.created_at)})")
    for word, time in (("verified", backup.verified_at), ("pinned", backup.pinned_at), ("deleted", backup.deleted_at)):
        if time is not None:
            say(f"  {word:9} {time:%Y-%m-%d %H:%M:%S} UTC ({age(time)})")
    if backup.held_at is not None:
        why = f": {backup.hold}" if backup.hold else ""
        say(f"  on hold   since {backup.held_at:%Y-%m-%d %H:%M:%S} UTC{why}; {_legal_holds(backup)}")
    if backup.locked_until is not None:
        say(f"  locked    until {backup.locked_until:%Y-%m-%d %H:%M} UTC at least (Object Lock)")
    if backup.damaged_at is not None:
        say(f"  DAMAGED   since {backup.damaged_at:%Y-%m-%d %H:%M:%S} UTC: {backup.damage}", style="red")
    if backup.deletion is not None:
        say(f"  why       {backup.deletion}")
    if backup.spread is not None:
        say(f"  spread    over {counted(backup.workers or 1, 'function')} at a time: {backup.spread}")
    if backup.failure is not None:
        show_failure(backup.failure)
    _show_progress(backup)
    _show_cost(deployed, backup)
    show_copies(deployed, backup)
    if manifest is not None:
        _show_manifest(backup, manifest)


def _show_progress(run: Backup | Restore) -> None:
    """Show how far a run is, and what a backup of several functions does to the server meanwhile."""
    done = run.progress
    if run.status is not Status.IN_PROGRESS:
        return
    say(f"  progress  {facts(run)}")
    if done.snapshot_seconds:
        since = f"{span(done.snapshot_seconds)}, {counted(done.snapshot_transactions, 'transaction')}"
        say(f"  snapshot  held for {since}: the server keeps the dead rows of that time")


def _show_cost(deployed: Place, run: Backup | Restore) -> None:
    used = find_usage(deployed, run)
    if used is None:
        return
    if not used.estimated:
        say(f"  used      {used_line(used)}")
    say(f"  cost      {cost_line(used)}")


def _legal_holds(backup: Backup) -> str:
    at = backup.hold_progress
    if at is None:
        return "a record alone, without S3 legal holds"
    if at.released:
        return f"being released, {at.done:,} of {at.total:,} objects are: coffre release {backup.id}"
    refused = f", some of which were refused: coffre hold {backup.id}" if at.refused else ""
    return f"S3 legal holds on {at.done:,} of {at.total:,} objects{refused}"


def _manifest_of(deployed: Place, backup: Backup) -> Manifest | None:
    if backup.status is not Status.COMPLETED or not (backup.manifest_key and backup.manifest_sha256):
        return None
    from coffre.operations.stored_backup.open_backup import manifest_of

    try:
        return manifest_of(deployed.vault, backup)
    except IntegrityError:
        if backup.damaged_at is None:
            raise
        return None  # the record already shows the damage


def _show_manifest(backup: Backup, manifest: Manifest) -> None:
    say(f"  took      {duration(backup.duration_ms)}")
    say(f"  size      {size(manifest.plaintext_bytes)}, stored as {size(manifest.stored_bytes)}")
    say(f"  source    {source_of(manifest)}")
    say(f"  encrypted {'to ' + ', '.join(manifest.recipients) if manifest.recipients else 'NO (encryption: none)'}")
    say(f"  manifest  {backup.manifest_key}")
    say(f"  sha-256   {backup.manifest_sha256}")
    _show_exceptions(manifest)
    if manifest.kind.has_objects:
        show_buckets(manifest.storage)
        return
    content = manifest.database
    say(f"  tables    {len(content.tables)}, {manifest.rows:,} rows; the largest:")
    largest = sorted(content.tables, key=lambda table: -table.size)[:_TABLES_SHOWN]
    rows = ([shown(table.schema_name, table.table_name), f"{table.rows:,}", size(table.size)] for table in largest)
    print_table(["TABLE", "ROWS", "SIZE"], rows, right=["ROWS", "SIZE"])


def _show_exceptions(found: Manifest | RestoreReport) -> None:
    for exception in found.exceptions:
        say(f"  exception {exception}", style="yellow")
    for note in found.notes:
        say(f"  note      {note}")


def _show_restore(deployed: Place, restore: Restore, *, as_json: bool) -> None:
    report = deployed.vault.read_report(restore.report_key) if restore.report_key else None
    if as_json:
        used = usage_json(find_usage(deployed, restore))
        shown_report = report.model_dump(mode="json") if report else None
        print_json({**restore_json(restore), "usage": used, "report": shown_report})
        return
    what = "Dry run of a restore" if restore.dry_run else "Restore"
    say(f"{what} {restore.id} of backup {restore.backup_id} ({restore.target}): {restore.status.value}")
    say(f"  into      {restore.destination}")
    if restore.source is not None:
        say(f"  read from {restore.source} alone")
    say(f"  started   {restore.created_at:%Y-%m-%d %H:%M:%S} UTC, took {duration(restore.duration_ms)}")
    _show_progress(restore)
    _show_cost(deployed, restore)
    if restore.failure is not None:
        show_failure(restore.failure)
    if report is not None:
        phases = ", ".join(f"{name} {duration(spent)}" for name, spent in report.phases_ms.items())
        say(f"  phases    {phases}")
        for step in report.steps:
            say(f"  step      {step}")
        _show_exceptions(report)
        if report.storage is not None:
            show_examples(report.storage)
            return
        slowest = sorted(report.tables, key=lambda table: -table.duration_ms)[:_TABLES_SHOWN]
        say(f"  tables    {len(report.tables)}, {counted(report.rows, 'row')}; those that took longest:")
        rows = (
            [table.table, f"{table.rows:,}", size(table.size_bytes), duration(table.duration_ms)] for table in slowest
        )
        print_table(["TABLE", "ROWS", "SIZE", "TIME"], rows, right=["ROWS", "SIZE", "TIME"])
        show_comparisons(report.comparisons)
        show_script(report)
        show_kept(report.kept)
