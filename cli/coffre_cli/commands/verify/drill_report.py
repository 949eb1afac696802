"""`coffre report`: what a drill found about a backup; or the report of a week, a month or a year."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coffre.model.errors import BackupStateError
from coffre.model.words import counted, duration, size
from coffre_cli.backup_argument import resolve_backup
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.screen import age, print_json, print_table, remark, say, show_failure
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.model.drill_report import CheckProof, DrillReport, Sample, Structure, TableProof

EXAMPLES = examples(
    "coffre report weekly",
    "coffre report monthly --output report.html",
    "coffre report yearly --json | jq .todos",
    "coffre report latest",
    "coffre report 01K9X... --html drill.html",
    "coffre report latest --json | jq .tables",
)
_TABLES_SHOWN = 20
_STYLES = {
    "passed": "bold green",
    "incomplete": "bold yellow",
    "failed": "bold red",
    "not_possible": "bold yellow",
}  # by `Outcome`


def report(
    backup_id: Annotated[
        str,
        typer.Argument(
            metavar="ID|weekly|monthly|yearly",
            help="A backup's id, `latest`, or a day or time in UTC: its newest drill. Or a period: all targets.",
        ),
    ],
    target: Annotated[str | None, typer.Option(help="With `latest`: of which target.")] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", "--output", metavar="FILE", help="Write a page to read or to print.", dir_okay=False),
    ] = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the report of a week, a month or a year, or of a backup's newest drill.

    weekly, monthly, yearly: what ran and failed, what was verified, drills and times against objectives, sizes, cost,
    copies, and what is left to do, as of now. ID: what a drill restored and compared, how long it took, what is not
    proven; the exit status is 1 when the drill did not pass.
    """
    from coffre.operations.drill.report_page import page_of
    from coffre_cli.commands.verify.period_report import PERIODS, report_period

    if backup_id in PERIODS and target is not None:
        raise typer.BadParameter("--target is for the report of a drill: a period is about all targets")
    deployed = find_stack(stack)
    if backup_id in PERIODS:
        report_period(deployed, backup_id, html, as_json=as_json)
        return
    found = newest_report(deployed, resolve_backup(deployed, backup_id, target))
    if html is not None:
        html.write_text(page_of(found), encoding="utf-8")
        remark(f"Written: {html}")
    if as_json:
        print_json(found.model_dump(mode="json"))
    elif html is None:
        show_report(found)
    leave_with([found])


def leave_with(reports: Sequence[DrillReport]) -> None:
    """Exit with the status of the drills: 4 when a restore leaves something out."""
    from coffre.model.drill import Outcome

    outcomes = {report.outcome for report in reports}
    if outcomes - {Outcome.PASSED, Outcome.INCOMPLETE}:
        raise typer.Exit(Exit.FAILED)
    if Outcome.INCOMPLETE in outcomes:
        raise typer.Exit(Exit.EXCEPTIONS)


def newest_report(deployed: DeployedStack, backup: Backup) -> DrillReport:
    """Return the report of a backup's newest drill.

    Raises
    ------
    BackupStateError
        Code `NEVER_DRILLED`.
    """
    from coffre.vault.reports import DrillReports

    found = DrillReports(deployed.vault.store).newest(backup.target, backup.id)
    if found is None:
        raise BackupStateError(
            f'The backup {backup.id} of "{backup.target}" was never drilled.',
            code="NEVER_DRILLED",
            hint=f"Drill it: coffre verify --level drill {backup.id}",
        )
    return found


def show_report(found: DrillReport) -> None:
    """Print a report for a person."""
    from coffre.model.drill import Outcome
    from coffre.operations.drill.report_page import heading_of

    say(f"Drill of {found.target}: {heading_of(found)}.", style=_STYLES[found.outcome])
    say(f"  backup    {found.backup_id}, taken {found.backup_created_at:%Y-%m-%d %H:%M} UTC")
    say(f"  drilled   {found.started_at:%Y-%m-%d %H:%M} UTC ({age(found.started_at)}), {_took(found.duration_seconds)}")
    if found.outcome is Outcome.NOT_POSSIBLE and found.failure is not None:
        show_failure(found.failure)
    elif found.failure is not None:
        say(f"  code      {found.failure.code}. {found.failure.hint or ''}".rstrip())
    if found.restore_seconds is not None:
        say(f"  restore   {_took(found.restore_seconds)}{_limit(found)}", style="red" if found.is_late else "")
    if found.sample is None:
        say(f"  versions  PostgreSQL {found.source_version} at the source, {found.server_version} here")
        groups = f", tables in {found.groups} groups" if found.groups > 1 else ""
        groups += f", {found.invocations} invocations" if found.invocations > 1 else ""
        say(f"  scratch   {size(found.scratch_bytes)}{groups}")
    for word, sentences in (
        ("wrong", found.problems),
        ("left out", found.left_out),
        ("except", found.exceptions),
        ("never", found.limits),
    ):
        for sentence in sentences:
            say(f"  {word:9} {sentence}", style="red" if word == "wrong" else "")
    if (proof := found.journal) is not None:
        say(f"  journal   {proof.text}", style="red" if proof.is_doubtful else "")
        for sentence in (*proof.differences, *proof.excluded):
            say(f"            {sentence}", style="red" if sentence in proof.differences else "")
    for check in found.checks:
        say(f"  check     {check.name}: {_answer(check)}", style="" if check.passed else "red")
    if found.sample is None:
        _show_structure(found.structure)
    phases = ", ".join(f"{name} {duration(spent)}" for name, spent in found.phases_ms.items())
    say(f"  phases    {phases}")
    if found.sample is None:
        _show_tables(found)
    else:
        _show_objects(found, found.sample)


def _show_structure(looked_at: Structure) -> None:
    say(
        f"  looked at {looked_at.indexes:,} indexes, {counted(looked_at.constraints, 'constraint')}, "
        f"{counted(looked_at.sequences, 'sequence')}; {looked_at.amcheck or 'pages were not checked'}"
    )


def _show_objects(found: DrillReport, sample: Sample) -> None:
    from coffre.model.drill_report import Verdict
    from coffre.operations.drill.report_page import VERDICTS

    equal = sum(one.verdict is Verdict.EQUAL for one in found.objects)
    of_all = f"{counted(sample.objects, 'object')} and {size(sample.size_bytes)} of the backup"
    say(f"  objects   {equal} of {len(found.objects)} equal, {size(sample.chosen_bytes)} of them; {of_all}")
    shown = sorted(found.objects, key=lambda one: (one.verdict is Verdict.EQUAL, -one.size_bytes))
    if shown:
        rows = (
            [one.name, size(one.size_bytes), one.sha256[:12], VERDICTS[one.verdict]] for one in shown[:_TABLES_SHOWN]
        )
        print_table(["OBJECT", "SIZE", "SHA-256", "RESULT"], rows, right=["SIZE"])
    _say_more(len(shown))


def _show_tables(found: DrillReport) -> None:
    from coffre.model.drill_report import Verdict

    equal = sum(table.verdict is Verdict.EQUAL for table in found.tables)
    say(f"  tables    {equal} of {len(found.tables)} equal, {counted(found.rows, 'row')} compared")
    shown = sorted(found.tables, key=lambda table: (table.verdict is Verdict.EQUAL, -table.size_bytes))
    if shown:
        rows = (_row(table) for table in shown[:_TABLES_SHOWN])
        print_table(
            ["TABLE", "ROWS", "SIZE", "SLICES", "SHA-256", "RESULT"],
            rows,
            right=["ROWS", "SIZE", "SLICES"],
        )
    _say_more(len(shown))


def _say_more(count: int) -> None:
    if count > _TABLES_SHOWN:
        say(f"{count - _TABLES_SHOWN:,} more are not shown: --json, --html")


def _row(table: TableProof) -> list[str]:
    from coffre.operations.drill.report_page import VERDICTS

    rows = f"{table.rows:,}" if table.rows == table.rows_found else f"{table.rows_found:,} of {table.rows:,}"
    slices = f"{table.slices_equal:,}/{table.slices:,}"
    return [table.table, rows, size(table.size_bytes), slices, (table.sha256 or "")[:12], VERDICTS[table.verdict]]


def _answer(check: CheckProof) -> str:
    expected = f"expected {json.dumps(check.expected)}, found {json.dumps(check.found)}"
    if check.passed:
        return f"passed ({json.dumps(check.found)})"
    return f"FAILED, {check.error}" if check.error else f"FAILED, {expected}"


def _limit(found: DrillReport) -> str:
    if found.restore_limit_seconds is None:
        return ""
    limit = _took(found.restore_limit_seconds)
    return f", MORE than the {limit} that are allowed" if found.is_late else f" of the {limit} that are allowed"


def _took(seconds: float) -> str:
    return duration(round(1000 * seconds))
