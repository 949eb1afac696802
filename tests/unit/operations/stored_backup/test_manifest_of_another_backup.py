"""A manifest that lies under another backup's key is refused by every reader, even when the catalog vouches for it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.unit.operations.conftest import NOW, Scene

from coffre.model.alert_rules import TargetAlerts
from coffre.model.backup import Backup
from coffre.model.configuration import Configuration
from coffre.model.errors import BackupStateError, IntegrityError
from coffre.model.kinds import TargetKind
from coffre.model.verification import Share
from coffre.operations.admin.catalog_rebuild import rebuild
from coffre.operations.backup_buckets.stored_before import open_previous
from coffre.operations.backup_database.plan import open_history_of
from coffre.operations.drill.buckets import _prove
from coffre.operations.export.plan import plan_export
from coffre.operations.monitoring.health_checks import measured, review_backup
from coffre.operations.restore_buckets.restore import restore_storage
from coffre.operations.restore_database.job import open_source
from coffre.operations.rotate.rotate import bytes_by_newest_user
from coffre.operations.runs.progress import Meter
from coffre.operations.stored_backup.open_backup import manifest_of, open_manifest
from coffre.operations.stored_backup.vault_backups import VaultBackups
from coffre.operations.verify.freshness import FreshJob, fresh
from coffre.operations.verify.inventory import inventory
from coffre.operations.verify.job import VerifyJob
from coffre.operations.verify.read_back import read_backup
from coffre.operations.verify.vault import VaultCheck
from coffre.postgres.archive.reader import Compression
from coffre.vault.codec import FrameDecoder
from coffre_cli.commands.backups.ls_cat import open_backup
from coffre_cli.commands.backups.show import _manifest_of

type Reader = Callable[[Scene, Backup], object]

DECODER = FrameDecoder([])


def of(fields: dict[str, Any]) -> Any:
    """Return a job with what opening a backup needs."""
    return cast("Any", SimpleNamespace(**fields))


def verify_job(scene: Scene) -> VerifyJob:
    return VerifyJob("J", scene.catalog, scene.vault, DECODER, scene.scratch, lambda: NOW, lambda: 900.0)


class EmptyCatalog:
    """A catalog that has lost all records."""

    def get_backup(self, backup_id: str) -> Backup:
        raise BackupStateError(backup_id)


def restore_objects(scene: Scene, backup: Backup) -> object:
    of_buckets = backup.model_copy(update={"kind": TargetKind.BUCKET})
    return restore_storage(of({"vault": scene.vault, "backup": of_buckets}), None, Meter())


def drill_objects(scene: Scene, backup: Backup) -> None:
    found = SimpleNamespace(phase=lambda _: threading.Lock())
    _prove(of({"vault": scene.vault, "backup": backup}), of(vars(found)), threading.Event())


RAISES: dict[str, Reader] = {
    "whatever opens it": lambda scene, backup: manifest_of(scene.vault, backup),
    "whatever opens a completed one": lambda scene, backup: open_manifest(scene.vault, backup),
    "ls and cat": lambda scene, backup: open_backup(
        of({"catalog": scene.catalog, "vault": scene.vault}), backup.id, None
    ),
    "show": lambda scene, backup: _manifest_of(of({"vault": scene.vault}), backup),
    "export": lambda scene, backup: plan_export(scene.vault, DECODER, backup, tables=(), compression=Compression.NONE),
    "restore of a database": lambda scene, backup: open_source(of({"vault": scene.vault, "backup": backup})),
    "restore of objects": restore_objects,
    "drill of objects": drill_objects,
    "sizes for rotation": lambda scene, backup: bytes_by_newest_user(scene.vault, [backup]),
    "health checks": lambda scene, backup: review_backup(scene.catalog, scene.vault, TargetAlerts(), backup),
}


def previous(scene: Scene, backup: Backup) -> Any:
    return of({"vault": scene.vault, "previous": backup, "unfinished": (), "recipients": (), "scratch": scene.scratch})


REPORTS: dict[str, Reader] = {
    "history of a database": lambda scene, backup: open_history_of(previous(scene, backup), []),
    "history of buckets": lambda scene, backup: open_previous(previous(scene, backup)),
    "inventory": lambda scene, _: inventory(verify_job(scene), Share(parts=1, day=0)),
    "read back": lambda scene, backup: read_backup(verify_job(scene), backup.id),
    "verification of a vault alone": lambda scene, backup: VaultCheck(
        "V", scene.vault, DECODER, (backup,), {}, NOW
    ).read(),
    "rebuilding of the catalog": lambda scene, _: list(rebuild(cast("Any", EmptyCatalog()), scene.vault, dry_run=True)),
    "a vault without its catalog": lambda scene, backup: VaultBackups(scene.vault).unreadable(backup.target),
}


@pytest.fixture
def other(scene: Scene) -> Backup:
    return scene.backup(2, target="blog")


@pytest.fixture
def forged(scene: Scene, other: Backup) -> Backup:
    """A backup whose manifest, and its hash in the catalog, somebody with many rights replaced by another backup's."""
    backup = scene.backup(1)
    shutil.copy(scene.root / str(other.manifest_key), scene.root / str(backup.manifest_key))
    fields = {"manifest_sha256": other.manifest_sha256}
    scene.catalog._backups.change(backup.id, fields, allowed=(backup.status,))
    return scene.catalog.get_backup(backup.id)


def sentence(forged: Backup, other: Backup) -> str:
    return f"is of backup {other.id} of blog, not of {forged.id} of shop"


@pytest.mark.parametrize("read", RAISES.values(), ids=RAISES)
def test_who_needs_that_backup_fails(scene: Scene, forged: Backup, other: Backup, read: Reader) -> None:
    with pytest.raises(IntegrityError) as caught:
        read(scene, forged)

    assert caught.value.code == "MANIFEST_SWAPPED"
    assert sentence(forged, other) in caught.value.message


@pytest.mark.parametrize("read", REPORTS.values(), ids=REPORTS)
def test_who_can_do_without_it_reports_it(scene: Scene, forged: Backup, other: Backup, read: Reader) -> None:
    assert sentence(forged, other) in str(read(scene, forged))


def test_its_sizes_are_compared_with_nothing(scene: Scene, forged: Backup, other: Backup) -> None:
    assert len(list(measured(scene.vault, [forged, other]))) == 1


def test_it_does_not_count_as_a_copy(scene: Scene, forged: Backup) -> None:
    configuration = Configuration.model_validate({"encryption": "none", "targets": [{"name": "shop", "secret": "s"}]})
    job = FreshJob(
        scene.catalog, scene.vault, configuration, NOW, scene.died.append, lambda _: None, lambda _: scene.vault
    )

    [copy] = [check for check in fresh(job).checks if check.check == "copy"]

    assert (copy.status, copy.last_backup) == ("failed", forged.id)


def test_a_rotation_deletes_nothing_because_of_it(scene: Scene, forged: Backup) -> None:
    report = scene.rotate()

    assert report.sweep is not None
    assert [(one.code, one.target) for one in report.sweep.problems] == [("MANIFEST_SWAPPED", "shop")]
    assert report.sweep.packs_removed.objects == 0
