"""What a restore did, for a person."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from coffre.model.backup import Backup, Failure, Restore, RestoreReport
from coffre.model.restore import Scope
from coffre_cli.commands.destination import Destination
from coffre_cli.screen import duration, remark, say, say_command, show_comparisons, show_failure


@dataclass(frozen=True)
class Ask:
    """What a person asked for."""

    backup: Backup
    scope: Scope
    wanted: Destination | None


def show_result(ask: Ask, record: Restore, report: RestoreReport | None) -> None:
    """Say how a restore ended, what it left, and what to do next."""
    if record.failure is not None:
        say(f"The restore of {ask.backup.target} failed. The backup itself is untouched.", style="red")
        show_failure(record.failure)
        _say_how_to_go_on(ask, record.failure)
        return
    if report is None:
        return
    if report.dry_run:
        say("Nothing was changed. This would be done:")
        for step in report.steps:
            say(f"  {step}")
    else:
        _show_done(ask, record, report)
    for exception in record.exceptions:
        say(f"  Note: {exception}")
    if not report.dry_run:
        _show_next(ask, report)


def _show_done(ask: Ask, record: Restore, report: RestoreReport) -> None:
    exceptions = f", with {len(record.exceptions)} exception(s)" if record.exceptions else ""
    what = "Compared" if ask.scope.rows and not ask.scope.apply else "Restored"
    counted = "" if ask.scope.rows else " Row counts equal the backup's."
    say(
        f"{what} {ask.backup.target} in {record.destination}: {len(report.tables)} tables, {report.rows:,} rows in "
        f"{duration(record.duration_ms)}{exceptions}.{counted}",
        style="green",
    )
    if report.comparisons:
        show_comparisons(report.comparisons)


def _show_next(ask: Ask, report: RestoreReport) -> None:
    touched = ask.scope.apply or ask.scope.replace
    if report.comparisons and not touched:
        say("Nothing in use was touched. The backup's version is beside:")
        for found in report.comparisons:
            say(f"  {found.beside}")
        if ask.scope.rows is not None:
            say("To bring the missing and changed rows over, add --apply to the command.")
    for found in report.comparisons:
        if found.before:
            say(f"Rows of {found.table} as they were before: {found.before}")
    for kept in report.kept:
        say(f"Kept: {kept.what}. When nobody needs it any more, in psql:")
        say_command(kept.remove)
    say("Table by table:")
    say_command(f"coffre show {report.id}")


def _say_how_to_go_on(ask: Ask, failure: Failure) -> None:
    if ask.wanted is None or ask.wanted.url is None:
        return
    if failure.code == "DESTINATION_NOT_EMPTY":
        there = ask.wanted.url
        new = f"{quote(there.user)}@{there.host}:{there.port}/{quote(there.database)}_restored"
        say("For example, into a new database beside it:")
        say_command(f"coffre restore {ask.backup.id} --to postgresql://{new}")
    elif "secret" in (failure.hint or ""):
        remark(f"(The function found the address in a secret; here it came from {ask.wanted.place}.)")
