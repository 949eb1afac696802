"""Marks of health and of damage: which of two that come at the same time counts."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from tests.unit.catalog.conftest import NewBackup

from coffre.catalog.catalog import Catalog
from coffre.catalog.run_items import BackupItem
from coffre.model.backup import Backup
from coffre.model.errors import BackupStateError

type Completed = Callable[[Backup], Backup]


@pytest.fixture
def backup(catalog: Catalog, new_backup: NewBackup, completed: Completed) -> Backup:
    begun = new_backup()
    catalog.create_backup(begun)
    return catalog.complete_backup(completed(begun))


def test_each_damage_counts_and_the_first_time_stays(catalog: Catalog, backup: Backup, now: datetime) -> None:
    catalog.keeping.mark_damaged(backup.id, "one", now)

    found = catalog.keeping.mark_damaged(backup.id, "two", now + timedelta(hours=1))

    assert (found.damage_count, found.damaged_at, found.damage) == (2, now, "two")


def test_a_look_marks_and_heals_what_it_saw_when_it_began(catalog: Catalog, backup: Backup, now: datetime) -> None:
    seen = catalog.keeping.mark_damaged(backup.id, "one", now)

    noted = catalog.keeping.note_read(seen, "tables/a")
    healed = catalog.keeping.mark_verified(backup.id, now, seen=seen, heals=True)

    assert noted.read_until == "tables/a"
    assert (healed.damaged_at, healed.damage, healed.verified_at, healed.damage_count) == (None, None, now, 1)


@pytest.mark.parametrize("is_damaged_before", [False, True])
@pytest.mark.parametrize("heals", [False, True])
def test_damage_that_came_after_the_look_began_refuses_every_mark_of_it(
    catalog: Catalog, backup: Backup, now: datetime, heals: bool, is_damaged_before: bool
) -> None:
    seen = catalog.keeping.mark_damaged(backup.id, "one", now) if is_damaged_before else backup
    then = catalog.keeping.mark_damaged(backup.id, "two", now)

    with pytest.raises(BackupStateError, match="BACKUP_DAMAGED"):
        catalog.keeping.mark_verified(backup.id, now, seen=seen, heals=heals)
    with pytest.raises(BackupStateError, match="BACKUP_DAMAGED"):
        catalog.keeping.note_read(seen, "tables/a")

    assert catalog.get_backup(backup.id) == then


def test_damage_that_came_and_was_healed_meanwhile_refuses_the_mark_too(
    catalog: Catalog, backup: Backup, now: datetime
) -> None:
    damaged = catalog.keeping.mark_damaged(backup.id, "one", now)
    catalog.keeping.mark_verified(backup.id, now, seen=damaged, heals=True)

    with pytest.raises(BackupStateError, match="healed, while it was being read"):
        catalog.keeping.mark_verified(backup.id, now + timedelta(hours=1), seen=backup)


def test_nothing_is_healed_that_was_not_seen(catalog: Catalog, backup: Backup, now: datetime) -> None:
    with pytest.raises(ValueError, match="seen"):
        catalog.keeping.mark_verified(backup.id, now, heals=True)


def test_a_record_of_before_damage_was_counted_can_be_verified(catalog: Catalog, backup: Backup, now: datetime) -> None:
    table = catalog._table._connection
    table.update_item("BACKUP", range_key=backup.id, actions=[BackupItem.damage_count.remove()])

    assert catalog.keeping.mark_verified(backup.id, now, seen=catalog.get_backup(backup.id)).verified_at == now
