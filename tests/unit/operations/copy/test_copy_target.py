"""The backups of a target into a destination: records, one copier at a time, what is passed over and what ends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.faulty_store import Fault, FaultyStore
from tests.locking_store import LockingDirectory
from tests.unit.operations.conftest import Scene

from coffre.model.backup import Backup, Status, Tier
from coffre.model.copies import Copy, CopyStatus, Destination
from coffre.model.errors import BackupStateError, IntegrityError, LockLostError, StoreError
from coffre.model.kinds import TargetKind
from coffre.model.locks import LockMode
from coffre.model.points import PointPart, PointRecord
from coffre.operations.copy.copy_target import Copied, TargetCopyJob, copy_target
from coffre.vault.locks import VaultLocks
from coffre.vault.points import Reference, read_references, read_seal, write_references, write_seal
from coffre.vault.vault import Vault

OFFSITE = Destination.model_validate({"name": "offsite", "store": {"type": "directory", "path": "/mnt/nas"}})
RUN = "01K9X0000000000000000000R1"


@dataclass
class Place:
    """A destination, and the copiers that work for it."""

    scene: Scene
    store: FaultyStore = field(default_factory=FaultyStore)

    def job(self, run_id: str = RUN, is_time_over: Callable[[], bool] = lambda: False) -> TargetCopyJob:
        return TargetCopyJob(
            run_id=run_id,
            catalog=self.scene.catalog,
            source=self.scene.vault,
            destination=OFFSITE,
            target="shop",
            open_at=lambda _: Vault(self.store),
            now=lambda: self.scene.now,
            is_time_over=is_time_over,
            requests=lambda: sum(self.store.requests.values()),
        )

    def copies(self) -> dict[str, CopyStatus]:
        return {one.backup_id: one.status for one in self.scene.catalog.copies.of("offsite")}

    def record(self, backup: Backup) -> Copy:
        found = self.scene.catalog.copies.find("offsite", backup.id)
        assert found is not None
        return found


@pytest.fixture
def place(scene: Scene) -> Place:
    return Place(scene)


def test_what_is_due_is_copied_and_recorded(place: Place) -> None:
    old, new = place.scene.backup(2), place.scene.backup(1)

    copied = copy_target(place.job())

    assert copied == Copied("offsite", "shop", (new.id,), packs=1, bytes=100)
    assert place.copies() == {new.id: CopyStatus.COMPLETED}
    record = place.record(new)
    assert (record.packs, record.bytes, record.completed_at) == (1, 100, place.scene.now)
    assert record.requests == sum(place.store.requests.values())
    assert record.manifest_sha256 == new.manifest_sha256
    assert old.id not in place.copies()


def test_what_is_said_about_copied_backups_later_follows_them(place: Place) -> None:
    backup = place.scene.backup(1)
    copy_target(place.job())
    place.scene.vault.mark_pin("shop", backup.id, place.scene.now)

    copied = copy_target(replace(place.job(), records_at=Vault(place.store)))

    assert copied.backups == ()
    assert Vault(place.store).read_marks("shop", backup.id).pinned_at == place.scene.now


def test_named_backups_are_copied_whatever_is_due(place: Place) -> None:
    old, new = place.scene.backup(2), place.scene.backup(1)

    assert copy_target(place.job(), [old, new]).backups == (old.id, new.id)
    assert set(place.copies().values()) == {CopyStatus.COMPLETED}


def test_a_backup_that_ended_meanwhile_is_copied_too(place: Place) -> None:
    first = place.scene.backup(1)
    later: list[Backup] = []

    def once() -> None:
        if not later:
            later.append(place.scene.backup(0.5))

    place.store.after = once
    assert copy_target(place.job()).backups == (first.id, later[0].id)


@pytest.mark.parametrize("wrong", ["failed", "safety"])
def test_only_good_backups_can_be_named(place: Place, wrong: str) -> None:
    backup = place.scene.failed(1) if wrong == "failed" else place.scene.backup(1, Tier.SAFETY)

    with pytest.raises(BackupStateError, match="BACKUP_NOT_COMPLETED"):
        copy_target(place.job(), [backup])
    assert place.store.objects == {}
    assert place.copies() == {}


def test_a_second_copier_of_the_same_target_leaves_it_to_the_first(place: Place) -> None:
    place.scene.backup(1)
    job = place.job()
    place.scene.catalog.locks.acquire(job.lock, "another", place.scene.now, stale_after=timedelta(minutes=16))

    assert copy_target(job) == Copied("offsite", "shop", busy=True)
    assert place.store.objects == {}

    place.scene.now += timedelta(minutes=17)
    assert len(copy_target(job).backups) == 1
    assert copy_target(place.job("01K9X0000000000000000000R2")) == Copied("offsite", "shop")


def test_locks_are_asked_for_only_where_none_is_known_to_be_long_enough(place: Place, tmp_path: Path) -> None:
    scene, root = place.scene, tmp_path / "elsewhere"
    root.mkdir()
    store = LockingDirectory(root, now=lambda: place.scene.now)
    monthly = scene.backup(3, Tier.MONTHLY, own=3)
    days = {monthly.id: 300}

    def opened(backup: Backup) -> Vault:
        vault = Vault(store, VaultLocks(store, LockMode.GOVERNANCE, 400))
        return vault.locking_new_until(scene.now + timedelta(days=days.get(backup.id, 10)))

    def asked(backup: Backup) -> int:
        before = store.requests["extend_lock"]
        copy_target(replace(place.job(), open_at=opened), [backup])
        return store.requests["extend_lock"] - before

    assert asked(monthly) == 0  # stored with their locks
    daily = scene.backup(1, Tier.DAILY, own=2, shares=monthly)
    assert asked(daily) == 0
    longer = scene.backup(0.5, Tier.WEEKLY, shares=daily)
    days[longer.id] = 350
    packs = scene.packs_of(longer)
    assert asked(longer) == len(packs) - 1
    for pack in packs:
        lock = store.lock_of(pack.key).lock
        assert lock is not None
        assert lock.until >= scene.now + timedelta(days=350)
    # The record of a damaged copy is not believed.
    scene.catalog.copies.keep(place.record(longer).model_copy(update={"damaged": "A pack is lost."}))
    last = scene.backup(0, Tier.DAILY, shares=longer)
    days[last.id] = 320
    assert asked(last) == len(packs)


def test_a_copier_that_lost_its_lock_stops(place: Place) -> None:
    place.scene.backup(1, own=40)  # more than are under way together: some are begun after the lock is lost
    job = place.job()
    ahead = [0]

    def after() -> None:
        ahead[0] += 1
        if ahead[0] == 1:
            later = place.scene.now + timedelta(minutes=30)
            locks = place.scene.catalog.locks
            locks.acquire(job.lock, "another", later, stale_after=timedelta(minutes=16))
            place.scene.now = later  # only now, so that no other thread has renewed the lock before

    place.store.after = after
    place.store.decide = lambda _call, _key: Fault.NONE
    with pytest.raises(LockLostError):
        copy_target(job)
    assert not any("manifest" in key for key in place.store.objects)


def test_an_error_is_recorded_and_the_next_run_copies(place: Place) -> None:
    backup = place.scene.backup(1)
    place.store.decide = lambda call, _: Fault.REFUSED if call == "put" else Fault.NONE

    with pytest.raises(StoreError, match="STORE_DENIED"):
        copy_target(place.job())
    record = place.record(backup)
    assert (record.status, record.error) == (CopyStatus.FAILED, "Access denied. [STORE_DENIED]")

    place.store.decide = lambda _call, _key: Fault.NONE
    copy_target(place.job())
    assert (place.record(backup).status, place.record(backup).error) == (CopyStatus.COMPLETED, None)


def test_a_backup_that_was_deleted_meanwhile_is_passed_over(place: Place) -> None:
    first, second = place.scene.backup(2), place.scene.backup(1)
    copy_target(place.job(), [first])
    place.scene.store.delete(second.manifest_key or "")

    def answer(backup_id: str) -> Backup:
        found = type(place.scene.catalog).get_backup(place.scene.catalog, backup_id)
        return found.model_copy(update={"status": Status.DELETED})

    place.scene.catalog.get_backup = answer  # type: ignore[method-assign]
    assert copy_target(place.job()) == Copied("offsite", "shop")
    assert place.copies()[second.id] is CopyStatus.FAILED


def test_a_copy_without_time_left_is_in_progress_and_counts_all_of_its_runs(place: Place) -> None:
    backup = place.scene.backup(1, own=4)
    left = [2]

    def is_time_over() -> bool:
        left[0] -= 1
        return left[0] < 0

    copied = copy_target(place.job(is_time_over=is_time_over))
    assert (copied.backups, copied.packs, copied.unfinished) == ((), 2, backup.id)
    assert place.copies() == {backup.id: CopyStatus.IN_PROGRESS}

    assert copy_target(place.job()).backups == (backup.id,)
    assert (place.record(backup).packs, place.record(backup).bytes) == (4, 400)


def test_a_whole_copy_that_is_copied_again_stays_whole_whatever_fails(place: Place) -> None:
    backup = place.scene.backup(1)
    copy_target(place.job())
    place.store.decide = lambda _call, _key: Fault.REFUSED

    with pytest.raises(StoreError):
        copy_target(place.job(), [backup])
    assert place.record(backup).status is CopyStatus.COMPLETED


def test_a_copy_that_made_way_stays_damaged_until_it_is_sent_again(place: Place) -> None:
    backup = place.scene.backup(1)
    copy_target(place.job())
    known = {"status": CopyStatus.FAILED, "damaged": "A pack differs.", "damaged_packs": ("p",)}
    place.scene.catalog.copies.keep(place.record(backup).model_copy(update=known))
    place.store.decide = lambda _call, _key: Fault.REFUSED

    with pytest.raises(StoreError):
        copy_target(place.job())
    assert (place.record(backup).status, place.record(backup).damaged) == (CopyStatus.FAILED, "A pack differs.")

    place.store.decide = lambda _call, _key: Fault.NONE
    copy_target(place.job())
    assert (place.record(backup).status, place.record(backup).damaged) == (CopyStatus.COMPLETED, None)
    assert place.record(backup).damaged_packs == ()


def test_a_restore_point_follows_the_last_of_its_parts(place: Place) -> None:
    scene = place.scene
    database, files = scene.backup(1), scene.backup(1, target="blog")
    lists = write_references(scene.vault.store, "shop", RUN, [Reference("photos/cat.jpg")])
    parts = (
        PointPart(target="shop", kind=TargetKind.DATABASE, backup_id=database.id),
        PointPart(target="blog", kind=TargetKind.BUCKET, backup_id=files.id),
    )
    point = PointRecord(id=RUN, name="shop", taken_at=scene.now, parts=parts, lists=lists, sealed_at=scene.now)
    write_seal(scene.vault.store, point)
    scene.catalog.points.keep(point)

    copy_target(place.job())
    assert not [key for key in place.store.objects if key.startswith("v1/points/")]
    copy_target(replace(place.job(), target="blog"))

    assert read_seal(place.store, "shop", RUN) == point
    assert [one.name for one in read_references(place.store, lists)] == ["photos/cat.jpg"]
    # The next run finds it there
    before = dict(place.store.objects)
    copy_target(place.job())
    assert place.store.objects == before


def test_what_was_found_damaged_stays_so_until_a_look_finds_it_mended(place: Place) -> None:
    backup = place.scene.backup(1)
    copy_target(place.job())
    damaged = {"damaged": "A pack is not the one that was stored.", "damaged_packs": ("v1/packs/x",)}
    place.scene.catalog.copies.keep(place.record(backup).model_copy(update=damaged))

    copy_target(place.job(), [backup])

    assert place.record(backup).damaged_packs == ("v1/packs/x",)
    # After a rotation has made way for it, every object is sent or compared.
    failed = place.record(backup).model_copy(update={"status": CopyStatus.FAILED, "completed_at": None})
    place.scene.catalog.copies.keep(failed)
    copy_target(place.job())
    assert (place.record(backup).status, place.record(backup).damaged) == (CopyStatus.COMPLETED, None)


def test_a_damaged_backup_costs_itself_alone(place: Place) -> None:
    """The newest and an older one are copied; the one in the middle is named, and does not look complete."""
    old, damaged, new = (place.scene.backup(age) for age in (3, 2, 1))
    pack = place.scene.packs_of(damaged)[0].key
    place.scene.store.delete(pack)
    place.scene.put(pack, b"?" * 100)

    whole: list[str] = []

    with pytest.raises(IntegrityError, match="PACK_DAMAGED"):
        copy_target(replace(place.job(), on_copied=lambda backup: whole.append(backup.id)), [new, damaged, old])

    assert whole == [new.id, old.id]
    assert place.copies() == {
        new.id: CopyStatus.COMPLETED,
        damaged.id: CopyStatus.FAILED,
        old.id: CopyStatus.COMPLETED,
    }
    assert not any(damaged.id in key and "manifest" in key for key in place.store.objects)
