"""Which backup is the newest, and which ids are of now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ulid import ULID

from coffre.model.backup import Backup, Status, Tier
from coffre.model.errors import EventError
from coffre.policy.recency import ID_WITHIN, newest_first, refuse_distant_id

NOW = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
IDS = st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=25, max_size=25).flatmap(
    lambda rest: st.sampled_from("01234567").map(lambda first: first + rest)
)


def backup(backup_id: str, hours: float) -> Backup:
    time = NOW + timedelta(hours=hours)
    return Backup(
        id=backup_id,
        target="shop",
        tiers=(Tier.DAILY,),
        status=Status.COMPLETED,
        created_at=time - timedelta(minutes=5),
        completed_at=time,
    )


@given(ids=st.lists(IDS, unique=True, min_size=1, max_size=8), data=st.data())
def test_the_order_follows_completion_whatever_the_ids(ids: list[str], data: st.DataObject) -> None:
    hours = data.draw(st.lists(st.integers(-500, 0), unique=True, min_size=len(ids), max_size=len(ids)))
    backups = [backup(backup_id, hour) for backup_id, hour in zip(ids, hours, strict=True)]

    found = newest_first(backups, NOW)

    assert [one.completed_at for one in found] == sorted((NOW + timedelta(hours=hour) for hour in hours), reverse=True)


def test_those_of_the_future_come_last_and_seconds_are_no_future() -> None:
    past, just_now, future = backup("1" * 26, -1), backup("2" * 26, 0.01), backup("3" * 26, 1)

    assert newest_first([future, past, just_now], NOW) == [just_now, past, future]


@pytest.mark.parametrize("hours", [-14, 0, 14])
def test_an_id_of_about_now_is_taken(hours: int) -> None:
    refuse_distant_id("backup_id", str(ULID.from_datetime(NOW + timedelta(hours=hours))), NOW)


@pytest.mark.parametrize(
    "run_id",
    [
        "7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
        "00000000000000000000000000",
        str(ULID.from_datetime(NOW + ID_WITHIN + timedelta(minutes=1))),
        str(ULID.from_datetime(NOW - ID_WITHIN - timedelta(minutes=1))),
    ],
    ids=["last", "first", "later", "earlier"],
)
def test_an_id_of_another_time_is_refused_with_what_to_do(run_id: str) -> None:
    with pytest.raises(EventError, match="ID_NOT_OF_NOW") as refused:
        refuse_distant_id("backup_id", run_id, NOW)

    assert f"backup_id {run_id}" in refused.value.message
    assert "clock" in (refused.value.hint or "")
