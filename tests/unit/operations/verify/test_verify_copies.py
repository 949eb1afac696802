"""Inventory and reading of a copy: what is found there, what is recorded, and what heals."""

from __future__ import annotations

import os
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from tests.synthetic import Writer, made_up_rows
from tests.unit.operations.conftest import Scene
from tests.unit.operations.copy_scene import CopyScene

from coffre.model.backup import Backup
from coffre.model.copies import Copy, CopyStatus
from coffre.model.errors import BackupStateError
from coffre.model.manifest import Manifest
from coffre.model.verification import Level, Share, VerificationReport
from coffre.operations.verify.copies import inventory_of_copy, read_copy
from coffre.operations.verify.job import VerifyJob
from coffre.vault.codec import FrameDecoder, new_identity, public_key

EVERYTHING = Share(parts=1, day=0)
NOTHING = Share(parts=10**9, day=0)
SMALL = {"customers": made_up_rows(1, 40), "orders": made_up_rows(2, 60)}
KEY = public_key(new_identity())


class Checked:
    """A copy with real, encrypted backups; the private key exists nowhere."""

    def __init__(self, scene: Scene, copy: CopyScene) -> None:
        self.scene, self.copy = scene, copy
        self.remaining = 900.0

    def backup(self, age_days: float, previous: Backup | None = None, **tables: bytes) -> Backup:
        scene = self.scene
        writer = Writer(scene.catalog, scene.vault, scene.scratch, (KEY,))
        return writer.backup({**SMALL, **tables}, scene.now - timedelta(days=age_days), previous)

    def _job(self) -> VerifyJob:
        scene = self.scene
        return VerifyJob(
            "J",
            scene.catalog,
            self.copy.vault,
            FrameDecoder(),
            scene.scratch,
            lambda: scene.now,
            lambda: self.remaining,
        )

    def inventory(self, share: Share = EVERYTHING, **what: str) -> VerificationReport:
        return inventory_of_copy(self._job(), self.copy.destination, share, **what)

    def read(self, share: Share = EVERYTHING, **what: str) -> VerificationReport:
        return read_copy(self._job(), self.copy.destination, share, **what)

    def record(self, backup: Backup) -> Copy:
        found = self.scene.catalog.copies.find("off", backup.id)
        assert found is not None
        return found

    def manifest(self, backup: Backup) -> Manifest:
        found = self.scene.vault.find_manifest(backup.target, backup.id)
        assert found is not None
        return found[0]

    def pack(self, backup: Backup) -> str:
        return self.manifest(backup).packs[0].key

    def path(self, key: str) -> Path:
        return self.copy.root / key

    def spoil(self, key: str) -> bytes:
        """Change one byte in the copy, and neither length nor time."""
        before = self.path(key).read_bytes()
        self.path(key).write_bytes(bytes([before[0] ^ 1]) + before[1:])
        return before


@pytest.fixture
def checked(scene: Scene, tmp_path: Path) -> Checked:
    return Checked(scene, CopyScene.of(scene, tmp_path / "copy"))


def codes(report: VerificationReport) -> dict[str, list[str]]:
    return {one.backup_id: [damage.code for damage in one.damages] for one in report.damaged}


def test_one_bad_answer_of_a_copys_store_is_no_damage(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    backup = checked.backup(1)
    checked.copy.copy(backup)
    get, asked = checked.copy.store.get, Counter[str]()
    needed = {pack.key for pack in checked.manifest(backup).packs} | {checked.manifest(backup).entries[0].key}

    def first_wrong(key: str, **limits: int) -> bytes:
        asked[key] += 1
        body = get(key, **limits)
        return body[::-1] if key in needed and asked[key] == 1 else body

    monkeypatch.setattr(checked.copy.store, "get", first_wrong)
    report = checked.read()

    assert (report.status, codes(report)) == (200, {})
    assert {asked[key] for key in needed} == {2}


def test_a_complete_copy_is_recorded_as_verified(checked: Checked) -> None:
    first = checked.backup(2)
    second = checked.backup(1, first)
    checked.copy.copy(first, second, verified_at=None, level=None)

    report = checked.inventory()

    assert (report.status, report.copy_name, report.backups, report.damaged) == (200, "off", 2, ())
    packs = {pack.key: pack.length for one in (first, second) for pack in checked.manifest(one).packs}
    assert (report.packs.objects, report.packs.size_bytes) == (len(packs), sum(packs.values()))
    assert report.stored == report.packs
    for backup in (first, second):
        record = checked.record(backup)
        assert (record.verified_at, record.level, record.damaged) == (checked.scene.now, "inventory", None)


def test_what_takes_room_and_is_needed_by_nothing_counts_for_the_quota(checked: Checked) -> None:
    backup = checked.backup(1)
    checked.copy.copy(backup)
    other = checked.path("v1/packs/7ZZZZZZZZZZZZZZZZZZZZZZZZZ/000001-00000000-0000")
    other.parent.mkdir(parents=True)
    other.write_bytes(b"x" * 1000)

    report = checked.inventory()

    assert report.stored.size_bytes == report.packs.size_bytes + 1000


def test_a_missing_pack_damages_every_backup_in_the_copy_that_needs_it_and_none_in_the_vault(checked: Checked) -> None:
    first = checked.backup(3)
    second = checked.backup(2, first)
    other = checked.backup(1, customers=made_up_rows(7, 40), orders=made_up_rows(8, 60))
    checked.copy.copy(first, second, other)
    lost = checked.pack(first)
    checked.path(lost).unlink()

    report = checked.inventory()

    assert codes(report) == {first.id: ["PACK_MISSING"], second.id: ["PACK_MISSING"]}
    assert report.status == 500
    assert report.healthy == {"shop": other.id}
    assert report.damaged[0].damages[0].text == f'The pack {lost} is not in the copy "off".'
    for backup in (first, second):
        record = checked.record(backup)
        assert record.damaged_packs == (lost,)
        assert record.damaged is not None
        assert checked.scene.catalog.get_backup(backup.id).damaged_at is None
    assert checked.record(other).damaged is None


@pytest.mark.parametrize("what", ["truncated", "swapped", "manifest", "manifest gone", "entries gone"])
def test_each_kind_of_damage_is_found(checked: Checked, what: str) -> None:
    backup = checked.backup(1)
    checked.copy.copy(backup)
    pack, manifest = checked.pack(backup), backup.manifest_key or ""
    entries = checked.manifest(backup).entries[0].key
    if what == "truncated":
        checked.path(pack).write_bytes(b"short")
    elif what == "swapped":
        checked.spoil(pack)
    elif what == "manifest":
        checked.spoil(manifest)
    elif what == "manifest gone":
        checked.path(manifest).unlink()
    else:
        checked.path(entries).unlink()

    # A directory keeps no checksums: bytes that changed in place are seen by reading them.
    report = checked.read() if what == "swapped" else checked.inventory()

    expected = {
        "truncated": "PACK_TRUNCATED",
        "swapped": "PACK_SWAPPED",
        "manifest": "MANIFEST_SWAPPED",
        "manifest gone": "MANIFEST_MISSING",
        "entries gone": "ENTRIES_MISSING",
    }
    assert codes(report) == {backup.id: [expected[what]]}
    assert checked.record(backup).damaged is not None
    assert "vault" not in report.damaged[0].damages[0].text


def test_reading_needs_no_key_and_sees_every_byte(checked: Checked) -> None:
    first, second = checked.backup(2), checked.backup(1)
    checked.copy.copy(first, second)

    report = checked.read()

    packs = {pack.key: pack.length for one in (first, second) for pack in checked.manifest(one).packs}
    assert (report.status, report.packs.size_bytes) == (200, sum(packs.values()))
    assert checked.record(first).level == "read"
    for key in packs:
        before = checked.spoil(key)
        assert checked.read().status == 500
        checked.path(key).write_bytes(before)
    assert checked.read().status == 200


def test_a_share_that_was_read_proves_no_whole_backup(checked: Checked) -> None:
    backup = checked.backup(1)
    checked.copy.copy(backup, verified_at=None, level=None)

    assert checked.read(NOTHING).status == 200

    assert checked.record(backup).verified_at is None


def test_every_share_of_a_month_is_read_once(checked: Checked) -> None:
    backup = checked.backup(1)
    checked.copy.copy(backup)
    needed = {pack.key for pack in checked.manifest(backup).packs}

    counts = [checked.read(Share(parts=30, day=day)).packs.objects for day in range(30)]

    assert sum(counts) == len(needed)


def test_damage_that_only_reading_saw_is_not_healed_by_an_inventory(checked: Checked) -> None:
    backup = checked.backup(1)
    checked.copy.copy(backup)
    before = checked.spoil(checked.pack(backup))
    assert checked.read().status == 500

    assert codes(checked.inventory(NOTHING)) == {backup.id: ["PACK_SWAPPED"]}
    assert checked.record(backup).damaged is not None

    checked.path(checked.pack(backup)).write_bytes(before)
    assert checked.inventory(NOTHING).status == 200
    record = checked.record(backup)
    assert (record.damaged, record.damaged_packs, record.verified_at) == (None, (), checked.scene.now)


def test_one_target_or_one_backup_can_be_asked_for(checked: Checked) -> None:
    first, second = checked.backup(2), checked.backup(1)
    checked.copy.copy(first, second, verified_at=None)

    assert checked.inventory(backup_id=first.id).backups == 1

    assert checked.record(first).verified_at is not None
    assert checked.record(second).verified_at is None
    with pytest.raises(BackupStateError) as caught:
        checked.inventory(backup_id="01K9X000000000000000000000")
    assert caught.value.code == "BACKUP_UNKNOWN"
    assert "coffre copy 01K9X000000000000000000000 --to off" in (caught.value.hint or "")


def test_an_empty_copy_is_never_in_order(checked: Checked) -> None:
    checked.backup(1)

    with pytest.raises(BackupStateError) as caught:
        checked.inventory()

    assert caught.value.code == "NOTHING_TO_VERIFY"


def test_when_the_time_is_over_nothing_counts_as_verified(checked: Checked) -> None:
    backup = checked.backup(1)
    checked.copy.copy(backup, verified_at=None)
    checked.remaining = 1.0

    for report in (checked.inventory(), checked.read()):
        assert (report.status, report.unfinished is not None) == (500, True)
    assert checked.record(backup).verified_at is None


# --- the owner's own replication ---


def replicated(checked: Checked, backup: Backup, minutes: float) -> None:
    """Bring a backup into the copy without a record, so long ago."""
    checked.copy.more = {"copied_by": "replication"}
    checked.copy.copy(backup, age_days=minutes / 1440)
    copies = checked.scene.catalog.copies
    table = copies._table
    table._connection.delete_item("COPY", range_key=f"off#{backup.id}")


def test_what_replication_brought_is_recorded_once_it_is_complete(checked: Checked) -> None:
    backup = checked.backup(1)
    replicated(checked, backup, 120)

    assert checked.inventory().status == 200

    record = checked.record(backup)
    assert (record.status, record.manifest_sha256) == (CopyStatus.COMPLETED, backup.manifest_sha256)
    assert record.completed_at == checked.scene.now - timedelta(minutes=120)


def test_packs_that_may_still_be_on_their_way_are_no_damage_yet(checked: Checked) -> None:
    backup = checked.backup(1)
    replicated(checked, backup, 10)
    pack = checked.path(checked.pack(backup))
    body = pack.read_bytes()
    pack.unlink()

    assert checked.inventory().status == 200
    assert checked.scene.catalog.copies.find("off", backup.id) is None

    # An hour later they should have arrived: replication that failed is never silent.
    checked.scene.now += timedelta(hours=1)
    assert codes(checked.inventory()) == {backup.id: ["PACK_MISSING"]}
    pack.write_bytes(body)
    os.utime(pack)
    assert checked.inventory().status == 200
    assert checked.record(backup).damaged is None


def test_a_replicated_manifest_that_is_not_the_recorded_one_is_damage(checked: Checked) -> None:
    backup = checked.backup(1)
    replicated(checked, backup, 120)
    checked.spoil(backup.manifest_key or "")

    assert codes(checked.inventory()) == {backup.id: ["MANIFEST_SWAPPED"]}


def test_a_copier_that_works_meanwhile_keeps_its_record(checked: Checked) -> None:
    backup = checked.backup(1)
    checked.copy.copy(backup)
    seen = checked.record(backup)
    again = seen.model_copy(update={"status": CopyStatus.IN_PROGRESS, "verified_at": None})
    checked.scene.catalog.copies.keep(again)

    assert not checked.scene.catalog.copies.change(seen, seen.model_copy(update={"level": Level.READ.value}))
    assert checked.record(backup) == again
