"""What the restores of databases and of buckets have in common: start the function, follow it, show the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import typer

from coffre.model.errors import BackupStateError, CoffreError, TransientError
from coffre.model.words import duration
from coffre_cli.background import Background
from coffre_cli.confirming import PlanAnswer
from coffre_cli.deployed import DeployedStack
from coffre_cli.exit_status import Exit
from coffre_cli.screen import print_json, remark, restore_json, say, show_failure

if TYPE_CHECKING:
    from coffre.model.backup import Backup, Failure, Restore
    from coffre.model.restore_report import RestoreReport
    from coffre.model.safety import Safety


def run_restore(
    deployed: DeployedStack, backup: Backup, event: Mapping[str, Any], *, dry_run: bool, quiet: bool
) -> tuple[Restore, RestoreReport | None]:
    """Start a restore of a backup and wait for its end. Fields of the event that are None are left out."""
    from coffre_cli.follow import follow

    restore_id = event["restore_id"]
    given = {name: value for name, value in event.items() if value is not None}
    run = deployed.start("restore", {"backup_id": backup.id, **given})
    try:
        record = follow(
            lambda: deployed.catalog.get_restore(restore_id),
            title=f"{'Planning a restore of' if dry_run else 'Restoring'} {backup.target}",
            quiet=quiet,
            has_ended=run.has_ended,
        )
    except BackupStateError:
        run.result()
        raise
    except TransientError:
        done = _done_without_record(deployed, restore_id)
        if done is None:
            raise
        record = done
    run.settle()
    return record, _report_of(deployed, record)


def _report_of(deployed: DeployedStack, record: Restore) -> RestoreReport | None:
    """Return the report; None if it was not written, or cannot be read now. The record has the main facts."""
    if record.report_key is None:
        return None
    try:
        return deployed.vault.read_report(record.report_key)
    except CoffreError as error:
        remark(f"The report of the restore cannot be read: {error.message} [{error.code}]")
        return None


def show_record(record: Restore) -> None:
    """Show how a restore ended whose report cannot be read."""
    if record.failure is not None:
        return
    say(f"Restored {record.target} in {record.destination}, in {duration(record.duration_ms)}.", style="green")
    for exception in record.exceptions:
        say(f"  Exception: {exception}", style="yellow")
    for note in record.notes:
        say(f"  Note: {note}")


def _done_without_record(deployed: DeployedStack, restore_id: str) -> Restore | None:
    """Return the end of a restore whose record does not say it: the vault has the report of one that is done."""
    from datetime import UTC, datetime

    from coffre.operations.runs.restore_record import completed

    try:
        found, restore = deployed.vault.find_report(restore_id), deployed.catalog.get_restore(restore_id)
    except CoffreError:
        return None
    if found is None:
        return None
    key, report = found
    why = "The data is restored, but the catalog does not list this restore as completed yet."
    return completed(restore, restore.progress, report, key, (why,), datetime.now(UTC))


def how_it_failed(target: str, failure: Failure) -> str:
    """Return the first sentence about a restore that failed, or whose outcome is not known."""
    if failure.is_certain:
        return f"The restore of {target} failed. The backup itself is untouched."
    return f"It is not known whether the restore of {target} took effect. The backup itself is untouched."


def plan_restore(
    deployed: DeployedStack, backup: Backup, event: Mapping[str, Any], *, quiet: bool
) -> tuple[Restore, RestoreReport | None, PlanAnswer | None]:
    """Make the dry run of what overwrites, following its progress meanwhile, and return its plan.

    The plan is None if the dry run failed. One that needs several invocations is asked for its plan when it has ended:
    the same event then only answers.

    Raises
    ------
    FunctionFailedError
        The function refused the event.
    """
    from coffre_cli.follow import follow

    restore_id = event["restore_id"]
    given = {"backup_id": backup.id, **{name: value for name, value in event.items() if value is not None}}
    call = Background(lambda: deployed.ask("restore", given))
    try:
        record = follow(
            lambda: deployed.catalog.get_restore(restore_id),
            title=f"Planning a restore of {backup.target}",
            quiet=quiet,
            has_ended=call.has_ended,
        )
    except BackupStateError:
        call.result()
        raise
    if record.failure is not None:
        return record, None, None
    answer = call.result()
    if "token" not in answer:
        answer = deployed.ask("restore", given)
    return record, _report_of(deployed, record), PlanAnswer.of(answer)


def end_restore(
    record: Restore,
    report: RestoreReport | None,
    show: Callable[[], None],
    *,
    as_json: bool,
    safety: Safety | None = None,
) -> None:
    """Show how a restore ended, and exit with its status. `safety` is the backup of what it overwrote."""
    if as_json:
        safety = safety or (report.safety if report else None)
        more = {"safety": safety and safety.model_dump(mode="json")}
        print_json({**restore_json(record), **more, "report": report.model_dump(mode="json") if report else None})
        if record.failure is not None:
            show_failure(record.failure)
    else:
        show()
    if record.failure is not None:
        raise typer.Exit(Exit.FAILED)
    if record.exceptions:
        raise typer.Exit(Exit.EXCEPTIONS)
