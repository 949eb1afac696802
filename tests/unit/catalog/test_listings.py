"""Lists of backups: order, filters, pages and cursors."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.catalog.conftest import RawTable
from ulid import ULID

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Failure, Status

type NewBackup = Callable[..., Backup]
type Completed = Callable[[Backup], Backup]


def _ids(backups: object) -> list[str]:
    return [backup.id for backup in backups]  # type: ignore[attr-defined]


def _create(catalog: Catalog, *backups: Backup) -> list[str]:
    """Store backups and return their ids newest first."""
    for backup in backups:
        catalog.create_backup(backup)
    return sorted((backup.id for backup in backups), reverse=True)


def test_an_empty_catalog_lists_nothing(catalog: Catalog) -> None:
    assert list(catalog.backups()) == []
    assert catalog.latest_completed("shop") is None


def test_backups_come_newest_first(catalog: Catalog, new_backup: NewBackup) -> None:
    ids = _create(catalog, *(new_backup() for _ in range(5)))
    assert _ids(catalog.backups()) == ids


def test_backups_are_listed_by_target_by_status_and_by_both(catalog: Catalog, new_backup: NewBackup) -> None:
    made = {
        (target, status): _create(catalog, *(new_backup(target=target, status=status) for _ in range(2)))
        for target in ("shop", "blog")
        for status in (Status.COMPLETED, Status.FAILED)
    }
    assert set(_ids(catalog.backups(target="shop"))) == {
        *made["shop", Status.COMPLETED],
        *made["shop", Status.FAILED],
    }
    assert set(_ids(catalog.backups(status=Status.FAILED))) == {
        *made["shop", Status.FAILED],
        *made["blog", Status.FAILED],
    }
    assert _ids(catalog.backups(target="blog", status=Status.COMPLETED)) == made["blog", Status.COMPLETED]
    assert list(catalog.backups(target="shop", status=Status.DELETED)) == []
    assert list(catalog.backups(target="sho")) == []


def test_a_status_that_changes_moves_the_backup_to_the_other_list(
    catalog: Catalog, new_backup: NewBackup, completed: Completed, now: datetime
) -> None:
    first, second = new_backup(), new_backup()
    _create(catalog, first, second)
    catalog.complete_backup(completed(first))
    catalog.fail_backup(second.id, Failure(code="X", message="x"), now)
    assert list(catalog.backups(status=Status.IN_PROGRESS)) == []
    assert _ids(catalog.backups(status=Status.COMPLETED)) == [first.id]
    assert _ids(catalog.backups(status=Status.FAILED)) == [second.id]


def test_other_kinds_of_items_are_never_in_a_list_of_backups(
    catalog: Catalog, new_backup: NewBackup, new_restore: Callable[..., object], now: datetime
) -> None:
    ids = _create(catalog, new_backup())
    catalog.create_restore(new_restore())  # type: ignore[arg-type]
    catalog.audit.record(now, "someone", "restore.started", "shop")
    catalog.locks.acquire("shop", "01A", now, stale_after=timedelta(minutes=1))
    catalog.claim_slot("shop", now, "01A", now)
    for listing in (catalog.backups(), catalog.backups(target="shop"), catalog.backups(status=Status.IN_PROGRESS)):
        assert _ids(listing) == ids


def test_since_is_inclusive_and_until_is_exclusive(catalog: Catalog, new_backup: NewBackup, now: datetime) -> None:
    times = [now + timedelta(milliseconds=step) for step in range(5)]
    backups = [new_backup(created_at=time) for time in times]
    _create(catalog, *backups)

    def listed(since: datetime | None, until: datetime | None, target: str | None = None) -> list[datetime]:
        return [backup.created_at for backup in catalog.backups(since=since, until=until, target=target)]

    assert listed(times[1], times[3]) == [times[2], times[1]]
    assert listed(times[1], times[3], "shop") == [times[2], times[1]]
    assert listed(times[3], None) == [times[4], times[3]]
    assert listed(None, times[2]) == [times[1], times[0]]
    assert listed(times[3] + timedelta(microseconds=1), None) == [times[4]]
    assert listed(None, times[0] + timedelta(microseconds=1)) == [times[0]]


def test_a_time_without_any_room_lists_nothing(catalog: Catalog, new_backup: NewBackup, now: datetime) -> None:
    _create(catalog, new_backup(created_at=now))
    assert list(catalog.backups(since=now, until=now)) == []
    assert list(catalog.backups(since=now + timedelta(days=1), until=now)) == []
    assert list(catalog.backups(until=datetime.min.replace(tzinfo=UTC))) == []


def test_the_whole_of_time_lists_everything(catalog: Catalog, new_backup: NewBackup) -> None:
    ids = _create(catalog, new_backup())
    since, until = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    assert _ids(catalog.backups(since=since, until=until)) == ids


def test_the_latest_completed_backup_is_the_newest_one_of_its_target(catalog: Catalog, new_backup: NewBackup) -> None:
    _create(catalog, new_backup(status=Status.COMPLETED))
    latest = new_backup(status=Status.COMPLETED)
    _create(catalog, latest, new_backup(status=Status.FAILED), new_backup(status=Status.DELETED), new_backup())
    _create(catalog, new_backup(status=Status.COMPLETED, target="blog"))
    assert catalog.latest_completed("shop") == latest


@pytest.mark.parametrize("chosen", ["7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "00000000000000000000000000"])
def test_the_latest_backup_is_the_one_that_was_completed_last_whatever_its_id(
    catalog: Catalog, new_backup: NewBackup, now: datetime, chosen: str
) -> None:
    older, newer = now - timedelta(days=2), now - timedelta(days=1)
    first, second = (
        new_backup(status=Status.COMPLETED, id=backup_id, created_at=time, completed_at=time)
        for backup_id, time in zip((chosen, str(ULID.from_datetime(older))), (older, newer), strict=True)
    )
    _create(catalog, first, second)

    assert catalog.latest_completed("shop") == second
    assert catalog.completed_backups("shop") == [second, first]


def test_a_backup_of_a_clock_that_ran_ahead_is_the_latest_only_when_there_is_no_other(
    catalog: Catalog, new_backup: NewBackup
) -> None:
    now = datetime.now(UTC)
    ahead, right = now + timedelta(days=400), now - timedelta(days=1)
    future = new_backup(status=Status.COMPLETED, created_at=ahead, completed_at=ahead)
    _create(catalog, future)
    assert catalog.latest_completed("shop") == future

    present = new_backup(status=Status.COMPLETED, created_at=right, completed_at=right)
    _create(catalog, present)

    assert catalog.latest_completed("shop") == present


def test_the_latest_completed_backup_is_found_below_many_failures(catalog: Catalog, new_backup: NewBackup) -> None:
    latest = new_backup(status=Status.COMPLETED)
    _create(catalog, latest, *(new_backup(status=Status.FAILED) for _ in range(130)))
    assert catalog.latest_completed("shop") == latest


def test_hundreds_of_backups_are_read_page_by_page_as_they_are_taken(
    catalog: Catalog, new_backup: NewBackup, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = _create(catalog, *(new_backup() for _ in range(300)))
    connection = catalog._table._connection
    calls = 0
    query = connection.query

    def counted(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        return query(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(connection, "query", counted)
    listing = catalog.backups()
    assert calls == 0
    assert next(listing).id == ids[0]
    assert calls == 1
    assert _ids(listing) == ids[1:]
    assert calls in (3, 4)


def test_one_call_finds_the_newest_of_each_target_that_runs_as_often_as_others(
    catalog: Catalog, new_backup: NewBackup, raw_table: RawTable
) -> None:
    often = {name: _create(catalog, *(new_backup(target=name) for _ in range(4))) for name in ("shop", "blog")}
    _create(catalog, *(new_backup(target="removed") for _ in range(2)))
    everything = catalog.newest_of_each([*often, "never"], 5)
    assert {name: _ids(found) for name, found in everything.items()} == {**often, "never": []}, "all was looked at"

    rare = _create(catalog, new_backup(target="rare"))
    often = {name: _create(catalog, *(new_backup(target=name) for _ in range(2))) for name in ("shop", "blog")}
    found = catalog.newest_of_each(["shop", "blog", "rare"], 2)
    assert {name: _ids(those) for name, those in found.items()} == often, "what is not whole is not there"
    assert _ids(catalog.newest("rare", 2)) == rare
    assert all(catalog.newest(name, 2) == found[name] for name in often)

    key = {"pk": "BACKUP", "sk": often["shop"][0]}
    raw_table.update_item(Key=key, UpdateExpression="REMOVE target")
    assert set(catalog.newest_of_each(["shop", "blog", "rare"], 2)) == {"blog"}, "to ask for it alone names the record"
