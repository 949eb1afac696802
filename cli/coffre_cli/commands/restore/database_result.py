"""What a restore did, for a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from coffre.model.kinds import Contents
from coffre.model.words import counted, duration
from coffre_cli.commands.restore.destination import DestinationChoice
from coffre_cli.screen import print_table, say, say_command, show_failure

if TYPE_CHECKING:
    from coffre.model.backup import Backup, Comparison, Failure, Kept, Restore, RestoreReport
    from coffre.model.restore import Scope


@dataclass(frozen=True)
class Ask:
    """What a person asked for, and how the command began: with a vault alone it names that.

    Without a stack the whole report is kept in the file `report`, if it is anywhere.
    """

    backup: Backup
    scope: Scope
    wanted: DestinationChoice | None
    command: str = "coffre"
    has_stack: bool = True
    report: Path | None = None


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
            # The run itself will have an id of its own.
            say(f"  {step.replace(report.id.lower(), '<id>')}")
    else:
        say(_done(ask, record, report), style="green")
        show_comparisons(report.comparisons)
    for exception in record.exceptions:
        say(f"  Exception: {exception}", style="yellow")
    for note in report.notes:
        say(f"  Note: {note}")
    if not report.dry_run:
        _show_next(ask, report)


def _done(ask: Ask, record: Restore, report: RestoreReport) -> str:
    rows, tables = counted(report.rows, "row"), counted(len(report.tables), "table")
    took = f"in {duration(record.duration_ms)}"
    if record.exceptions:
        took += f", with {counted(len(record.exceptions), 'exception')}"
    if ask.scope.apply:
        changed = sum(found.inserted + found.updated for found in report.comparisons)
        return f"Brought {changed:,} of {rows} of the backup into {record.destination} {took}."
    if ask.scope.rows is not None:
        return f"Compared {rows} of the backup with {record.destination} {took}."
    if ask.scope.contents is Contents.SCHEMA:
        return f"Restored the definitions of {ask.backup.target} in {record.destination} {took}. Its tables are empty."
    # What is beside only is not back yet.
    done = "Loaded" if report.kept and not ask.scope.replace else "Restored"
    where = f"{ask.backup.target} in {record.destination}"
    # A table that stays empty is not among those that were counted.
    is_whole = not any(left.what.startswith("the rows of ") for left in report.left_out)
    counts = "Row counts equal the backup's." if is_whole else "Row counts of these tables equal the backup's."
    return f"{done} {where}: {tables}, {rows} {took}. {counts}"


def show_comparisons(comparisons: Sequence[Comparison]) -> None:
    """Print how tables in use and the backup's versions differ, or what was done about it."""
    if not comparisons:
        return
    if any(found.inserted or found.updated or found.deleted for found in comparisons):
        say("What was done to the tables in use, in rows:")
        counts = {
            "INSERTED": [found.inserted for found in comparisons],
            "SET BACK": [found.updated for found in comparisons],
            "DELETED": [found.deleted for found in comparisons],
            "SAME": [found.same for found in comparisons],
            "NOT IN BACKUP": [found.extra - found.deleted for found in comparisons],
        }
    else:
        say("The tables in use against the backup, in rows, by key:")
        counts = {
            "MISSING": [found.missing for found in comparisons],
            "CHANGED": [found.changed for found in comparisons],
            "SAME": [found.same for found in comparisons],
            "NOT IN BACKUP": [found.extra for found in comparisons],
        }
    numbers = zip(*counts.values(), strict=True)
    rows = [[found.table, *(f"{count:,}" for count in line)] for found, line in zip(comparisons, numbers, strict=True)]
    print_table(["TABLE", *counts], rows, right=list(counts))
    for found in comparisons:
        if found.columns:
            say(f"Changed in {found.table}: {', '.join(found.columns)}")
        if found.before:
            say(f"Rows of {found.table} as they were before: {found.before}")


def show_kept(kept: Sequence[Kept]) -> None:
    """Print what a restore left, and how to remove it."""
    for left in kept:
        say(f"Kept: {left.what}. When nobody needs it any more, in psql:")
        say_command(f"{left.remove};")


def show_script(report: RestoreReport, kept: Path | None = None) -> None:
    """Print how to make what was not restored; `kept` is the report's own file."""
    if report.script is not None:
        say("The SQL for what was not restored, for when the reason is gone:")
        script = f"jq -r .script {kept}" if kept else f"coffre show {report.id} --json | jq -r .report.script"
        say_command(f"{script} | psql postgresql://...")


def _show_next(ask: Ask, report: RestoreReport) -> None:
    touched = ask.scope.apply or ask.scope.replace
    if report.comparisons and not touched:
        say("Nothing in use was touched. The backup's version is beside:")
        for found in report.comparisons:
            say(f"  {found.beside}")
        if any(found.missing or found.changed for found in report.comparisons):
            if ask.scope.rows is not None:
                say("To bring the missing and changed rows over, say the same with --apply.")
            else:
                say("To make the table's rows those of the backup, new ones deleted, say the same with --replace.")
    show_script(report, ask.report)
    show_kept(report.kept)
    if ask.report is not None:
        say(f"The whole report, table by table: {ask.report}")
    elif ask.has_stack:
        say("Table by table:")
        say_command(f"coffre show {report.id}")


def _say_how_to_go_on(ask: Ask, failure: Failure) -> None:
    if ask.wanted is None or ask.wanted.url is None:
        return
    if failure.code == "DESTINATION_NOT_EMPTY":
        there = ask.wanted.url
        new = f"{quote(there.user)}@{there.host}:{there.port}/{quote(there.database)}_restored"
        say("For example, into a new database beside it:")
        say_command(f"{ask.command} restore {ask.backup.id} --to postgresql://{new}")
