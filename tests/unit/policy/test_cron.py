"""When a rule fires next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from coffre.policy.cron import next_fire

SATURDAY = datetime(2026, 11, 28, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "fires"),
    [
        ("cron(0 2 * * ? *)", "2026-11-29 02:00"),
        ("cron(0 2 ? * SUN *)", "2026-11-29 02:00"),
        ("cron(0 2 ? * 7 *)", "2026-12-05 02:00"),
        ("cron(0 2 1 * ? *)", "2026-12-01 02:00"),
        ("cron(15 * * * ? *)", "2026-11-28 13:15"),
        ("cron(0/20 12 * * ? *)", "2026-11-28 12:40"),
        ("cron(30 12 * * ? *)", "2026-11-29 12:30"),
        ("cron(0 8-10,18 ? * MON-FRI *)", "2026-11-30 08:00"),
        ("cron(0 0 L * ? *)", "2026-11-30 00:00"),
        ("cron(0 0 LW * ? *)", "2026-11-30 00:00"),
        ("cron(0 0 5W 12 ? *)", "2026-12-04 00:00"),
        ("cron(0 0 1W 8 ? 2027)", "2027-08-02 00:00"),
        ("cron(0 0 31W 1 ? 2027)", "2027-01-29 00:00"),
        ("cron(0 0 ? * 6L *)", "2026-12-25 00:00"),
        ("cron(0 0 ? * 2#1 *)", "2026-12-07 00:00"),
        ("cron(0 0 ? * L *)", "2026-12-05 00:00"),
        ("cron(0 0 29 FEB ? *)", "2028-02-29 00:00"),
        (" cron(0 2 * * ? 2030) ", "2030-01-01 02:00"),
    ],
)
def test_a_schedule_fires_next(expression: str, fires: str) -> None:
    assert next_fire(expression, SATURDAY) == datetime.fromisoformat(f"{fires}+00:00")


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "rate(12 hours)",
        "cron(0 2 * * ?)",
        "cron(61 2 * * ? *)",
        "cron(0 2 * XYZ ? *)",
        "cron(0 2 xW * ? *)",
        "cron(0 2 ? * 9 *)",
        "cron(0/0 2 * * ? *)",
        "cron(5-2 2 * * ? *)",
        "cron(0 2 * * ? 2020)",
        "cron(0 0 31 2 ? *)",
    ],
)
def test_what_never_fires_again_or_is_not_understood_has_no_next_time(expression: str) -> None:
    assert next_fire(expression, SATURDAY) is None


def test_times_are_those_of_utc_wherever_one_is() -> None:
    here = datetime(2026, 11, 29, 2, 30, tzinfo=timezone(timedelta(hours=3)))  # half an hour before midnight in UTC

    assert next_fire("cron(45 23 * * ? *)", here) == datetime(2026, 11, 28, 23, 45, tzinfo=UTC)
