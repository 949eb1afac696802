"""The result of a restore of a database, for people."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from coffre.model.kinds import Contents
from coffre.model.words import counted, duration
from coffre_cli.commands.restore.destination import DestinationChoice
from coffre_cli.commands.restore.follow_restore import how_it_failed, show_record
from coffre_cli.commands.restore.safety import back_to_database, show_plan, show_way_back
from coffre_cli.screen import print_table, say, say_command, show_failure

if TYPE_CHECKING:
    from coffre.model.backup import Backup, Failure, Restore
    from coffre.model.restore import Scope
    from coffre.model.restore_report import Comparison, Kept, LeftOut, RestoreReport
    from coffre.model.safety import Safety

# How a report names the rows of damaged slices: `1,204 rows of public.orders`.
_MISSING_ROWS: Final = re.compile(r"[0-9,]+ rows? of ")


@dataclass(frozen=True)
class Ask:
    """What the user asked for, and how the command began: with a vault alone it names that.

    Without a stack the whole report is kept in the file `report`, unless it could not be written. `safety` is the
    backup of what is overwritten; `source` is the copy that the backup is read from alone. Of a moment the base is
    looked for by who restores, unless `is_named`.
    """

    backup: Backup
    scope: Scope
    wanted: DestinationChoice | None
    command: str = "coffre"
    has_stack: bool = True
    report: Path | None = None
    safety: Safety | None = None
    source: str | None = None
    is_named: bool = True

    @property
    def way_back(self) -> str:
        """The command that restores what was overwritten."""
        to = None
        if self.wanted is not None:
            to = self.wanted.text if self.wanted.url is None else "env:DESTINATION"
        return back_to_database(self.safety, self.scope, to) if self.safety else ""


def show_result(ask: Ask, record: Restore, report: RestoreReport | None) -> None:
    """Show how a restore ended, what it left, and what to do next."""
    if record.failure is not None:
        say(how_it_failed(ask.backup.target, record.failure), style="red")
        show_failure(record.failure)
        _show_way_out(ask, record.failure)
        show_way_back(ask.safety, ask.way_back)
        return
    if report is None:
        show_record(record)
        return
    if report.dry_run:
        say("Nothing was changed. This would be done:")
        show_plan(report.safety)
        for step in report.steps:
            # The real run gets another id.
            say(f"  {step.replace(report.id.lower(), '<id>')}")
    else:
        say(_done(ask, record, report), style="green")
        if report.dependents:
            say(f"Also restored: {', '.join(report.dependents)}.")
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
        return f"Applied {changed:,} of {rows} of the backup to {record.destination} {took}."
    if ask.scope.rows is not None and not report.comparisons:
        return (
            f"Loaded {rows} of the backup into a staging schema of {record.destination} {took}. Nothing was compared."
        )
    if ask.scope.rows is not None:
        return f"Compared {rows} of the backup with {record.destination} {took}."
    if ask.scope.contents is Contents.SCHEMA:
        return f"Restored the definitions of {ask.backup.target} in {record.destination} {took}. Its tables are empty."
    # What is only in the staging schema is not restored yet.
    done = "Loaded" if report.kept and not ask.scope.replace else "Restored"
    where = f"{ask.backup.target} in {record.destination}"
    return f"{done} {where}: {tables}, {rows} {took}. {counts_of(report.left_out)}"


def counts_of(left_out: Sequence[LeftOut]) -> str:
    """Return what is true of the numbers of rows: of tables that are missing or stay empty nothing was counted."""
    names = [left.what for left in left_out]
    if any(_MISSING_ROWS.match(what) for what in names):
        return "Rows of damaged slices are missing. All other row counts equal the backup's."
    if any(what.startswith(("the rows of ", "the table ")) for what in names):
        return "Row counts of these tables equal the backup's."
    return "Row counts equal the backup's."


def show_comparisons(comparisons: Sequence[Comparison]) -> None:
    """Print how tables in use and the backup's versions differ, or what was changed."""
    if not comparisons:
        return
    if any(found.inserted or found.updated or found.deleted for found in comparisons):
        say("Changes to the tables in use, in rows:")
        counts = {
            "INSERTED": [found.inserted for found in comparisons],
            "SET BACK": [found.updated for found in comparisons],
            "DELETED": [found.deleted for found in comparisons],
            "SAME": [found.same for found in comparisons],
            "NOT IN BACKUP": [found.extra - found.deleted for found in comparisons],
        }
    else:
        say("The tables in use compared with the backup, in rows, by key:")
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
        say(f"Kept: {left.what}. When it is no longer needed, in psql:")
        say_command(f"{left.remove};")


def show_script(report: RestoreReport, kept: Path | None = None) -> None:
    """Print how to create what was not restored; `kept` is the report's own file."""
    if report.script is not None:
        say("The SQL for what was not restored, to run when the cause is fixed:")
        script = f"jq -r .script {kept}" if kept else f"coffre show {report.id} --json | jq -r .report.script"
        say_command(f"{script} | psql postgresql://...")


def _show_next(ask: Ask, report: RestoreReport) -> None:
    touched = ask.scope.apply or ask.scope.replace
    if report.comparisons and not touched:
        what = "row of a table" if report.dependents else "table"
        say(f"No {what} in use was changed. The backup's version is in the staging schema:")
        for found in report.comparisons:
            say(f"  {found.beside}")
        if any(found.missing or found.changed for found in report.comparisons):
            if ask.scope.rows is not None:
                say("To apply the missing and changed rows, run this again with --apply.")
            else:
                say("To make the table's rows the backup's (newer rows are deleted), run this again with --replace.")
    show_script(report, ask.report)
    show_kept(report.kept)
    show_way_back(ask.safety, ask.way_back)
    if ask.report is not None:
        say(f"The whole report, table by table: {ask.report}")
    elif ask.has_stack:
        say("Table by table:")
        say_command(f"coffre show {report.id}")


def _show_way_out(ask: Ask, failure: Failure) -> None:
    if ask.wanted is None or ask.wanted.url is None:
        return
    if failure.code == "DESTINATION_NOT_EMPTY":
        url = ask.wanted.url
        new = f"{quote(url.user)}@{url.host}:{url.port}/{quote(url.database)}_restored"
        say("For example, into a new database on the same server:")
        say_command(f"{ask.command} restore database {ask.backup.id} --to postgresql://{new}")
