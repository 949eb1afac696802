"""What a report says: of a good week, of the first one, of one in which everything failed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.policy.report_scene import NOW, bad_week, first_week, restore, week

from coffre.model.export import destination_of
from coffre.model.report import Period, ReportFacts
from coffre.policy.report import due_periods, report_of


def done(facts: ReportFacts) -> dict[str, str | None]:
    return {todo.text: todo.done for todo in report_of(facts).todos}


@pytest.mark.parametrize(
    ("day", "periods"),
    [
        (datetime(2026, 11, 30, 7, tzinfo=UTC), "weekly"),
        (datetime(2026, 12, 7, 7, tzinfo=UTC), "weekly monthly"),
        (datetime(2026, 12, 14, 7, tzinfo=UTC), "weekly"),
        (datetime(2027, 1, 4, 7, tzinfo=UTC), "weekly monthly yearly"),
    ],
)
def test_the_first_report_of_a_month_and_of_a_year_has_their_checklists(day: datetime, periods: str) -> None:
    assert due_periods(day) == tuple(Period(name) for name in periods.split())


def test_every_month_and_every_year_has_its_checklists_once_whatever_the_day_of_the_week() -> None:
    for weekday in range(7):
        days = [datetime(2026, 1, 1, 7, tzinfo=UTC) + timedelta(days=weekday + 7 * number) for number in range(300)]
        months = [(day.year, day.month) for day in days if Period.MONTHLY in due_periods(day)]
        years = [day.year for day in days if Period.YEARLY in due_periods(day)]

        assert len(months) == len(set(months)) == len({(day.year, day.month) for day in days})
        assert len(years) == len(set(years)) == len({day.year for day in days})


def test_a_good_week_counts_what_ran_and_was_proven() -> None:
    report = report_of(week())

    target = report.targets[0]
    assert (target.backups, target.failed, target.verified) == (7, 0, 7)
    assert target.drill == "passed, 2026-11-25"
    assert target.measured is not None
    assert target.measured.rpo_missed is False
    assert [(one.job, one.runs) for one in report.jobs] == [("verify", 3)]
    assert report.restores == ("2026-11-26 12:00: shop into db/shop: completed in 12.0 s",)
    copies = report.copies[0]
    assert (copies.wanted, copies.complete, copies.verified, copies.failed, copies.overdue) == (10, 9, 9, 1, 1)
    assert [(act.actor[-3:], act.verified) for act in report.acts] == [("ada", True), ("ana", False)]


def test_facts_tick_what_was_done() -> None:
    found = done(week())

    assert found["Look at runs that failed"] == "none of 7 runs failed"
    assert found["Look at the space that the vault takes"] == "26 % of the quota is used"
    assert found["Compare times with the objectives"] == "every objective is met"
    assert found["Test the restore of a table"] == "restored on 2026-11-26 (01KR0000000000000000000001)"
    assert found["Test the restore of everything"] == "every target was drilled, the last on 2026-11-25"
    assert found["Test the encryption: each private key opens a backup"] == "every private key opened a backup"
    assert found["Look who read the vault"] is None


@pytest.mark.parametrize(
    "other",
    [restore(dry_run=True), restore(40), restore(tables=12), restore(tables=None), restore(backup_id="unknown")],
    ids=["dry run", "long ago", "all tables", "objects", "of an unknown backup"],
)
def test_what_is_no_restore_of_a_table_does_not_tick_it(other: object) -> None:
    assert done(week(restores=(other,)))["Test the restore of a table"] is None


def test_a_file_to_download_is_no_restore() -> None:
    file = destination_of("shop-20261128T030000Z.dump.age")
    exported = [restore(destination=file, tables=tables) for tables in (1, 12, None)]
    facts, without = week(restores=tuple(exported)), week(restores=())

    assert done(facts) == done(without)
    assert report_of(facts).restores == ()


def test_a_restore_of_all_tables_is_one_of_everything() -> None:
    words = done(week(restores=(restore(tables=12),)))["Test the restore of everything"]

    assert words == "restored on 2026-11-26 (01KR0000000000000000000001)"


def test_the_first_week_is_empty_and_nothing_is_ticked() -> None:
    report = report_of(first_week())

    assert report.targets[0].backups == 0
    assert report.targets[0].sizes == ()
    assert not report.jobs
    assert report.cost is None
    assert all(todo.done is None for todo in report.todos)


def test_a_week_of_failures_names_them_and_ticks_nothing() -> None:
    report = report_of(bad_week())

    target = report.targets[0]
    assert (target.backups, target.failed, len(target.failures)) == (0, 7, 5)
    assert target.failures[0] == "2026-11-28 02:00: The server refused. [CONNECTION_REFUSED]"
    assert target.drill is None
    assert report.status.headline.startswith("The only target, shop, is not safe")
    ticked = {todo.text for todo in report.todos if todo.done}
    # The drill of 20 days ago, and the private keys that were tried, are true facts of the month.
    assert ticked == {
        "Look at the space that the vault takes",
        "Test the restore of everything",
        "Test the encryption: each private key opens a backup",
    }


def test_an_item_is_ticked_by_a_fact_of_its_own_period_alone() -> None:
    late = week(restores=(restore(20),))

    assert done(late)["Test the restore of a table"] == "restored on 2026-11-08 (01KR0000000000000000000001)"
    assert not report_of(late).restores
    assert NOW - late.since == timedelta(days=7)
