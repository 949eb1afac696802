"""What the restores of databases and of buckets have in common: start the function, follow it, show the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import typer

from coffre_cli.deployed import DeployedStack
from coffre_cli.exits import Exit
from coffre_cli.screen import print_json, restore_json, show_failure

if TYPE_CHECKING:
    from coffre.model.backup import Backup, Restore, RestoreReport
    from coffre.model.safety import Safety


def run_restore(
    deployed: DeployedStack, backup: Backup, event: Mapping[str, Any], *, dry_run: bool, quiet: bool
) -> tuple[Restore, RestoreReport | None]:
    """Start a restore of a backup and wait for its end. Fields of the event that are None are left out."""
    from coffre_cli.follow import follow

    restore_id = event["restore_id"]
    given = {name: value for name, value in event.items() if value is not None}
    deployed.start("restore", {"backup_id": backup.id, **given})
    record = follow(
        lambda: deployed.catalog.get_restore(restore_id),
        title=f"{'Planning a restore of' if dry_run else 'Restoring'} {backup.target}",
        quiet=quiet,
        has_ended=lambda: False,
    )
    return record, deployed.vault.read_report(record.report_key) if record.report_key else None


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
