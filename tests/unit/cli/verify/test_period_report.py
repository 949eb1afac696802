"""`coffre report weekly|monthly|yearly`: as of now, as lines, as a page, as JSON."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import snapshots
from tests.unit.cli.conftest import Account, Coffre
from tests.unit.policy.report_scene import bad_week, week

from coffre.model.report import PeriodReport
from coffre.policy.report import report_of
from coffre_cli.commands.verify.period_report import _show

SCENES = {"report-good": report_of(week()), "report-bad": report_of(bad_week())}


@pytest.mark.parametrize("width", snapshots.WIDTHS)
@pytest.mark.parametrize("name", SCENES)
def test_it_can_be_read_at_every_width(
    name: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshots.at_terminal(monkeypatch, width)

    _show(SCENES[name])

    snapshots.compare(name, capsys.readouterr().out, width=width)


@pytest.mark.parametrize("period", ["weekly", "monthly", "yearly"])
def test_a_period_is_shown_from_the_catalog(period: str, coffre: Coffre, account: Account, tmp_path: Path) -> None:
    account.backup()
    page = tmp_path / "report.html"

    said = coffre("report", period)
    written = coffre("report", period, "--output", page)
    scripted = coffre("report", period, "--json")

    assert said.status == 0, said.err
    assert said.out.splitlines()[0] == coffre("status").out.splitlines()[0]
    assert f"What to do this {period.removesuffix('ly')}:" in said.out
    assert f"Written: {page}" in written.err
    assert page.read_text().startswith("<!doctype html>")
    assert PeriodReport.model_validate(scripted.json()).periods == (period,)


def test_a_target_goes_with_the_report_of_a_drill_alone(coffre: Coffre, tmp_path: Path) -> None:
    said = coffre("report", "weekly", "--target", "shop", "--output", tmp_path / "page")

    assert said.status == 2
    assert "a period is about all targets" in said.err
    assert not (tmp_path / "page").exists()


def test_the_level_of_the_function_is_named_as_the_command_that_it_is(coffre: Coffre, account: Account) -> None:
    said = coffre("verify", "--level", "report")

    assert said.status == 2
    assert "coffre report weekly" in said.err
    assert not account.invoked
