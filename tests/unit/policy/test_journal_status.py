"""Journals in `coffre status`: the newest moment of each, and what is wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.policy.safety_scene import NOW, SCHEDULES, database, facts, schedule

from coffre.model.database_target import DatabaseTarget
from coffre.model.journal import JournalState
from coffre.model.journal_options import JournalOptions
from coffre.model.status import Standing
from coffre.model.status_facts import Facts, Source, Unread
from coffre.policy.safety import reasons
from coffre.policy.status_report import report_of
from coffre_cli.commands.status.show import show_status

SHOP = database(target=DatabaseTarget(name="shop", secret="coffre/database/shop", journal=JournalOptions()))
DRAINS = schedule("journal", 0.01)
MINUTE = timedelta(minutes=1)
GOOD: dict[str, Any] = {
    "target": "shop",
    "slot": "coffre_shop_1",
    "interval": "01KB3M7Q0000000000000000A1",
    "seen_at": NOW - 3 * MINUTE,
    "drained_at": NOW - 3 * MINUTE,
    "retained_bytes": 12_000_000,
}


def with_journal(state: dict[str, Any] | None, **fields: Any) -> Facts:
    known = {"schedules": (*SCHEDULES, DRAINS), **fields}
    states = {"shop": JournalState.model_validate(state)} if state is not None else {}
    return facts(SHOP, database("crm"), journals=states, **known)


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (GOOD, "moments of 7 days, the newest 3 min ago, the server keeps 12.0 MB of WAL"),
        (
            {**GOOD, "seen_at": NOW - 70 * MINUTE, "retained_bytes": 0},
            "moments of 7 days, the newest 70 min ago; nothing was stored since 2026-11-28 10:50 UTC",
        ),
        (
            {**GOOD, "base_wanted_at": NOW - 9 * MINUTE},
            "it waits for a base since 2026-11-28 11:51 UTC: the next backup is one",
        ),
        ({**GOOD, "interval": None}, "its stretch has ended, and the next drain begins another one"),
        (
            {**GOOD, "error": "JOURNAL_WAITS", "message": "No.", "retained_bytes": 0},
            "moments of 7 days, the newest 3 min ago; the last drain failed: No. [JOURNAL_WAITS]",
        ),
        (None, "it has not begun yet: the next drain makes its slot"),
        ({"target": "shop", "slot": "coffre_shop_1"}, "it has not begun yet: the next drain makes its slot"),
    ],
)
def test_a_line_says_the_newest_moment_and_what_is_wrong(
    capsys: pytest.CaptureFixture[str], state: dict[str, Any] | None, line: str
) -> None:
    report = report_of(with_journal(state))
    show_status(report)

    printed = capsys.readouterr().out.splitlines()
    assert f"Journal of shop: {line}" in printed
    assert not any("Journal of crm" in one or "journal in" in one for one in printed)
    assert report.standing is Standing.SAFE
    [journal] = report.journals
    assert (journal.lag_seconds is None) == (journal.until is None)


def test_without_the_rule_that_drains_it_a_journal_does_nothing() -> None:
    [journal] = report_of(with_journal(GOOD, schedules=SCHEDULES)).journals
    assert journal.problem == "nothing drains it, since the stack's parameter Journal is off"
    unread = (Unread(what=Source.SCHEDULES, why="AccessDenied"),)
    assert report_of(with_journal(GOOD, schedules=(), unread=unread)).journals[0].problem is None

    # A rule that is disabled concerns the targets with a journal, and no others.
    [reason] = reasons(with_journal(GOOD, schedules=(*SCHEDULES, schedule("journal", state="disabled"))))
    assert (reason.code, reason.targets) == ("SCHEDULE_DISABLED", ("shop",))
    assert report_of(with_journal(None, unread=(Unread(what=Source.JOURNALS, why="no"),))).journals == ()
