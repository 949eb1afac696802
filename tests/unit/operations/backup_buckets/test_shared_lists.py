"""Lists of entries that backups share: kept, locked, copied and verified as packs, from a bucket to a restore."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Never

import pytest
from tests.faulty_store import FaultyStore
from tests.integration import capture_scene
from tests.locking_store import LockingDirectory
from tests.memory_store import MemoryStore
from tests.unit.operations.conftest import Scene

from coffre.model.audit import Actor
from coffre.model.backup import Backup, Status, Tier
from coffre.model.errors import IntegrityError, StoreError
from coffre.model.kinds import TargetKind
from coffre.model.locks import LockMode
from coffre.model.manifest import Manifest
from coffre.model.verification import Share, VerificationReport
from coffre.operations.backup_buckets import stored_before
from coffre.operations.backup_buckets.job import BucketBackupJob
from coffre.operations.copy.copy_backup import CopyJob, copy_backup
from coffre.operations.copy.mend import MendJob, mend
from coffre.operations.rotate.hold import HoldJob, hold, release
from coffre.operations.stored_backup.read_copies import reading
from coffre.operations.verify.inventory import inventory
from coffre.operations.verify.job import VerifyJob
from coffre.operations.verify.read_back import read_backup, read_target
from coffre.stores.with_copies import Place
from coffre.vault import entry_files
from coffre.vault.bucket_progress import BucketProgress
from coffre.vault.codec import FrameDecoder
from coffre.vault.entry_files import Cut
from coffre.vault.layout import writer_of
from coffre.vault.locks import VaultLocks
from coffre.vault.readback import ReadEntry, read_back
from coffre.vault.vault import Vault

ADA = Actor("ada", verified=True)


@dataclass
class Bucket(capture_scene.Scene):
    """A bucket whose backups are in a deployment's catalog and vault; each is `age_days` old."""

    scene: Scene | None = None
    age_days: float = 0.0

    @property
    def deployment(self) -> Scene:
        assert self.scene is not None
        return self.scene

    @property
    def vault(self) -> Vault:
        return self.deployment.vault

    def job(self, begun: BucketProgress | None = None) -> BucketBackupJob:
        return replace(super().job(begun), now=lambda: self.deployment.now)

    def begin(self) -> Backup:
        return self.deployment.begin(self.age_days, Tier.DAILY, target="files", kind=TargetKind.BUCKET)

    def take(self, age_days: float) -> tuple[Backup, Manifest]:
        """Take a backup, in as many invocations as it wants, that counts as verified."""
        self.age_days = age_days
        manifest = self.backup_in_many()
        assert self.last is not None
        done = self.deployment.catalog.complete_backup(self.last)
        return self.deployment.catalog.keeping.mark_verified(done.id, self.deployment.now), manifest

    def verify_job(self) -> VerifyJob:
        scene = self.deployment
        decoder = FrameDecoder([capture_scene.IDENTITY])
        return VerifyJob("J", scene.catalog, scene.vault, decoder, scene.scratch, lambda: scene.now, lambda: 900.0)

    def spoil(self, key: str) -> None:
        file = self.deployment.root / key
        file.write_bytes(file.read_bytes()[::-1])


@pytest.fixture
def bucket(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setattr(entry_files, "Cut", partial(Cut, least=4, one_in=4))
    store = MemoryStore()
    for number in range(60):
        store.put("photos", f"{number:04}", b"%d" % number)
    scene.targets = ("files",)
    root = tmp_path / "bucket"
    root.mkdir()
    return Bucket(root, store, scene=scene)


def lists(manifest: Manifest) -> dict[str, str]:
    """The lists of entries, which are all packs of the manifest, locked like the others and wholly in use."""
    packs = {pack.key: pack for pack in manifest.packs}
    for file in manifest.entries:
        pack = packs[file.key]
        assert (pack.sha256, pack.length, pack.live_bytes) == (file.sha256, file.length, file.length)
        assert pack.locked_until == manifest.locked_until
    assert len({writer_of(file.key) for file in manifest.entries} - {None}) >= 1
    return {file.key: file.first for file in manifest.entries}


def damaged(report: VerificationReport) -> set[str]:
    return {one.backup_id for one in report.damaged}


def test_what_did_not_change_is_pointed_at_kept_and_copied_once(bucket: Bucket, scene: Scene) -> None:
    store, there = bucket.store, FaultyStore()
    assert isinstance(store, MemoryStore)
    first, of_first = bucket.take(30)
    before = scene.objects()
    second, of_second = bucket.take(29)

    # An unchanged day is a manifest, in the vault and in a copy.
    assert len(lists(of_first)) > 4
    assert of_second.entries == of_first.entries
    assert scene.objects() - before == {second.manifest_key}
    assert of_second.stored_bytes == 0
    copy_backup(CopyJob(bucket.vault, Vault(there), first, "there"))
    sent = set(there.objects)
    copy_backup(CopyJob(bucket.vault, Vault(there), second, "there"))
    assert set(there.objects) - sent == {second.manifest_key}

    # A changed object changes its own list.
    store.put("photos", "0030", b"changed")
    third, of_third = bucket.take(1)
    new = lists(of_third).keys() - lists(of_second).keys()
    assert len(new) == 1
    assert {writer_of(key) for key in new} == {third.id}
    own = [pack for pack in of_third.packs if writer_of(pack.key) == third.id]
    assert of_third.stored_bytes == sum(pack.length for pack in own)
    assert bucket.bodies(of_third) == store.bodies()
    copy_backup(CopyJob(bucket.vault, Vault(there), third, "there"))
    for manifest in (of_first, of_second, of_third):  # read from the copy alone
        assert sum(1 for _ in Vault(there).entries(manifest)) == 60

    # Whoever wrote it: a shared list stays as long as a backup needs it, and no longer.
    gone = lists(of_first).keys() - lists(of_third).keys()
    bucket.take(0.5)  # the newest two stay in any case
    scene.rotate()
    assert {scene.status(one) for one in (first, second)} == {Status.DELETED}
    assert scene.is_whole(third)
    assert gone
    assert not gone & scene.objects()
    assert bucket.bodies(of_third) == store.bodies()
    report = inventory(bucket.verify_job(), Share(parts=1, day=0))
    assert (report.status, report.packs.objects, report.backups) == (200, len(of_third.packs), 2)


@pytest.mark.parametrize("how", ["missing", "other bytes", "other bytes, found by reading"])
def test_a_damaged_list_damages_every_backup_that_names_it_and_is_written_again(
    bucket: Bucket, scene: Scene, how: str
) -> None:
    store = bucket.store
    assert isinstance(store, MemoryStore)
    first, of_first = bucket.take(3)
    second, _ = bucket.take(2)
    store.put("photos", "0030", b"changed")
    third, of_third = bucket.take(1)
    [bad] = lists(of_first).keys() - lists(of_third).keys()
    shared = next(key for key in lists(of_third) if key in lists(of_first))
    everything = Share(parts=1, day=0)
    there = FaultyStore()
    for backup in (first, second, third):
        copy_backup(CopyJob(bucket.vault, Vault(there), backup, "there"))

    if how == "missing":
        scene.store.delete(bad)
    else:
        bucket.spoil(bad)
    if how == "other bytes, found by reading":
        found = read_target(bucket.verify_job(), "files", everything)
    else:
        found = inventory(bucket.verify_job(), everything)

    # A directory keeps no checksums: other bytes of the same length are found by reading.
    assert damaged(found) == (set() if how == "other bytes" else {first.id, second.id})
    assert scene.catalog.get_backup(third.id).damaged_at is None

    # The next backup points at nothing damaged, whether that is known or not.
    if how == "missing":
        scene.store.delete(shared)
    else:
        bucket.spoil(shared)
    _, of_fourth = bucket.take(0.5)
    assert shared not in lists(of_fourth)
    assert bucket.bodies(of_fourth) == store.bodies()
    again = read_target(bucket.verify_job(), "files", everything)
    assert damaged(again) == {first.id, second.id, third.id}

    # A copy puts both back, for all of them; each counts again when it was read.
    whole = reading(bucket.vault, [Place("there", lambda: there)], None, lambda *_: None)
    now = scene.catalog.get_backup(first.id)
    done = mend(MendJob(scene.catalog, bucket.vault, whole, now, lambda: scene.now))
    assert (set(done.keys), done.lost) == ({bad, shared}, {})
    assert set(done.marked) == {first.id, second.id, third.id}
    for backup_id in done.marked:
        assert damaged(read_backup(bucket.verify_job(), backup_id)) == set()
        assert scene.catalog.get_backup(backup_id).is_healthy


@pytest.mark.parametrize(("of", "read"), [(Vault, "entries"), (stored_before, "manifest_of")])
def test_a_role_that_may_not_read_the_previous_backup_fails_and_stores_nothing_again(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, of: object, read: str
) -> None:
    bucket.take(3)
    monkeypatch.setattr(of, read, _denied)

    with pytest.raises(StoreError) as caught:
        bucket.take(2)

    assert caught.value.code == "STORE_DENIED"


def _denied(*_: object) -> Never:
    raise StoreError("Access to the list was denied.", code="STORE_DENIED", hint="Grant s3:GetObject.")


def test_a_damaged_list_hides_no_other_damage_of_its_backups(bucket: Bucket, scene: Scene) -> None:
    store = bucket.store
    assert isinstance(store, MemoryStore)
    first, of_first = bucket.take(4)
    taken = [(first, of_first)]
    for age_days, name in ((3, "0001"), (2, "0058"), (1, "0059")):  # the last two are in the last list
        store.put("photos", name, b"changed")
        taken.append(bucket.take(age_days))
    (second, _), (third, of_third), (fourth, _) = taken[1:]
    at = {entry.name: entry.frames[0].pack for entry in scene.vault.entries(of_third)}
    rotten, missing, behind = at["photos/0000"], at["photos/0001"], at["photos/0058"]
    listed = of_third.entries[-1].key
    assert len({rotten, missing, behind, listed}) == 4
    scene.store.delete(missing)
    for key in (rotten, behind, listed):
        bucket.spoil(key)

    report = read_target(bucket.verify_job(), "files", Share(parts=1, day=0))

    found = {one.backup_id: one for one in report.damaged}
    assert {backup_id: set(one.packs) for backup_id, one in found.items()} == {
        first.id: {rotten},
        second.id: {rotten, missing},
        third.id: {rotten, missing, behind, listed},
        fourth.id: {rotten, missing, behind},
    }
    # Which of its entries needs the frame is in the list that cannot be read.
    entries = {backup.id: [one.entry for one in found[backup.id].damages if one.pack == behind] for backup, _ in taken}
    assert entries == {first.id: [], second.id: [], third.id: [None], fourth.id: ["photos/0058"]}
    # What was being read when the list was reached is not lost.
    decoder, read = FrameDecoder([capture_scene.IDENTITY]), list[ReadEntry]()
    with pytest.raises(IntegrityError, match="list of entries"):
        read.extend(read_back(scene.vault, decoder, scene.vault.entries(of_third), lambda _: True))
    assert len(read) == 60 - of_third.entries[-1].count


def test_locks_and_holds_of_shared_lists_last_as_long_as_any_backup_needs(bucket: Bucket, scene: Scene) -> None:
    vault = LockingDirectory(scene.root, now=lambda: scene.now)
    scene.store, scene.locks = vault, VaultLocks(vault, LockMode.GOVERNANCE, 400)
    first, of_first = bucket.take(0)
    scene.now = scene.now.replace(day=scene.now.day + 3)
    second, of_second = bucket.take(0)

    assert of_second.entries == of_first.entries
    assert of_first.locked_until is not None
    assert of_second.locked_until is not None
    assert of_second.locked_until > of_first.locked_until
    for key in lists(of_second):
        state = vault.lock_of(key)
        assert state.lock is not None
        assert state.lock.until >= of_second.locked_until

    job = HoldJob("job", scene.catalog, scene.vault, ADA, lambda: scene.now, lambda: 900.0)
    report = hold(job, first.id, "case 1")
    assert report.objects == len(of_first.packs) + 1  # each once, and the manifest
    hold(job, second.id, "case 2")
    release(job, first.id)
    assert all(vault.lock_of(key).held for key in lists(of_second))
    release(job, second.id)
    assert not any(vault.lock_of(key).held for key in lists(of_second))
