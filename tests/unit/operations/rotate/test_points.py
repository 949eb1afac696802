"""Rotation of restore points: their parts live alike, and what the vault has of a point goes with its parts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tests.unit.operations.conftest import NOW, Scene
from tests.unit.operations.copy_scene import CopyScene
from ulid import ULID

from coffre.model.backup import Backup, Restore, Status
from coffre.model.copies import CopyStatus
from coffre.model.kinds import TargetKind
from coffre.model.points import ManifestPoint, PointPart, PointRecord
from coffre.model.retention import Retention
from coffre.model.rotation import Action
from coffre.operations.copy.copy_points import copy_point
from coffre.operations.rotate.rotate_received import ReceivedJob, rotate_received
from coffre.operations.stored_backup.catalog_record import completed
from coffre.vault.points import Reference, read_seal, write_references, write_seal


def part(scene: Scene, age: float, target: str, point_id: str) -> Backup:
    """A verified backup that is a part of a point."""
    begun = scene.begin(age, target=target)
    done = scene.catalog.complete_backup(
        completed(begun, *scene.commit(begun, (), point=ManifestPoint(name="shop", id=point_id)))
    )
    scene.catalog.keeping.mark_verified(done.id, NOW)
    return done


def point(scene: Scene, age: float) -> tuple[PointRecord, Backup, Backup]:
    """A sealed point of the targets `shop` and `blog` with a list of references."""
    point_id = str(ULID.from_datetime(NOW - timedelta(days=age)))
    one, other = part(scene, age, "shop", point_id), part(scene, age, "blog", point_id)
    lists = write_references(scene.vault.store, "shop", point_id, [Reference("photos/cat.jpg")])
    made = PointRecord(
        id=point_id,
        name="shop",
        taken_at=one.created_at,
        parts=(
            PointPart(target="shop", kind=TargetKind.DATABASE, backup_id=one.id),
            PointPart(target="blog", kind=TargetKind.BUCKET, backup_id=other.id),
        ),
        references=1,
        lists=lists,
        sealed_at=one.created_at,
    )
    write_seal(scene.vault.store, made)
    scene.catalog.points.keep(made)
    return made, one, other


def newer_ones(scene: Scene) -> None:
    scene.targets = ("shop", "blog")
    for target in scene.targets:
        for age in (2, 1):
            scene.backup(age, target=target)


def test_a_part_stays_as_long_as_another_part_of_its_point(scene: Scene) -> None:
    newer_ones(scene)
    made, database, files = point(scene, 8)
    scene.catalog.keeping.pin(database.id, NOW)

    report = scene.rotate()

    assert {scene.status(one) for one in (database, files)} == {Status.COMPLETED}
    [decision] = [one for one in report.decisions if one.backup_id == files.id]
    assert (decision.action, decision.held_back) == (Action.KEEP, True)
    assert decision.reason.startswith(f"part of a restore point whose part {database.id} of shop is kept: pinned since")
    assert read_seal(scene.vault.store, "shop", made.id) == made
    # also when only its own target is rotated
    scene.rotate(only="blog")
    assert scene.status(files) is Status.COMPLETED


def test_the_parts_of_a_point_that_is_being_restored_stay(scene: Scene, tmp_path: Path) -> None:
    """The database takes hours, and the objects come after it."""
    newer_ones(scene)
    _, database, files = point(scene, 8)
    copy = CopyScene.of(scene, tmp_path / "copy")
    for target in scene.targets:
        copy.copy(*scene.catalog.completed_backups(target))
    restore = Restore(
        id=str(ULID.from_datetime(NOW)),
        target="shop",
        backup_id=database.id,
        status=Status.IN_PROGRESS,
        created_at=NOW,
        destination="env:DESTINATION",
    )
    scene.catalog.create_restore(restore)

    scene.rotate()
    copy.rotate()
    assert {scene.status(one) for one in (database, files)} == {Status.COMPLETED}
    assert {copy.status(one) for one in (database, files)} == {CopyStatus.COMPLETED}

    scene.catalog.finish_restore(restore.model_copy(update={"status": Status.COMPLETED}))
    scene.rotate()
    assert {scene.status(one) for one in (database, files)} == {Status.DELETED}


def test_when_no_rule_keeps_a_part_all_go_and_the_point_with_them(scene: Scene) -> None:
    newer_ones(scene)
    made, database, files = point(scene, 8)
    kept, *_ = point(scene, 1)

    report = scene.rotate()

    assert {scene.status(one) for one in (database, files)} == {Status.DELETED}
    assert report.sweep is not None
    assert report.sweep.foreign.objects == 0
    left = {info.key for info in scene.vault.store.list("v1/points/")}
    assert left == {f"v1/points/shop/{kept.id}.json", f"v1/points/shop/{kept.id}.objects-000000.jsonl.zst"}
    assert made.id not in str(left)


def test_the_lists_of_a_point_that_was_never_sealed_go_after_a_day(scene: Scene) -> None:
    newer_ones(scene)
    for age in (0.5, 1.5):
        point_id = str(ULID.from_datetime(NOW - timedelta(days=age)))
        lists = write_references(scene.vault.store, "shop", point_id, [Reference("photos/cat.jpg")])
        taken_at = NOW - timedelta(days=age)
        scene.catalog.points.keep(PointRecord(id=point_id, name="shop", taken_at=taken_at, parts=(), lists=lists))

    scene.rotate()

    [left] = scene.vault.store.list("v1/points/")
    assert str(ULID.from_datetime(NOW - timedelta(days=0.5)))[:10] in left.key


def test_of_a_target_that_is_not_configured_any_more_a_part_keeps_the_others(scene: Scene) -> None:
    newer_ones(scene)
    _, database, files = point(scene, 8)
    scene.targets = ("shop",)

    scene.rotate()

    assert {scene.status(one) for one in (database, files)} == {Status.COMPLETED}


def test_in_a_copy_too_a_part_stays_with_the_others_and_the_point_goes_with_them(scene: Scene, tmp_path: Path) -> None:
    newer_ones(scene)
    copy = CopyScene.of(scene, tmp_path / "copy")
    for target in scene.targets:
        copy.copy(*scene.catalog.completed_backups(target))
    made, database, files = point(scene, 8)
    scene.catalog.keeping.pin(database.id, NOW)
    copy.copy(database, files)
    copy_point(scene.vault.store, copy.store, made)

    copy.rotate()

    assert {copy.status(one) for one in (database, files)} == {CopyStatus.COMPLETED}
    assert read_seal(copy.store, "shop", made.id) == made
    scene.catalog.keeping.unpin(database.id)
    copy.rotate()
    assert {copy.status(one) for one in (database, files)} == {CopyStatus.DELETED}
    assert copy.objects("v1/points/") == set()
    assert read_seal(scene.vault.store, "shop", made.id) == made


def test_in_the_account_of_a_receiver_too_a_part_stays_with_the_others(scene: Scene, tmp_path: Path) -> None:
    newer_ones(scene)
    received = CopyScene.of(scene, tmp_path / "received")
    for target in scene.targets:
        received.copy(*scene.catalog.completed_backups(target), age_days=1)
    points = [point(scene, age) for age in (40, 41)]
    scene.vault.mark_pin("shop", points[0][1].id, NOW)
    for _, *parts in points:
        received.copy(*parts, age_days=40)

    rules = Retention(minimum_kept=1, minimum_verified=1)
    rotate_received(ReceivedJob("J", "bucket", received.vault, rules, scene.scratch, scene.now, lambda: 900.0))

    assert [[bool(received.objects_of(one)) for one in parts] for _, *parts in points] == [[True, True], [False, False]]
