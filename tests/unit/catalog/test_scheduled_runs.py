"""Which backup answers for a scheduled run."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Failure, Status, Tier
from coffre.model.errors import CatalogError, PermanentError

type NewBackup = Callable[..., Backup]

SLOT = "2026-10-02T03:00:00Z"
MINUTE = timedelta(minutes=1)


def test_a_free_slot_is_ours_and_stays_ours(catalog: Catalog, now: datetime) -> None:
    assert catalog.claim_slot("shop", SLOT, "01A", now) == "01A"
    assert catalog.claim_slot("shop", SLOT, "01A", now + timedelta(days=1)) == "01A"


def test_slots_of_other_targets_and_times_are_other_slots(catalog: Catalog, now: datetime) -> None:
    assert catalog.claim_slot("shop", SLOT, "01A", now) == "01A"
    assert catalog.claim_slot("blog", SLOT, "01B", now) == "01B"
    assert catalog.claim_slot("shop", "2026-10-03T03:00:00Z", "01C", now) == "01C"


def test_one_time_is_one_slot_however_it_is_written(catalog: Catalog, now: datetime) -> None:
    catalog.claim_slot("shop", SLOT, "01A", now)
    for spelling in ("2026-10-02T05:00+02:00", "2026-10-02T03:00:00.000Z", datetime.fromisoformat(SLOT)):
        assert catalog.claim_slot("shop", spelling, "01B", now) == "01A"


@pytest.mark.parametrize(
    "slot", ["", "tomorrow", "2026-10-02T03:00:00", "2026-13-02T03:00:00Z", "0001-01-01T00:00:00+14:00"]
)
def test_a_slot_that_is_not_a_time_with_its_zone_is_refused(catalog: Catalog, now: datetime, slot: str) -> None:
    with pytest.raises(PermanentError) as caught:
        catalog.claim_slot("shop", slot, "01A", now)
    assert caught.value.code == "SLOT_INVALID"


@pytest.mark.parametrize("status", [Status.IN_PROGRESS, Status.COMPLETED])
def test_the_second_rule_of_a_slot_is_sent_to_the_first_ones_backup(
    catalog: Catalog, new_backup: NewBackup, now: datetime, status: Status
) -> None:
    daily = new_backup(status=status)
    assert catalog.claim_slot("shop", SLOT, daily.id, now) == daily.id
    catalog.create_backup(daily)
    owner = catalog.claim_slot("shop", SLOT, "01WEEKLY", now + timedelta(days=1))
    assert owner == daily.id
    assert catalog.add_tier(owner, Tier.WEEKLY).tiers == (Tier.DAILY, Tier.WEEKLY)


@pytest.mark.parametrize("status", [Status.FAILED, Status.DELETED])
def test_a_backup_that_is_gone_gives_its_slot_back(
    catalog: Catalog, new_backup: NewBackup, now: datetime, status: Status
) -> None:
    gone = new_backup(status=status)
    catalog.claim_slot("shop", SLOT, gone.id, now)
    catalog.create_backup(gone)
    assert catalog.claim_slot("shop", SLOT, "01RETRY", now) == "01RETRY"
    assert catalog.claim_slot("shop", SLOT, gone.id, now) == "01RETRY"


def test_a_claim_whose_backup_never_came_is_abandoned_after_a_while(catalog: Catalog, now: datetime) -> None:
    catalog.claim_slot("shop", SLOT, "01A", now)
    assert catalog.claim_slot("shop", SLOT, "01B", now + MINUTE, orphan_after=MINUTE) == "01A"
    late = now + MINUTE + timedelta(seconds=1)
    assert catalog.claim_slot("shop", SLOT, "01B", late, orphan_after=MINUTE) == "01B"
    assert catalog.claim_slot("shop", SLOT, "01C", late + MINUTE, orphan_after=MINUTE) == "01B"


# --- races: somebody else acts between our look and our write ---


def _between(catalog: Catalog, monkeypatch: pytest.MonkeyPatch, acts: Iterator[Callable[[], Any]]) -> None:
    """Let others act right after each time the slot is looked at."""
    table = catalog._table
    get = table.get

    def look(partition: str, sort: str) -> Any:
        found = get(partition, sort)
        if partition == "SLOT":
            act = next(acts, None)
            if act:
                act()
        return found

    monkeypatch.setattr(table, "get", look)


def test_of_two_claims_of_a_free_slot_one_wins_and_the_other_is_told(
    catalog: Catalog, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Catalog(catalog._table.name)
    _between(catalog, monkeypatch, iter([lambda: other.claim_slot("shop", SLOT, "01OTHER", now)]))
    assert catalog.claim_slot("shop", SLOT, "01OURS", now) == "01OTHER"


def test_of_two_claims_of_a_failed_backups_slot_one_wins_and_the_other_is_told(
    catalog: Catalog, new_backup: NewBackup, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = new_backup()
    catalog.claim_slot("shop", SLOT, failed.id, now)
    catalog.create_backup(failed)
    catalog.fail_backup(failed.id, Failure(code="X", message="x"), now)
    other = Catalog(catalog._table.name)
    _between(catalog, monkeypatch, iter([lambda: other.claim_slot("shop", SLOT, "01OTHER", now)]))
    assert catalog.claim_slot("shop", SLOT, "01OURS", now) == "01OTHER"


def test_a_slot_that_changes_hands_without_end_is_given_up(
    catalog: Catalog, now: datetime, monkeypatch: pytest.MonkeyPatch, raw_table: Any
) -> None:
    def another() -> None:
        claimed_at = (now - timedelta(hours=next(hours))).isoformat(timespec="microseconds")
        raw_table.put_item(Item={"pk": "SLOT", "sk": f"shop#{SLOT}", "backup_id": "01GHOST", "claimed_at": claimed_at})

    hours = iter(range(1, 100))
    _between(catalog, monkeypatch, iter([another] * 50))
    with pytest.raises(CatalogError) as caught:
        catalog.claim_slot("shop", SLOT, "01OURS", now)
    assert caught.value.code == "SLOT_CONTENDED"
