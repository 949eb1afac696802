"""How `coffre status` looks on terminals of three widths, and where no terminal is."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from tests import snapshots
from tests.unit.policy.safety_scene import NOW, alert, buckets, database, drill, facts, run, schedule

from coffre.model.backup import Status
from coffre.model.drill import Outcome
from coffre.model.objectives import Objective
from coffre.model.status_facts import Facts, Source, Unread
from coffre.model.usage import Spent
from coffre.policy import safety
from coffre.policy.status_report import report_of
from coffre_cli import screen
from coffre_cli.commands.status.show import show_status

ROOT = Path(__file__).parents[4]
OLD = run(82, plaintext_bytes=4_100_000)
SCENES: dict[str, Facts] = {
    "status-safe": facts(
        database(),
        database("crm", drill=drill(1, Outcome.INCOMPLETE, target="crm", restore_seconds=2400)),
        buckets(),
        alerts=(),
    ),
    "status-not-safe": facts(
        database(recent=(run(1, Status.IN_PROGRESS), run(10, Status.FAILED), OLD), good=OLD),
        database("crm", drill=drill(3, Outcome.FAILED, problem="public.orders: 3 rows differ.", target="crm")),
        database("a-new-target-with-a-long-name", recent=(), good=None, verified=None, drill=None),
        buckets(),
        alerts=(alert("BACKUP_OVERDUE"), alert("SIZE_ANOMALY", "crm", "warning")),
        schedules=(schedule("daily-databases", state="disabled", rule="coffre-DailyBackupRule-1ABC", next_at=None),),
        vault=None,
    ),
    "status-objectives": facts(
        database(objective=Objective(rpo_minutes=60, rto_minutes=15)),
        buckets(objective=Objective(rpo_minutes=100_000, rto_minutes=60)),
    ),
    # The sample of docs/status.md.
    "status-sample": facts(
        database(recent=(OLD,), good=OLD),
        database("crm", drill=drill(1, Outcome.INCOMPLETE, target="crm")),
        buckets(),
        alerts=(alert("BACKUP_OVERDUE"),),
        cost=Spent(until_now=Decimal("1.234"), whole_month=Decimal("1.32")),
    ),
    "status-unknown": facts(
        schedules=(), unread=(Unread(what=Source.SCHEDULES, why="AccessDeniedException"),), vault=None
    ),
    "status-vault": facts(
        replace(database(), target=None, verified=None, recipients=()), schedules=(), vault=None, has_stack=False
    ),
}

type Printed = Callable[[Facts], str]


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    def show(scene: Facts) -> str:
        capsys.readouterr()
        show_status(report_of(scene))
        return capsys.readouterr().out

    return show


@pytest.mark.parametrize("width", snapshots.WIDTHS)
@pytest.mark.parametrize("name", SCENES)
def test_it_can_be_read_at_every_width(
    printed: Printed, monkeypatch: pytest.MonkeyPatch, name: str, width: int
) -> None:
    snapshots.at_terminal(monkeypatch, width)

    snapshots.compare(name, printed(SCENES[name]), width=width)


def test_without_a_terminal_no_escape_code_is_printed_and_each_sentence_is_a_line(
    printed: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen.console, "width", 60)

    lines = printed(SCENES["status-not-safe"]).splitlines()

    assert lines[0] == "3 of 4 targets are not safe: a-new-target-with-a-long-name has no backup."
    assert "Also: the last drill of crm failed on Wednesday 12:00 UTC: public.orders: 3 rows differ." in lines
    assert "\x1b" not in "".join(lines)


def test_the_document_shows_what_is_printed_and_names_every_reason() -> None:
    document = (ROOT / "docs" / "status.md").read_text()
    sample = (ROOT / "tests" / "snapshots" / "status-sample-80.txt").read_text()

    assert textwrap.indent(sample, "    ") in document
    for code in {*safety.ORDER} - {"ALERT"} | {f"{source.upper()}_UNREAD" for source in safety.DECIDING}:
        assert f"`{code}`" in document


def test_colours_say_what_is_not_safe_unless_they_are_not_wanted(
    printed: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots.at_terminal(monkeypatch, 120)
    monkeypatch.setattr(screen.console, "_color_system", 1)
    red = "\x1b[1;31m"
    with_colours = printed(SCENES["status-not-safe"])
    monkeypatch.setattr(screen.console, "no_color", True)
    without = printed(SCENES["status-not-safe"])

    assert with_colours.startswith(f"{red}3 of 4 targets")
    assert "31m" not in without


def test_sizes_are_columns_in_proportion_and_signs_that_every_terminal_has(monkeypatch: pytest.MonkeyPatch) -> None:
    assert screen.sparkline([0, 1, 50, 99, 100]) == "▁▁▄██"
    assert screen.sparkline([7, 7]) == "██"
    assert screen.sparkline([0]) == "▁"
    assert screen.sparkline([]) == ""
    monkeypatch.setattr(type(screen.console), "encoding", "ascii")
    assert screen.sparkline([0, 50, 100]) == "_=#"


def test_times_to_come_are_short() -> None:
    assert screen.ahead(NOW, NOW) == "in 0 s"
    assert screen.ahead(schedule("read", 3.5).next_at or NOW, NOW) == "in 3 h"
