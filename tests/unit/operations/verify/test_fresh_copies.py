"""Fresh, for copies: the answer names database, storage and offsite, and an empty copy is never in order."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.operations.conftest import Scene
from tests.unit.operations.copy_scene import CopyScene

from coffre.model.configuration import Configuration
from coffre.model.copies import CopyStatus, Destination
from coffre.model.errors import StoreTransientError
from coffre.model.freshness import Check, Checked, Component, FreshReport
from coffre.operations.verify.freshness import FreshJob, fresh
from coffre.policy.configured_since import Changed
from coffre.vault.vault import Vault


@pytest.fixture
def copy(scene: Scene, tmp_path: Path) -> CopyScene:
    return CopyScene.of(scene, tmp_path / "copy")


def looked(
    scene: Scene,
    copy: CopyScene,
    open_copy: Callable[[Destination], Vault] | None = None,
    targets: list[dict[str, Any]] | None = None,
) -> FreshReport:
    document = {
        "encryption": "none",
        "targets": targets or [{"name": "shop", "secret": "s"}],
        "copies": [copy.destination.model_dump(mode="json")],
    }
    configuration = Configuration.model_validate(document)
    job = FreshJob(
        scene.catalog,
        scene.vault,
        configuration,
        scene.now,
        scene.died.append,
        lambda _: None,
        open_copy or (lambda _: copy.vault),
        last_changed=lambda _: Changed(scene.now),
    )
    return fresh(job)


def offsite(report: FreshReport) -> Check:
    (found,) = [check for check in report.checks if check.check is Checked.OFFSITE]
    return found


def test_a_complete_copy_is_ok_and_the_answer_names_all_components(scene: Scene, copy: CopyScene) -> None:
    old, new = scene.backup(0.9), scene.backup(0.5)
    copy.copy(old, new)

    report = looked(scene, copy)

    assert (report.status, report.statusCode) == (200, 200)
    newest = Component(status="ok", last_backup_at=new.created_at, age_hours=12.0)
    assert (report.database, report.offsite) == (newest, newest)
    assert report.storage == Component(status="not_configured")
    assert (offsite(report).copy_name, offsite(report).last_backup) == ("off", new.id)


@pytest.mark.parametrize("exists", [True, False], ids=["backups exist", "no backup exists"])
def test_an_empty_copy_fails(scene: Scene, copy: CopyScene, exists: bool) -> None:
    if exists:
        scene.backup(0.01)

    report = looked(scene, copy)

    assert (report.statusCode, offsite(report).code) == (500, "COPY_EMPTY")
    assert report.offsite == Component(status="failed")
    assert report.database is not None
    assert report.database.status == "ok"


def test_a_copy_may_take_its_time_and_is_late_afterwards(scene: Scene, copy: CopyScene) -> None:
    old, new = scene.backup(0.9), scene.backup(0.03)
    copy.copy(old)

    assert looked(scene, copy).statusCode == 200

    scene.now += timedelta(minutes=30)
    report = looked(scene, copy)
    found = offsite(report)
    assert (report.statusCode, found.code, found.last_backup) == (500, "COPY_LATE", old.id)
    assert found.text is not None
    assert new.id in found.text
    assert "within 60 minutes" in found.text


def test_why_a_copy_failed_is_said(scene: Scene, copy: CopyScene) -> None:
    old, new = scene.backup(0.9), scene.backup(0.5)
    copy.copy(old)
    copy.record(new, CopyStatus.FAILED, error="The bucket is full. [STORE_FULL]", completed_at=None)

    assert (offsite(looked(scene, copy)).text or "").endswith(": The bucket is full. [STORE_FULL]")


def test_a_damaged_copy_is_no_backup(scene: Scene, copy: CopyScene) -> None:
    old, new = scene.backup(0.9), scene.backup(0.5)
    copy.copy(old)
    copy.copy(new, damaged="A pack is missing.")

    found = offsite(looked(scene, copy))

    assert (found.status, found.code, found.last_backup) == ("failed", "COPY_DAMAGED", old.id)


def test_what_the_copys_own_rotation_deleted_is_not_missed(scene: Scene, copy: CopyScene) -> None:
    old, new = scene.backup(0.9), scene.backup(0.5)
    copy.copy(old)
    copy.record(new, CopyStatus.DELETED)

    assert looked(scene, copy).statusCode == 200


@pytest.mark.parametrize("what", ["missing", "swapped"])
def test_the_newest_manifest_is_looked_for_in_the_copy_itself(scene: Scene, copy: CopyScene, what: str) -> None:
    backup = scene.backup(0.5)
    copy.copy(backup)
    path = copy.root / (backup.manifest_key or "")
    if what == "missing":
        path.unlink()
    else:
        path.write_bytes(b"{}")

    found = offsite(looked(scene, copy))

    assert (found.status, found.code) == ("failed", f"MANIFEST_{what.upper()}")


def test_a_copy_that_does_not_answer_is_asked_once(scene: Scene, copy: CopyScene) -> None:
    first, second = scene.backup(0.5), scene.backup(0.5, target="blog")
    copy.copy(first, second)
    asked = []

    def silent(destination: Destination) -> Vault:
        asked.append(destination.name)
        raise StoreTransientError("No route to the NAS.")

    report = looked(scene, copy, silent, [{"name": name, "secret": "s"} for name in ("shop", "blog")])

    assert asked == ["off"]
    failed = [check for check in report.checks if not check.is_ok]
    assert [check.target for check in failed] == ["shop", "blog"]
    assert {check.text for check in failed} == {'The copy "off" does not answer: No route to the NAS.'}
    assert report.database is not None
    assert report.database.status == "ok"


def test_when_the_vault_lost_everything_the_copy_is_still_asked(scene: Scene, copy: CopyScene) -> None:
    backup = scene.backup(0.5)
    copy.copy(backup)
    scene.catalog.keeping.delete(backup, "stolen keys", scene.now)

    report = looked(scene, copy)

    assert report.offsite == Component(status="ok", last_backup_at=backup.created_at, age_hours=12.0)


def test_a_copy_of_some_targets_is_asked_about_those(scene: Scene, copy: CopyScene) -> None:
    copy.more = {"targets": ["blog"]}
    copy.copy(scene.backup(0.5, target="blog"))

    report = looked(scene, copy, targets=[{"name": name, "secret": "s"} for name in ("shop", "blog")])

    assert offsite(report).target == "blog"
    assert report.offsite is not None
    assert report.offsite.status == "ok"
