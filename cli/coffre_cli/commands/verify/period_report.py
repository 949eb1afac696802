"""`coffre report weekly|monthly|yearly`: what happened to all targets, and what a person still has to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from coffre_cli.deployed import DeployedStack
from coffre_cli.screen import print_json, remark, say, say_command

if TYPE_CHECKING:
    from coffre.model.report import PeriodReport

PERIODS: Final = ("weekly", "monthly", "yearly")


def report_period(deployed: DeployedStack, period: str, output: Path | None, *, as_json: bool) -> None:
    """Show the report as of now, or write its page."""
    from coffre.operations.report.page import page_of

    report = _look(deployed, period)
    if output is not None:
        output.write_text(page_of(report), encoding="utf-8")
        remark(f"Written: {output}")
    if as_json:
        print_json(report.model_dump(mode="json"))
    elif output is None:
        _show(report)


def _look(deployed: DeployedStack, period: str) -> PeriodReport:
    from coffre.model.report import Period
    from coffre.operations.report.gather import ReportJob, gather_report
    from coffre.policy.prices import prices_of
    from coffre.policy.report import report_of
    from coffre_cli import aws
    from coffre_cli.commands.status.status import look

    wanted = Period(period)
    status, prices = look(deployed, ()), prices_of(aws.region())
    job = ReportJob(deployed.catalog, deployed.configuration, status, wanted, (wanted,), prices)
    return report_of(gather_report(job))


def _show(report: PeriodReport) -> None:
    from coffre.alerts.report import text_of

    for line in text_of(report, with_contacts=True):
        if line.startswith("    "):
            say_command(line.strip())
        else:
            say(line, style="bold" if line == report.status.headline else "")
