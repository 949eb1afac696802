"""A catalog that is lost is rebuilt from a copy: the same list, tiers, pins, holds, verifications and damage."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.operations.conftest import NOW, Scene
from ulid import ULID

from coffre.model.audit import Actor
from coffre.model.backup import Backup, Tier
from coffre.model.configuration_version import ConfigurationVersion, sha256_of
from coffre.model.copies import CopyStatus
from coffre.model.errors import StoreError
from coffre.model.verification import Damage, DamageReport, Level
from coffre.operations.admin.catalog_rebuild import ADDED, KNOWN, rebuild
from coffre.operations.admin.pin_and_delete import BackupAdmin
from coffre.operations.stored_backup.copied_records import copy_records
from coffre.operations.verify.job import record_finding
from coffre.stores.directory import DirectoryStore
from coffre.stores.store import Store, put_small
from coffre.vault.configuration_copies import keep_copy, newest_copy
from coffre.vault.damage import heal_damage, read_findings
from coffre.vault.vault import Vault

# What a record has that a run needs, and no list shows; and the start of a run, which a manifest has as one time.
_NOT_REBUILT = {"heartbeat_at", "slot", "request_id", "damage_count", "duration_ms", "read_until", "read_frames"}


@pytest.fixture
def copy(tmp_path: Path) -> Vault:
    place = tmp_path / "copy"
    place.mkdir()
    return Vault(DirectoryStore(place))


def bring(scene: Scene, copy: Vault) -> None:
    """Copy the backups as they are now, as a copier does: everything but what is said about them later."""
    for info in scene.store.list("v1/"):
        if "/marks/" not in info.key and "/reports/" not in info.key:
            put_small(copy.store, info.key, scene.store.get(info.key))


def verify(scene: Scene, backup: Backup, days_ago: float = 0) -> None:
    at = NOW - timedelta(days=days_ago)
    scene.catalog.keeping.mark_verified(backup.id, at)
    scene.vault.mark_verified("shop", backup.id, str(ULID.from_datetime(at)), at)


def damage(scene: Scene, backup: Backup) -> DamageReport:
    found = Damage(code="PACK_MISSING", text="The pack P is not in the vault.", pack="v1/packs/P")
    report = DamageReport.on(backup.id, "shop", Level.READ, NOW, [found])
    record_finding(scene.catalog, scene.vault, report)
    return report


def records(scene: Scene) -> list[dict[str, Any]]:
    return [backup.model_dump(exclude=_NOT_REBUILT) for backup in scene.catalog.backups()]


def rich(scene: Scene) -> None:
    """Backups that are pinned, unpinned, held, released, verified, damaged, healed, and of tiers that joined."""
    backups = [scene.backup(age, verified=False) for age in range(9, 0, -1)]
    admin = BackupAdmin(scene.catalog, scene.vault, Actor("ada"), NOW)
    plain, pinned, unpinned, held, released, verified, damaged, healed, joined = backups
    verify(scene, plain, 2)
    scene.catalog.keeping.mark_verified(plain.id, None)
    scene.vault.mark_verified("shop", plain.id, str(ULID.from_datetime(NOW)), None)
    admin.pin(pinned.id)
    admin.pin(unpinned.id)
    admin.unpin(unpinned.id)
    for number, backup in enumerate((held, released)):
        scene.catalog.protection.hold(backup.id, "the auditors", NOW)
        scene.vault.mark_hold(
            "shop", backup.id, str(ULID.from_datetime(NOW - timedelta(days=number))), NOW, "the auditors"
        )
    scene.catalog.protection.release(released.id)
    scene.vault.mark_hold("shop", released.id, str(ULID.from_datetime(NOW)), None, None)
    verify(scene, verified, 1)
    verify(scene, damaged, 1)
    damage(scene, damaged)
    damage(scene, healed)
    seen = scene.catalog.get_backup(healed.id)
    scene.catalog.keeping.mark_verified(healed.id, NOW, seen=seen, heals=True)
    scene.vault.mark_verified("shop", healed.id, str(ULID.from_datetime(NOW)), NOW)
    heal_damage(scene.vault, read_findings(scene.vault, "shop", healed.id), NOW)
    scene.catalog.add_tier(joined.id, Tier.MONTHLY)
    scene.vault.mark_tier("shop", joined.id, Tier.MONTHLY)


@pytest.mark.parametrize("place", ["copy", "vault"])
def test_a_rich_catalog_is_the_same_after_it_was_rebuilt(
    scene: Scene, new_scene: Callable[[], Scene], copy: Vault, place: str
) -> None:
    rich(scene)
    bring(scene, copy)
    copy_records(scene.vault, copy, "shop")
    before = records(scene)
    assert {len([1 for one in before if one[field]]) for field in ("verified_at", "pinned_at", "held_at")} == {1, 2}

    empty = new_scene()
    done = list(rebuild(empty.catalog, copy if place == "copy" else scene.vault))

    assert {one.outcome for one in done} == {ADDED}
    assert records(empty) == before


def test_what_is_said_after_a_backup_was_copied_follows_it_once(scene: Scene, copy: Vault) -> None:
    backup = scene.backup(3, verified=False)
    bring(scene, copy)
    only_here = scene.backup(1, verified=False)
    verify(scene, only_here)
    admin = BackupAdmin(scene.catalog, scene.vault, Actor("ada"), NOW)

    sent = []
    for act in (lambda: verify(scene, backup), lambda: admin.pin(backup.id), lambda: admin.unpin(backup.id)):
        act()
        sent.append((copy_records(scene.vault, copy, "shop"), copy_records(scene.vault, copy, "shop")))
    again = replace(admin, now=NOW + timedelta(days=1))
    again.pin(backup.id)
    copy_records(scene.vault, copy, "shop")
    again = replace(admin, now=NOW + timedelta(days=2))
    again.unpin(backup.id)
    again.pin(backup.id)
    copy_records(scene.vault, copy, "shop")

    assert sent == [(1, 0)] * 3, "each is sent once"
    marks = copy.read_marks("shop", backup.id)
    assert (marks.verified_at, marks.pinned_at) == (NOW, NOW + timedelta(days=2))
    assert not list(copy.store.list(f"v1/backups/shop/{only_here.id}")), "its backup is not there"


def test_damage_that_is_healed_is_healed_in_the_copy(scene: Scene, copy: Vault) -> None:
    backup = scene.backup(3, verified=False)
    bring(scene, copy)
    damage(scene, backup)
    copy_records(scene.vault, copy, "shop")
    [found] = read_findings(copy, "shop", backup.id).values()
    heal_damage(scene.vault, read_findings(scene.vault, "shop", backup.id), NOW)
    copy_records(scene.vault, copy, "shop")
    [healed] = read_findings(copy, "shop", backup.id).values()
    assert (found.total, healed.total) == (1, 0)


def test_the_configuration_goes_along(scene: Scene, copy: Vault) -> None:
    document = json.dumps({"targets": []})
    version = ConfigurationVersion(
        number=1, at=NOW, actor="ada", verified=True, document=document, sha256=sha256_of(document)
    )
    keep_copy(scene.store, version)
    assert copy_records(scene.vault, copy, "shop") == 1
    assert newest_copy(copy.store) == version


def test_a_rebuild_from_a_copy_notes_what_the_copy_has(
    scene: Scene, new_scene: Callable[[], Scene], copy: Vault
) -> None:
    backup = scene.backup(1)
    bring(scene, copy)
    empty = new_scene()

    trial = [one.outcome for one in rebuild(empty.catalog, copy, dry_run=True, copy="offsite", now=NOW)]
    nothing = (list(empty.catalog.backups()), list(empty.catalog.copies.of("offsite")))
    first = [one.outcome for one in rebuild(empty.catalog, copy, copy="offsite", now=NOW)]
    second = [one.outcome for one in rebuild(empty.catalog, copy, copy="disk", now=NOW)]

    assert (trial, nothing, first, second) == ([ADDED], ([], []), [ADDED], [KNOWN])
    for name in ("offsite", "disk"):
        record = empty.catalog.copies.find(name, backup.id)
        assert record is not None
        assert (record.status, record.manifest_sha256) == (CopyStatus.COMPLETED, backup.manifest_sha256)


def test_a_copy_that_refuses_stops_it_and_an_object_that_another_copier_sent_does_not(
    scene: Scene, copy: Vault, tmp_path: Path
) -> None:
    verify(scene, scene.backup(1, verified=False))
    bring(scene, copy)

    class Behind(DirectoryStore):
        """Lists nothing of marks, as a store that is a moment behind."""

        def list(self, prefix: str = "") -> Any:
            return (info for info in super().list(prefix) if "/marks/" not in info.key)

    late: Store = Behind(tmp_path / "copy")
    assert copy_records(scene.vault, Vault(late), "shop") == 1
    assert copy_records(scene.vault, Vault(late), "shop") == 1, "the same bytes are fine"
    [mark] = [info.key for info in copy.store.list("v1/backups/") if "/marks/" in info.key]
    put_small(copy.store, mark, b"other")
    assert copy_records(scene.vault, Vault(late), "shop") == 0
    with pytest.raises(StoreError):
        copy_records(scene.vault, Vault(DirectoryStore(tmp_path / "gone")), "shop")
