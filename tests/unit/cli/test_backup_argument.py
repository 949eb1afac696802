"""Which backup a person means by a day or a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.cli.conftest import Account, Coffre
from ulid import ULID

from coffre.model.backup import Backup, Status
from coffre_cli.backup_argument import resolve_backup
from coffre_cli.stack_choice import find_stack

NOON = datetime(2026, 11, 17, 12, 0, tzinfo=UTC)


def taken(account: Account, hours: float, status: Status = Status.COMPLETED, **fields: Any) -> Backup:
    created_at = NOON + timedelta(hours=hours)
    return account.backup(status, created_at=created_at, id=str(ULID.from_datetime(created_at)), **fields)


@pytest.mark.parametrize(
    ("said", "hours"),
    [
        ("2026-11-17", 11),
        ("2026-11-16", -13),
        ("2026-11-17T12:00:01", 0),
        ("2026-11-17T11:59", -13),
        ("2026-11-17T13:30+01:00", 0),
        ("2027-01-01", 30),
    ],
)
def test_a_day_or_a_time_means_the_last_good_backup_until_then(account: Account, said: str, hours: int) -> None:
    backups = {hour: taken(account, hour) for hour in (-13, 0, 11, 30)}
    taken(account, 11.5, Status.FAILED)
    taken(account, 10, target="other")

    assert resolve_backup(find_stack(None), said, None) == backups[hours]


def test_a_time_is_compared_with_when_a_backup_was_taken_and_not_with_its_id(account: Account) -> None:
    early, late = NOON, NOON + timedelta(hours=2)
    account.backup(Status.COMPLETED, created_at=early, completed_at=early, id="7ZZZZZZZZZZZZZZZZZZZZZZZZZ")
    newest = account.backup(Status.COMPLETED, created_at=late, completed_at=late, id=str(ULID.from_datetime(late)))

    for said in ("2026-11-17", "latest"):
        assert resolve_backup(find_stack(None), said, None) == newest
    assert resolve_backup(find_stack(None), "2026-11-17T13:00", None).created_at == early


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("2026-11-15", "from before 2026-11-16 00:00:00 UTC"),
        ("2026-11-35", "is not a day or a time"),
        ("9999-12-31", "is not a day or a time"),
        ("0001-01-01T00:00+14:00", "is not a day or a time"),
    ],
)
def test_what_means_no_backup_is_told(coffre: Coffre, account: Account, said: str, words: str) -> None:
    taken(account, 0)

    ended = coffre("ls", said)

    assert ended.status in (1, 2)
    assert words in " ".join(ended.err.split())
