"""What `coffre journal list` promises of what is stored, and what it says of damage."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.operations.conftest import Scene
from tests.unit.operations.stored_journal import backup_of, journal_of, lsn_at
from ulid import ULID

from coffre.model.errors import IntegrityError
from coffre.model.verification import Share
from coffre.operations.journal.overview import Stretch, stretches
from coffre.operations.verify.inventory import inventory
from coffre.operations.verify.job import VerifyJob
from coffre.vault import journal
from coffre.vault.codec import FrameDecoder
from coffre.vault.layout import interval_end_key, interval_key, segment_key


def test_only_moments_are_promised_whose_segments_exist(scene: Scene) -> None:
    _, second = backup_of(scene, 7.5), backup_of(scene, 5.5)
    interval = journal_of(scene, (8, 7, 6, 5), ended=4.5)
    assert (since(scene), until(scene)) == (7.5, 4.5)

    # What rotation has removed is no moment any more
    keys = journal.segment_keys(scene.vault, "shop", interval)
    for key in keys[:2]:
        scene.store.delete(key.key)
    assert (since(scene), until(scene)) == (5.5, 4.5)
    assert listed(scene)[0][0].bases == (second.id,)

    # Nor is anything, where the last segments are lost too
    scene.store.delete(keys[2].key)
    [found], damage = listed(scene)
    assert (found.since, found.damage, damage) == (None, "the segments from 1 to 3 are missing", [])


def test_after_lost_segments_no_moment_is_promised(scene: Scene) -> None:
    backup_of(scene, 7.5)
    interval = journal_of(scene, (8, 7, 6, 5), ended=4.5)
    scene.store.delete(journal.segment_keys(scene.vault, "shop", interval)[2].key)
    assert (since(scene), until(scene)) == (7.5, 6)
    assert listed(scene)[0][0].damage == "the segments from 3 to 3 are missing"


def test_damage_of_one_interval_hides_no_other(scene: Scene) -> None:
    backup_of(scene, 9.5)
    backup_of(scene, 4.5, "e" * 64)
    gap = journal_of(scene, (10, 9, 8, 7), ended=6.5)
    journal_of(scene, (5, 4, 3), ended=2.5, print_="e" * 64)
    broken = journal_of(scene, (2, 1))
    scene.store.delete(journal.segment_keys(scene.vault, "shop", gap)[1].key)
    (scene.root / interval_key("shop", broken)).write_bytes(b"{}")

    (whole, after, before), damage = listed(scene)
    assert (whole.since, whole.damage) == (scene.now - timedelta(days=4.5), None)
    assert (after.since, after.until, after.damage) == (None, None, None)
    assert (before.since, before.until) == (scene.now - timedelta(days=9.5), scene.now - timedelta(days=9))
    assert before.damage == "the segment 2 is missing"
    assert [error.code for error in damage] == ["JOURNAL_DAMAGED", "JOURNAL_DAMAGED"]


def test_moments_before_and_after_a_damaged_record_are_listed(scene: Scene) -> None:
    first, second = backup_of(scene, 9.5), backup_of(scene, 6.5)
    interval = journal_of(scene, (10, 9, 8.5, 8, 7, 6, 5), ended=4)
    (scene.root / journal.segment_keys(scene.vault, "shop", interval)[2].key).write_bytes(b"{}")
    found_by_verification(scene)

    (after, before), _ = listed(scene)

    assert (before.bases, before.damage) == ((first.id,), "the record of the segment 3 is damaged")
    assert (before.since, before.until) == (scene.now - timedelta(days=9.5), scene.now - timedelta(days=8.5))
    assert (after.bases, after.damage) == ((second.id,), None)
    assert (after.since, after.until) == (scene.now - timedelta(days=6.5), scene.now - timedelta(days=4))


def test_where_the_record_of_an_end_is_damaged_the_last_segment_is_not_promised(scene: Scene) -> None:
    backup_of(scene, 9.5)
    interval = journal_of(scene, (10, 9, 8, 7), ended=6)
    (scene.root / interval_end_key("shop", interval)).write_bytes(b"{}")
    assert (since(scene), until(scene)) == (9.5, 8)
    assert listed(scene)[0][0].damage == "the record of its end is damaged"


@pytest.mark.parametrize("what", ["damaged", "twice"])
def test_where_the_records_of_the_end_and_of_the_last_segment_are_lost_the_others_are_listed(
    scene: Scene, what: str
) -> None:
    first = backup_of(scene, 9.5)
    interval = journal_of(scene, (10, 9, 8, 7), ended=6)
    key = journal.segment_keys(scene.vault, "shop", interval)[-1].key
    if what == "damaged":
        (scene.root / key).write_bytes(b"{}")
        found_by_verification(scene)
    else:
        other = segment_key("shop", interval, 3, lsn_at(7.5))
        assert other.rsplit("-", 1)[0] == key.rsplit("-", 1)[0]
        (scene.root / other).write_bytes((scene.root / key).read_bytes())
    (scene.root / interval_end_key("shop", interval)).write_bytes(b"{}")

    [found], damage = listed(scene)
    assert (found.bases, found.until) == ((first.id,), scene.now - timedelta(days=8))
    assert (found.damage or "").startswith(
        "the record of the segment 3" if what == "damaged" else "the segment 3 exists"
    )
    assert len(damage) == 2


def test_a_damaged_record_before_a_missing_one_that_no_verification_has_found_hides_no_moment(scene: Scene) -> None:
    first, second = backup_of(scene, 9.5), backup_of(scene, 4.5)
    interval = journal_of(scene, (10, 9, 8, 7, 6, 5, 4), ended=3)
    keys = journal.segment_keys(scene.vault, "shop", interval)
    (scene.root / keys[2].key).write_bytes(b"{}")
    scene.store.delete(keys[3].key)

    (after, before), damage = listed(scene)
    assert (before.bases, before.until) == ((first.id,), scene.now - timedelta(days=8))
    assert (after.bases, after.until) == ((second.id,), scene.now - timedelta(days=3))
    assert len(damage) == 1


def test_an_interval_of_which_nothing_can_be_read_is_listed_as_damaged(scene: Scene) -> None:
    backup_of(scene, 9.5)
    interval = journal_of(scene, (10, 9, 8))
    keys = journal.segment_keys(scene.vault, "shop", interval)
    (scene.root / keys[0].key).write_bytes(b"1")
    scene.store.delete(keys[1].key)
    journal_of(scene, (5, 4))
    found_by_verification(scene)

    (_, damaged), _ = listed(scene)
    assert (damaged.until, damaged.damage) == (None, "the record of the segment 1 is damaged")


def found_by_verification(scene: Scene) -> None:
    job = VerifyJob(
        str(ULID()), scene.catalog, scene.vault, FrameDecoder(()), scene.scratch, lambda: scene.now, lambda: 900.0
    )
    inventory(job, Share(parts=10**9, day=0))


def listed(scene: Scene) -> tuple[list[Stretch], list[IntegrityError]]:
    damage = list[IntegrityError]()
    return stretches(scene.catalog, scene.vault, "shop", damage.append), damage


def since(scene: Scene) -> float:
    [found], _ = listed(scene)
    assert found.since is not None
    return (scene.now - found.since) / timedelta(days=1)


def until(scene: Scene) -> float:
    [found], _ = listed(scene)
    assert found.until is not None
    return (scene.now - found.until) / timedelta(days=1)
