"""Rotation in the receiving account: without a catalog, and whatever the sender's thief writes, nothing goes early."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from tests.locking_store import LockingDirectory
from tests.unit.operations.conftest import Scene
from tests.unit.operations.copy_scene import CopyScene
from ulid import ULID

from coffre.model.backup import Backup, Tier
from coffre.model.locks import Lock, LockMode
from coffre.model.retention import Retention
from coffre.model.rotation import Action, RotationReport
from coffre.operations.rotate.rotate_received import ReceivedJob, rotate_received
from coffre.vault.locks import VaultLocks
from coffre.vault.vault import Vault

RULES = Retention(daily_days=7, weekly_days=28, monthly_days=300, minimum_kept=1, minimum_verified=1)


class Receiver:
    """The bucket of the receiving account."""

    def __init__(self, scene: Scene, root: Path) -> None:
        self.scene, self.copy = scene, CopyScene.of(scene, root)
        self.locks: VaultLocks | None = None

    def receive(self, *backups: Backup, age_days: float) -> None:
        """Let these arrive so long ago."""
        self.copy.copy(*backups, age_days=age_days)

    def rotate(self, *, dry_run: bool = False, retention: Retention = RULES) -> RotationReport:
        scene = self.scene
        vault = Vault(self.copy.store, self.locks)
        job = ReceivedJob("J", "bucket", vault, retention, scene.scratch, scene.now, lambda: 900.0)
        return rotate_received(job, dry_run=dry_run)

    def has(self, backup: Backup) -> bool:
        return self.copy.is_whole(backup)

    def write(self, key: str, body: bytes, age_days: float = 0) -> None:
        """Write what the sender's stolen role may write: an object that does not exist yet."""
        self.copy.store.put(key, body, sha256=hashlib.sha256(body).hexdigest(), if_absent=True)
        then = self.scene.now.timestamp() - age_days * 86_400
        os.utime(self.copy.root / key, (then, then))

    def forge(self, age_days: float, target: str = "shop") -> Backup:
        """Let a thief publish a backup that looks complete."""
        forged = self.scene.backup(age_days, target=target)
        self.receive(forged, age_days=age_days)
        return forged


@pytest.fixture
def receiver(scene: Scene, tmp_path: Path) -> Receiver:
    return Receiver(scene, tmp_path / "received")


def test_what_outlived_its_days_goes_and_its_packs_with_it(receiver: Receiver) -> None:
    old, shared = receiver.scene.backup(40), receiver.scene.backup(39)
    new = receiver.scene.backup(1, shares=shared)
    receiver.receive(old, shared, age_days=40)
    receiver.receive(new, age_days=1)
    for pack in receiver.scene.packs_of(shared):  # they came with the old one
        path = receiver.copy.root / pack.key
        os.utime(path, (receiver.scene.now.timestamp() - 40 * 86_400,) * 2)

    report = receiver.rotate()

    assert {one.backup_id for one in report.decisions if one.action is Action.DELETE} == {old.id, shared.id}
    assert receiver.copy.objects_of(old) == set()
    assert receiver.has(new)
    assert report.all_problems == ()


def test_a_dry_run_changes_nothing(receiver: Receiver) -> None:
    old, new = receiver.scene.backup(40), receiver.scene.backup(1)
    receiver.receive(old, age_days=40)
    receiver.receive(new, age_days=1)
    before = receiver.copy.objects()

    report = receiver.rotate(dry_run=True)

    assert [one.backup_id for one in report.decisions if one.action is Action.DELETE] == [old.id]
    assert receiver.copy.objects() == before


def test_age_counts_from_the_arrival(receiver: Receiver) -> None:
    old, new = receiver.scene.backup(40), receiver.scene.backup(1)
    receiver.receive(old, age_days=2)
    receiver.receive(new, age_days=1)

    receiver.rotate()

    assert receiver.has(old)


def test_an_incomplete_backup_pushes_nothing_out(receiver: Receiver) -> None:
    old, new = receiver.scene.backup(40), receiver.scene.backup(1)
    receiver.receive(old, age_days=40)
    receiver.receive(new, age_days=1)
    receiver.copy.store.delete(receiver.scene.packs_of(new)[0].key)

    report = receiver.rotate()

    assert receiver.has(old)
    assert "BACKUP_INCOMPLETE" in {problem.code for problem in report.all_problems}


def test_no_flood_of_forged_backups_pushes_a_good_one_out(receiver: Receiver) -> None:
    good = receiver.scene.backup(3)
    receiver.receive(good, age_days=3)
    for number in range(30):
        receiver.forge(0.1 + number / 100)
    by_number = RULES.model_copy(update={"daily_days": 7, "daily_count": 2, "maximum_bytes": 500})

    receiver.rotate(retention=by_number)

    assert receiver.has(good)


def test_no_mark_of_a_thief_shortens_a_life(receiver: Receiver) -> None:
    scene = receiver.scene
    monthly, held, new = scene.backup(40), scene.backup(41), scene.backup(1)
    scene.vault.mark_tier("shop", monthly.id, Tier.MONTHLY)
    scene.vault.mark_hold("shop", held.id, str(ULID()), scene.now, "a court")
    receiver.receive(monthly, held, age_days=40)
    receiver.receive(new, age_days=1)

    # He breaks the marks of one, and releases the hold of the other.
    receiver.write(f"v1/backups/shop/{monthly.id}/marks/tier-ZZZ.json", b"garbage")
    released = {"backup_id": held.id, "held_at": None, "hold": None}
    receiver.write(
        f"v1/backups/shop/{held.id}/marks/hold-7ZZZZZZZZZZZZZZZZZZZZZZZZZ.json", json.dumps(released).encode()
    )
    report = receiver.rotate()

    assert receiver.has(monthly)
    assert receiver.has(held)
    assert "MARKS_UNREAD" in {problem.code for problem in report.all_problems}


def test_a_forged_manifest_of_the_same_target_deletes_no_pack_of_others(receiver: Receiver) -> None:
    good, new = receiver.scene.backup(3), receiver.scene.backup(1)
    receiver.receive(good, new, age_days=3)
    receiver.write(f"v1/backups/shop/{ULID()}/manifest.json", b"{}", age_days=400)

    report = receiver.rotate()

    assert receiver.has(good)
    assert receiver.has(new)
    assert report.all_problems


def test_the_newest_stay_though_nothing_arrives_any_more(receiver: Receiver) -> None:
    last = receiver.scene.backup(900)
    receiver.receive(last, age_days=900)

    receiver.rotate()

    assert receiver.has(last)


def test_what_is_locked_waits(receiver: Receiver) -> None:
    old, new = receiver.scene.backup(40), receiver.scene.backup(1)
    receiver.receive(old, age_days=40)
    receiver.receive(new, age_days=1)
    store: LockingDirectory = receiver.copy.store
    until = receiver.scene.now + timedelta(days=5)
    for key in receiver.copy.objects_of(old):
        store.extend_lock(key, Lock(LockMode.GOVERNANCE, until))
    receiver.locks = VaultLocks(store, LockMode.GOVERNANCE, 400)

    (decision,) = [one for one in receiver.rotate().decisions if one.backup_id == old.id]

    assert (decision.action, decision.waits_until) == (Action.KEEP, until)
    assert receiver.has(old)
