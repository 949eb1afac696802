"""Rotation of a copy: by its own rules, on what is there, whatever has become of the vault."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.operations.conftest import Scene
from tests.unit.operations.copy_scene import CopyScene

from coffre.model.backup import Backup, Restore, Status, Tier
from coffre.model.copies import Copy, CopyStatus
from coffre.model.locks import LockMode
from coffre.model.rotation import Action
from coffre.model.verification import Damage, DamageReport, Level
from coffre.operations.rotate import extend_locks
from coffre.operations.stored_backup.read_copies import as_read
from coffre.stores.store import Store
from coffre.vault.damage import write_damage

LEAN = {"minimum_kept": 1, "minimum_verified": 1}


@pytest.fixture
def copy(scene: Scene, tmp_path: Path) -> CopyScene:
    return CopyScene.of(scene, tmp_path / "copy")


def test_a_copy_is_kept_by_its_own_retention_and_the_vault_by_its_own(scene: Scene, copy: CopyScene) -> None:
    old, newest = scene.backup(8), scene.backup(1)
    copy.copy(old, newest)
    scene.retention, copy.retention = LEAN, LEAN | {"daily_days": 30}

    assert {one.action for one in copy.rotate().decisions} == {Action.KEEP}
    scene.rotate()

    assert scene.status(old) is Status.DELETED
    assert copy.status(old) is CopyStatus.COMPLETED
    assert copy.is_whole(old)


def test_what_outlived_the_copys_retention_goes_there_alone(scene: Scene, copy: CopyScene) -> None:
    scene.retention = LEAN | {"daily_days": 90}
    old, newest = scene.backup(8), scene.backup(1)
    copy.copy(old, newest)
    copy.retention = LEAN | {"daily_days": 7}

    report = copy.rotate()

    assert (copy.status(old), copy.status(newest)) == (CopyStatus.DELETED, CopyStatus.COMPLETED)
    assert copy.objects_of(old) == set()
    assert copy.is_whole(newest)
    assert scene.is_whole(old)
    assert scene.status(old) is Status.COMPLETED
    assert report.copy_name == "off"
    (event,) = scene.catalog.audit.events(target="shop")
    assert (event.action, event.subject) == ("copy.deleted", old.id)
    assert event.detail is not None
    assert event.detail.startswith("in the copy off: daily, 7 days were over")


def test_without_retention_of_its_own_the_targets_counts(scene: Scene, copy: CopyScene) -> None:
    scene.retention = LEAN
    old, newest = scene.backup(8), scene.backup(1)
    copy.copy(old, newest)

    copy.rotate()

    assert copy.status(old) is CopyStatus.DELETED


def test_a_dry_run_says_the_same_and_changes_nothing(scene: Scene, copy: CopyScene) -> None:
    scene.retention = LEAN
    old, newest = scene.backup(8), scene.backup(1)
    copy.copy(old, newest)

    report = copy.rotate(dry_run=True)

    assert [one.backup_id for one in report.decisions if one.action is Action.DELETE] == [old.id]
    assert report.sweep is not None
    assert (report.sweep.records_removed.objects, report.sweep.packs_removed.objects) == (2, 1)
    assert copy.status(old) is CopyStatus.COMPLETED
    assert copy.is_whole(old)
    assert list(scene.catalog.audit.events(target="shop")) == []


@pytest.mark.parametrize("lost", ["bytes", "records"])
def test_what_the_vault_lost_or_deleted_stays_in_the_copy(scene: Scene, copy: CopyScene, lost: str) -> None:
    backups = [scene.backup(days) for days in (6, 5, 4, 3, 2, 1)]
    copy.copy(*backups)
    before = copy.objects()
    if lost == "bytes":
        shutil.rmtree(scene.root)
        scene.root.mkdir()
    else:
        for backup in backups:
            scene.catalog.keeping.delete(backup, "stolen keys", scene.now)
        scene.rotate()

    report = copy.rotate()

    assert copy.objects() == before
    assert {one.action for one in report.decisions} == {Action.KEEP}
    assert report.all_problems == ()


def test_nothing_goes_before_a_newer_copy_was_verified_there(scene: Scene, copy: CopyScene) -> None:
    scene.retention = LEAN
    old, newest = scene.backup(8), scene.backup(1)
    copy.copy(old)
    copy.copy(newest, verified_at=None)

    assert {one.action for one in copy.rotate().decisions} == {Action.KEEP}


def test_nothing_goes_before_a_newer_backup_was_proven_to_be_good(scene: Scene, copy: CopyScene) -> None:
    scene.retention = LEAN
    old, newest = scene.backup(8), scene.backup(1, verified=False)
    copy.copy(old, newest)

    assert {one.action for one in copy.rotate().decisions} == {Action.KEEP}


def test_damage_in_the_vault_says_nothing_about_the_copy(scene: Scene, copy: CopyScene) -> None:
    scene.retention = LEAN
    old, newest = scene.backup(8), scene.backup(1)
    copy.copy(old, newest)
    scene.catalog.keeping.mark_damaged(old.id, "A pack is gone.", scene.now)

    (_, about_old) = copy.rotate().decisions

    # It is no worse than any other: it goes because of its age, by a newer one that is proven.
    assert "newer and verified" in about_old.reason
    # And a copy that is damaged takes no good one's place.
    copy.copy(newest, damaged="A pack is missing.")
    copy.copy(old)
    assert {one.action for one in copy.rotate().decisions} == {Action.KEEP}


@pytest.mark.parametrize("how", ["pin", "hold", "minimum", "restore", "restore from it"])
def test_pins_holds_the_newest_and_running_restores_keep_a_copy(scene: Scene, copy: CopyScene, how: str) -> None:
    scene.retention = LEAN | {"minimum_kept": 2 if how == "minimum" else 1}
    old, newest = scene.backup(8), scene.backup(1)
    if how == "pin":
        scene.catalog.keeping.pin(old.id, scene.now)
    elif how == "hold":
        scene.catalog.protection.hold(old.id, "a court", scene.now)
    elif how.startswith("restore"):
        scene.catalog.create_restore(restoring(scene, old, source="off" if how == "restore from it" else None))
    copy.copy(old, newest)

    copy.rotate()

    assert copy.status(old) is CopyStatus.COMPLETED
    assert copy.is_whole(old)


def restoring(scene: Scene, backup: Backup, source: str | None) -> Restore:
    times = {"created_at": scene.now, "heartbeat_at": scene.now}
    fields = {"id": backup.id, "backup_id": backup.id, "target": "shop", "destination": "d", "status": "IN_PROGRESS"}
    return Restore.model_validate({**fields, **times, "source": source})


@pytest.mark.parametrize("source", ["vault", "off"])
def test_a_restore_that_reads_one_place_alone_holds_back_no_other(scene: Scene, copy: CopyScene, source: str) -> None:
    scene.retention = LEAN
    old, newest = scene.backup(8), scene.backup(1)
    copy.copy(old, newest)
    scene.catalog.create_restore(restoring(scene, old, source))

    copy.rotate()
    scene.rotate()

    is_copy = source == "off"
    assert copy.status(old) is (CopyStatus.COMPLETED if is_copy else CopyStatus.DELETED)
    assert scene.status(old) is (Status.DELETED if is_copy else Status.COMPLETED)
    assert (copy.is_whole(old), scene.is_whole(old)) == (is_copy, not is_copy)


def test_packs_that_a_living_copy_needs_stay_and_others_wait_a_day(scene: Scene, copy: CopyScene) -> None:
    scene.retention = LEAN
    old = scene.backup(8)
    newest = scene.backup(1, shares=old)
    alone = scene.backup(9)
    copy.copy(old, newest)
    copy.copy(alone, age_days=0.5)

    report = copy.rotate()

    assert copy.status(old) is copy.status(alone) is CopyStatus.DELETED
    assert copy.is_whole(newest)
    assert report.sweep is not None
    assert report.sweep.waits == ("packs that arrived in the copy less than 24 hours ago",)
    scene.now += timedelta(days=1)
    copy.rotate()
    assert copy.objects_of(alone) == set()
    assert copy.is_whole(newest)


def test_no_pack_goes_while_a_copier_is_at_work(scene: Scene, copy: CopyScene) -> None:
    scene.retention = LEAN
    old, newest = scene.backup(8), scene.backup(1)
    copy.copy(old, newest)
    coming = scene.backup(0.1)
    copy.record(coming, CopyStatus.IN_PROGRESS, completed_at=None)

    copy.rotate()

    assert copy.status(old) is CopyStatus.DELETED
    assert any("/packs/" in key for key in copy.objects_of(old))
    # A copier that has been silent for a day is dead.
    scene.now += timedelta(days=1, hours=1)
    copy.rotate()
    assert copy.objects_of(old) == set()


def test_a_manifest_that_is_gone_from_the_copy_stops_its_sweep(scene: Scene, copy: CopyScene) -> None:
    scene.retention = LEAN
    old, newest = scene.backup(8), scene.backup(1)
    copy.copy(old, newest)
    copy.store.delete(f"v1/backups/shop/{newest.id}/manifest.json")

    report = copy.rotate()

    (problem,) = report.all_problems
    assert problem.code == "MANIFEST_MISSING"
    assert f"coffre copy {newest.id} --to off" in problem.text
    assert any("/packs/" in key for key in copy.objects_of(old))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"copied_by": "replication"}, "your own replication"),
        ({"deleted_by": "receiver"}, "the receiving account"),
    ],
)
def test_where_others_delete_nothing_is_done(scene: Scene, copy: CopyScene, fields: dict[str, str], why: str) -> None:
    old, newest = scene.backup(800), scene.backup(1)
    copy.copy(old, newest)
    copy.more = fields

    report = copy.rotate()

    assert report.skipped is not None
    assert why in report.skipped
    assert copy.is_whole(old)


def test_a_target_that_is_not_configured_any_more_keeps_its_copies(scene: Scene, copy: CopyScene) -> None:
    old, newest = scene.backup(800, target="gone"), scene.backup(1, target="gone")
    copy.copy(old, newest)

    report = copy.rotate()

    assert report.not_configured == ("gone",)
    assert copy.is_whole(old)


# --- what is damaged ---


def test_a_damaged_pack_makes_way_and_the_backup_is_copied_again(scene: Scene, copy: CopyScene) -> None:
    first = scene.backup(2)
    second = scene.backup(1, shares=first)
    pack = scene.packs_of(first)[0].key
    for backup in (first, second):
        copy.copy(backup, damaged="A pack is not the one that was stored.", damaged_packs=(pack,))

    report = copy.rotate()

    assert report.to_copy_again == (second.id, first.id)
    assert pack not in copy.objects()
    for backup in (first, second):
        assert copy.status(backup) is CopyStatus.FAILED
        assert f"v1/backups/shop/{backup.id}/manifest.json" in copy.objects()
    assert {pack.key for pack in scene.packs_of(second)} - {pack} <= copy.objects()
    assert {event.action for event in scene.catalog.audit.events(target="shop")} == {"copy.made_way"}


def test_a_swapped_manifest_makes_way(scene: Scene, copy: CopyScene) -> None:
    backup = scene.backup(1)
    copy.copy(backup, damaged="The manifest is not the one that was recorded.")
    manifest = copy.root / "v1" / "backups" / "shop" / backup.id / "manifest.json"
    manifest.write_bytes(b"{}")

    copy.rotate()

    assert not manifest.exists()
    assert {pack.key for pack in scene.packs_of(backup)} <= copy.objects()


@pytest.mark.parametrize("lost", ["pack", "manifest"])
def test_without_the_vault_damaged_bytes_stay(scene: Scene, copy: CopyScene, lost: str) -> None:
    backup = scene.backup(1)
    pack = scene.packs_of(backup)[0].key
    copy.copy(backup, damaged="A pack is not the one that was stored.", damaged_packs=(pack,))
    scene.store.delete(pack if lost == "pack" else backup.manifest_key or "")

    report = copy.rotate()

    assert pack in copy.objects()
    assert copy.status(backup) is CopyStatus.COMPLETED
    assert [problem.code for problem in report.problems] == [f"{lost.upper()}_MISSING"]


@pytest.mark.parametrize("when", ["before it made way", "after it made way"])
def test_what_is_left_of_a_damaged_copy_counts_when_the_vault_has_the_backup_no_more(
    scene: Scene, copy: CopyScene, when: str
) -> None:
    """Both rotations run in the same night. Nothing sends it again, and its retention still ends."""
    copy.retention = LEAN | {"daily_days": 30}
    backup, newest = scene.backup(8), scene.backup(1)
    pack = scene.packs_of(backup)[0].key
    copy.copy(newest)
    copy.copy(backup, damaged="A pack is not the one that was stored.", damaged_packs=(pack,))
    if when.startswith("after"):
        copy.rotate()
        assert copy.status(backup) is CopyStatus.FAILED
    scene.catalog.keeping.delete(scene.catalog.get_backup(backup.id), "retention", scene.now)

    copy.rotate()
    assert copy.status(backup) is CopyStatus.COMPLETED
    assert (pack in copy.objects()) is when.startswith("before")

    scene.now += timedelta(days=30)
    copy.rotate()
    assert copy.status(backup) is CopyStatus.DELETED
    assert copy.objects_of(backup) == set()


def test_what_is_known_to_be_damaged_in_the_vault_too_stays(scene: Scene, copy: CopyScene) -> None:
    backup = scene.backup(1)
    pack = scene.packs_of(backup)[0].key
    copy.copy(backup, damaged="A pack is not the one that was stored.", damaged_packs=(pack,))
    found = [Damage(code="PACK_SWAPPED", text="It differs.", pack=pack)]
    write_damage(scene.vault, DamageReport.on(backup.id, "shop", Level.READ, scene.now, found))

    report = copy.rotate()

    assert pack in copy.objects()
    assert copy.status(backup) is CopyStatus.COMPLETED
    assert [problem.code for problem in report.problems] == ["PACK_DAMAGED"]


# --- locks ---


class CountingLocks:
    """Counts the locks that are asked of a store."""

    def __init__(self, store: Store) -> None:
        self.calls = 0
        extend = store.extend_lock  # type: ignore[attr-defined]

        def counted(key: str, lock: object) -> None:
            self.calls += 1
            extend(key, lock)

        store.extend_lock = counted  # type: ignore[attr-defined]


def test_locks_follow_the_copys_tiers_and_grow_only(scene: Scene, copy: CopyScene) -> None:
    copy.locked, copy.retention = True, {"daily_days": 10, "monthly_days": 300}
    monthly = scene.backup(3, Tier.MONTHLY, own=3)
    daily = scene.backup(1, Tier.DAILY, shares=monthly)
    copy.copy(monthly, daily)
    asked = CountingLocks(copy.store)

    copy.rotate()

    record = scene.catalog.copies.find("off", monthly.id)
    assert record is not None
    assert record.locked_until is not None
    assert record.locked_until >= monthly.created_at + timedelta(days=300)
    for pack in scene.packs_of(daily):
        state = copy.store.lock_of(pack.key)
        assert state.lock is not None
        assert state.lock.mode is LockMode.GOVERNANCE
    # Each object once: the packs that the daily backup shares are locked for longer already.
    assert asked.calls == (3 + 2) + (1 + 2)
    copy.rotate()
    assert asked.calls == 8
    # A new daily copy of another day extends its own objects, and none of the month's.
    scene.now += timedelta(days=1)
    new = scene.backup(0, Tier.DAILY, shares=monthly)
    copy.copy(new, age_days=0)
    copy.rotate()
    assert asked.calls == 8 + 3


def test_locks_of_a_large_copy_are_extended_over_several_rotations(
    scene: Scene, copy: CopyScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extend_locks, "_BATCH", 2)
    copy.locked, copy.retention = True, {"daily_days": 10}
    backup = scene.backup(1, Tier.DAILY, own=6)  # 8 objects
    copy.copy(backup)
    asked = CountingLocks(copy.store)

    def rotate(requests: int) -> int:
        before = asked.calls
        scene.remaining_seconds = lambda: 900.0 if asked.calls < before + requests else 200.0
        copy.rotate()
        return asked.calls - before

    def record() -> Copy:
        found = scene.catalog.copies.find("off", backup.id)
        assert found is not None
        return found

    assert rotate(4) == 4
    progress = record().lock_progress
    assert progress is not None
    assert (progress.done, progress.refused, record().locked_until) == (4, (), None)
    assert rotate(100) == 4
    assert record().lock_progress is None
    assert record().locked_until == progress.until


def test_a_hold_keeps_the_locks_of_a_copy_from_ending(scene: Scene, copy: CopyScene) -> None:
    copy.locked, copy.retention = True, LEAN | {"daily_days": 10}
    held, newest = scene.backup(12), scene.backup(1)
    copy.copy(held, newest)
    scene.catalog.protection.hold(held.id, "case 4711", scene.now)

    for _ in range(3):
        copy.rotate()
        state = copy.store.lock_of(scene.packs_of(held)[0].key)
        assert state.lock is not None
        assert state.lock.until >= scene.now + timedelta(days=15)
        scene.now += timedelta(days=14)


def test_a_locked_copy_stays_until_its_lock_ends(scene: Scene, copy: CopyScene) -> None:
    copy.locked, copy.retention = True, LEAN | {"daily_days": 10}
    old, newest = scene.backup(1), scene.backup(0.5)
    copy.copy(old, newest)
    copy.rotate()
    copy.retention = LEAN | {"daily_days": 1}
    scene.now += timedelta(days=3)
    last = scene.backup(0)
    copy.copy(last)

    (about_old,) = [one for one in copy.rotate().decisions if one.backup_id == old.id]

    assert about_old.action is Action.KEEP
    assert about_old.waits_until is not None
    assert about_old.reason.startswith("locked until ")
    scene.now = about_old.waits_until + timedelta(days=1, hours=1)
    newer = scene.backup(0)
    copy.copy(newer)
    copy.rotate()
    assert copy.status(old) is CopyStatus.DELETED


def test_a_restore_that_names_a_copy_gets_the_backup_as_it_is_there(scene: Scene, copy: CopyScene) -> None:
    scene.retention = LEAN
    old, newest = scene.backup(8), scene.backup(1)
    copy.copy(old, newest)
    scene.rotate()
    kept = as_read(scene.catalog, scene.catalog.get_backup(old.id), "off")
    assert (kept.status, kept.manifest_sha256) == (Status.COMPLETED, old.manifest_sha256)
    assert as_read(scene.catalog, scene.catalog.get_backup(old.id), None).status is Status.DELETED

    copy.rotate()
    newer = scene.catalog.get_backup(newest.id)
    copy.copy(newest, damaged="A pack is missing.")

    assert as_read(scene.catalog, scene.catalog.get_backup(old.id), "off").status is Status.DELETED
    assert as_read(scene.catalog, newer, "off").damage == "A pack is missing."
    assert as_read(scene.catalog, newer, "vault").damage is None
    assert as_read(scene.catalog, newer, "other") == newer
