"""What jobs found last, and the listings that `coffre status` reads: few items, however long the history is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.unit.catalog.conftest import NOON, NewBackup, RawTable

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Status, Tier
from coffre.model.drill import DrillSummary, Outcome, Rehearsal
from coffre.model.errors import IntegrityError
from coffre.model.rotation import Amount, SweepReport
from coffre.model.vault_use import VaultUse

DRILL = DrillSummary(
    id="01M00000000000000000000001",
    backup_id="01M00000000000000000000000",
    target="shop",
    outcome=Outcome.PASSED,
    completed_at=NOON,
    restore_seconds=245.5,
)
SWEPT = SweepReport(
    packs=Amount(objects=12, size_bytes=1_200),
    living=Amount(objects=10, size_bytes=1_000),
    wasted_bytes=100,
    needed_bytes=4_900,
    plaintext_bytes=20_000,
    packs_removed=Amount(objects=1, size_bytes=50),
)


def test_the_newest_drill_of_each_target_is_known_and_an_older_one_does_not_replace_it(catalog: Catalog) -> None:
    later = DRILL.model_copy(update={"outcome": Outcome.FAILED, "completed_at": NOON + timedelta(days=7)})
    other = DRILL.model_copy(update={"target": "photos"})

    for drill in (DRILL, later, other, DRILL):
        catalog.latest.note_drill(drill)

    assert catalog.latest.drills() == {"shop": later, "photos": other}


def test_the_newest_rehearsal_of_a_target_is_kept_next_to_its_drill(catalog: Catalog) -> None:
    first = Rehearsal(id=DRILL.id, target="shop", completed_at=NOON, seconds=700.0)
    later = first.model_copy(update={"completed_at": NOON + timedelta(days=30), "seconds": 650.0})

    catalog.latest.note_drill(DRILL)
    for rehearsal in (first, later, first):
        catalog.latest.note_rehearsal(rehearsal)

    assert catalog.latest.drills_and_rehearsals() == ({"shop": DRILL}, {"shop": later})
    assert catalog.latest.drills() == {"shop": DRILL}


def test_what_a_sweep_measured_is_known_and_what_is_stored_once_for_several_backups_is_saved(catalog: Catalog) -> None:
    assert catalog.latest.vault() is None
    use = VaultUse.of(SWEPT, NOON)

    catalog.latest.note_vault(use)

    assert catalog.latest.vault() == use
    assert (use.packs, use.size_bytes, use.used_bytes) == (11, 1_150, 900)
    assert use.saved_bytes == 4_000


def test_an_item_that_was_changed_by_hand_is_an_error_that_names_it(catalog: Catalog, raw_table: RawTable) -> None:
    raw_table.put_item(Item={"pk": "DRILL", "sk": "shop", "record": "{}"})

    with pytest.raises(IntegrityError, match="DRILL / shop"):
        catalog.latest.drills()


def test_the_newest_good_and_the_newest_verified_backup_are_found_below_any_number_of_others(
    catalog: Catalog, new_backup: NewBackup, completed: Callable[[Backup], Backup]
) -> None:
    oldest = new_backup(status=Status.DELETED)
    verified, good, damaged = (completed(new_backup()) for _ in range(3))
    safety = completed(new_backup(tiers=(Tier.SAFETY,)))
    others = [new_backup(status=Status.FAILED) for _ in range(3)] + [completed(new_backup(target="photos"))]
    for backup in (oldest, verified, good, damaged, safety, *others):
        catalog.create_backup(backup)
    catalog.keeping.mark_verified(verified.id, NOON)
    catalog.keeping.mark_verified(safety.id, NOON)
    catalog.keeping.mark_damaged(damaged.id, "A pack is gone.", NOON)

    found = [catalog.newest_good("shop"), catalog.newest_good("shop", verified=True), catalog.oldest("shop")]

    assert [one and one.id for one in found] == [good.id, verified.id, oldest.id]
    assert (catalog.newest_good("absent"), catalog.oldest("absent")) == (None, None)


def test_since_when_every_key_is_in_use_is_read_together(catalog: Catalog) -> None:
    catalog.recipients.note_use("age1one", NOON)
    catalog.recipients.note_use("age1two", NOON + timedelta(days=1))

    assert catalog.recipients.all() == {"age1one": NOON, "age1two": NOON + timedelta(days=1)}
