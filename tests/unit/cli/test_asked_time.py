"""Times as people write them."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coffre_cli.asked_time import NoTimeError, asked_time, has_offset

NOW = datetime(2026, 11, 29, 23, 30, tzinfo=UTC)
ZONES = ("UTC", "Europe/Paris", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kolkata")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-27 14:29:30", "2026-11-27T14:29:30+00:00"),
        (" 2026-11-27T14:29:30.5Z ", "2026-11-27T14:29:30.500000+00:00"),
        ("2026-11-27 14:29:30+01", "2026-11-27T13:29:30+00:00"),
        ("2026-11-27 14:29:30 +01:00", "2026-11-27T13:29:30+00:00"),
        ("2026-11-27 14:29:30 Z", "2026-11-27T14:29:30+00:00"),
        ("2026-11-27  14:29 Europe/Paris", "2026-11-27T13:29:00+00:00"),
        ("2026-07-01 14:29 Europe/Paris", "2026-07-01T12:29:00+00:00"),
        ("2026-11-27", "2026-11-27T00:00:00+00:00"),
        # Of today, which is another day already in Paris
        ("14:29", "2026-11-29T14:29:00+00:00"),
        ("9:05:30", "2026-11-29T09:05:30+00:00"),
        ("14:29 Europe/Paris", "2026-11-30T13:29:00+00:00"),
        ("00:10+01:00", "2026-11-29T23:10:00+00:00"),
        ("14:29 America/New_York", "2026-11-29T19:29:00+00:00"),
    ],
)
def test_a_time_is_understood(text: str, expected: str) -> None:
    assert asked_time(text, NOW).isoformat() == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("yesterday", "yesterday is no time: write 2026-11-27 14:29:30, "),
        ("", " is no time"),
        ("25:00", "25:00 is no time"),
        ("2026-13-01", "is no time"),
        ("10 May", "May is no time zone of the IANA database: write 2026-11-27 14:29:30, "),
        ("14:29 Europe", "Europe is no time zone"),
        ("14:29 a/../../../etc/passwd", "is no time zone"),
        ("2026-11-27 14:29+01:00 Europe/Paris", "has an offset and a zone"),
        (
            "2026-03-29 02:30 Europe/Paris",
            (
                "never showed 2026-03-29 02:30:00, because they were set forward: write 2026-03-29 00:30:00+00:00 or"
                " 2026-03-29 01:30:00+00:00"
            ),
        ),
        (
            "2026-10-25 02:30 Europe/Paris",
            (
                "showed 2026-10-25 02:30:00 twice, because they were set back: write 2026-10-25 00:30:00+00:00 or"
                " 2026-10-25 01:30:00+00:00"
            ),
        ),
    ],
)
def test_what_is_no_time_or_means_two_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        asked_time(text, NOW)
    assert why in str(caught.value)


@given(
    st.datetimes(min_value=datetime(2001, 1, 1), max_value=datetime(2100, 1, 1)),  # noqa: DTZ001
    st.integers(-14 * 60, 14 * 60),
    st.sampled_from(ZONES),
)
def test_every_time_is_read_as_it_is_written(local: datetime, minutes: int, zone: str) -> None:
    for sep in ("T", " "):
        written = local.replace(tzinfo=timezone(timedelta(minutes=minutes))).isoformat(sep=sep)
        assert has_offset(written)
        assert asked_time(written, NOW) == datetime.fromisoformat(written)
    instant = local.replace(tzinfo=UTC)
    shown = instant.astimezone(ZoneInfo(zone))
    if shown.utcoffset() == shown.replace(fold=1 - shown.fold).utcoffset():
        assert asked_time(f"{shown.replace(tzinfo=None)} {zone}", NOW) == instant
        return
    with pytest.raises(ValueError, match="twice") as caught:
        asked_time(f"{shown.replace(tzinfo=None)} {zone}", NOW)
    assert instant.isoformat(sep=" ") in str(caught.value)


@given(st.text(max_size=40) | st.from_regex(r"[0-9:TZ +./A-Za-z-]{0,30}"))
@example("9999-12-31 23:59 America/New_York")
@example("0001-01-01 00:00 Asia/Kolkata")
@example("0001-01-01T00:00+14:00")
def test_any_text_is_a_time_or_is_refused(text: str) -> None:
    with suppress(ValueError):
        assert asked_time(text, NOW).tzinfo is UTC


def test_what_has_no_form_of_a_time_is_an_error_of_its_own() -> None:
    with pytest.raises(NoTimeError):
        asked_time("soon", NOW)
