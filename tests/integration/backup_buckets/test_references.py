"""Backups of buckets that are parts of a restore point: what rows refer to, when objects change at every moment."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest
from tests.integration.capture_scene import Scene
from tests.memory_store import THEN, MemoryStore

from coffre.buckets.reader import PIECE_BYTES
from coffre.model.manifest import Manifest
from coffre.model.points import PartOf, PointCounts
from coffre.operations.backup_buckets import plan as storage_plan
from coffre.operations.backup_buckets.job import TimeBudget
from coffre.operations.backup_buckets.references import PointOfRun
from coffre.operations.runs.run import Paused
from coffre.stores.s3_errors import Call
from coffre.vault.bucket_progress import read_progress
from coffre.vault.points import Reference

LATER = THEN + timedelta(hours=1)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def scene(tmp_path: Path, store: MemoryStore) -> Scene:
    store.buckets["photos"] = {}
    return Scene(tmp_path, store)


def refer(scene: Scene, references: Iterable[Reference], **fields: object) -> None:
    """Make the next backup a part of a point with these references."""
    known = sorted(references, key=lambda reference: reference.name)
    scene.point = PointOfRun(
        PartOf(name="shop", id="01K9X000000000000000000001"),
        LATER,
        lambda after: (reference for reference in known if reference.name > after),
        **fields,  # type: ignore[arg-type]
    )


def meaning(body: bytes, key: str = "cat.jpg") -> Reference:
    """A row that has the etag of these bytes."""
    etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return Reference(f"photos/{key}", etag=etag, size=len(body))


def counts(manifest: Manifest) -> PointCounts:
    assert manifest.point is not None
    assert manifest.point.counts is not None
    return manifest.point.counts


def test_an_object_that_is_replaced_while_it_is_read_is_named(scene: Scene, store: MemoryStore) -> None:
    store.put("photos", "cat.jpg", b"first")
    refer(scene, [meaning(b"first")])

    def replace(operation: str, call: Call, number: int) -> None:
        if operation == "get" and number == 1:
            store.put("photos", "cat.jpg", b"second")

    store.before = replace
    manifest = scene.backup()

    assert scene.bodies(manifest) == {"photos/cat.jpg": b"second"}
    assert counts(manifest) == PointCounts(references=1, dangling=1, replaced=1)
    [exception] = manifest.exceptions
    assert exception.startswith("'photos/cat.jpg' is in this backup as it is now: A row of the restore point refers to")
    facts = scene.entries(manifest)["photos/cat.jpg"].object
    assert facts is not None
    assert facts.dangling is not None


def test_an_object_that_is_deleted_while_it_is_read_is_named(scene: Scene, store: MemoryStore) -> None:
    store.put("photos", "cat.jpg", b"first")
    store.put("photos", "dog.jpg", b"no row")
    refer(scene, [meaning(b"first")])

    def delete(operation: str, call: Call, number: int) -> None:
        if operation == "get" and call.key in store.buckets["photos"]:
            store.delete("photos", call.key)

    store.before = delete
    manifest = scene.backup()

    # Then the one with a row is named, and the one without is no orphan of the backup
    assert scene.bodies(manifest) == {}
    assert counts(manifest) == PointCounts(references=1, dangling=1)
    [exception] = manifest.exceptions
    assert exception.startswith("'photos/cat.jpg' is not in this backup")
    assert "[DANGLING]" in exception
    assert manifest.storage.unread == 1


def test_a_large_object_is_never_a_mixture(scene: Scene, store: MemoryStore) -> None:
    first, second = b"1" * (2 * PIECE_BYTES), b"2" * (2 * PIECE_BYTES)
    store.put("photos", "cat.jpg", first)
    refer(scene, [meaning(first)])

    def replace(operation: str, call: Call, number: int) -> None:
        if operation == "get" and number == 2:
            store.put("photos", "cat.jpg", second)

    store.before = replace
    manifest = scene.backup()

    assert scene.bodies(manifest) == {"photos/cat.jpg": second}
    assert counts(manifest).replaced == 1


def test_the_same_bytes_under_another_time_are_what_the_row_means(scene: Scene, store: MemoryStore) -> None:
    store.put("photos", "cat.jpg", b"first")
    store.put("photos", "cat.jpg", b"first")
    refer(scene, [meaning(b"first")])

    manifest = scene.backup()

    assert (manifest.exceptions, counts(manifest).dangling) == ((), 0)


def test_without_etag_and_version_the_time_of_the_snapshot_decides(scene: Scene, store: MemoryStore) -> None:
    store.put("photos", "before", b"1")
    store._clock = LATER
    store.put("photos", "after", b"2")
    refer(scene, [Reference("photos/before"), Reference("photos/after"), Reference("photos/gone")])

    manifest = scene.backup()

    assert scene.bodies(manifest) == {"photos/after": b"2", "photos/before": b"1"}
    assert counts(manifest) == PointCounts(references=3, dangling=2, replaced=1)
    assert len(manifest.exceptions) == 2


def test_what_was_deleted_comes_from_the_backup_before_and_stays_without_a_read(
    scene: Scene, store: MemoryStore
) -> None:
    store.put("photos", "cat.jpg", b"first")
    scene.backup()
    store.delete("photos", "cat.jpg")
    refer(scene, [meaning(b"first")])
    read = store.requests["get"]

    manifest = scene.backup()

    assert scene.bodies(manifest) == {"photos/cat.jpg": b"first"}
    assert counts(manifest) == PointCounts(references=1)
    assert (manifest.storage.removed, store.requests["get"]) == (0, read)


def test_rows_of_several_versions_of_one_object_are_named(scene: Scene, store: MemoryStore) -> None:
    store.put("photos", "cat.jpg", b"first")
    one = meaning(b"first")
    refer(scene, [Reference(one.name, size=one.size, etag=one.etag, others=2)])

    manifest = scene.backup()

    assert counts(manifest) == PointCounts(references=3, dangling=2, replaced=2)
    assert "several versions of it" in manifest.exceptions[0]


def test_a_point_that_takes_several_invocations_counts_each_reference_once(
    scene: Scene, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_plan, "_READ_OBJECTS", 2)
    references = [meaning(b"x", f"{number:02}.jpg") for number in range(12)]
    for number in range(10):
        store.put("photos", f"{number:02}.jpg", b"x")
    store.put("photos", "no-row", b"y")
    refer(scene, references)
    left = iter([900.0] * 12)
    scene.remaining = lambda: next(left, 100.0)
    scene.patience = TimeBudget(no_new_parts=120.0, stop=50.0)
    backup = scene.begin()
    made = scene.invoke(backup)
    invocations = 1
    while isinstance(made, Paused):
        left = iter([900.0] * 12)
        made = scene.invoke(backup, read_progress(scene.vault, "files", backup.id))
        invocations += 1

    assert invocations > 1
    assert counts(made[0]) == PointCounts(references=12, dangling=2, orphans=1)
    assert len(scene.bodies(made[0])) == 11


def test_references_of_other_buckets_and_left_out_keys_are_not_counted(scene: Scene, store: MemoryStore) -> None:
    scene.document["buckets"] = [{"name": "photos", "exclude": ["tmp/**"]}]
    refer(scene, [Reference("else/a"), Reference("photos/tmp/a"), Reference("zoo/a")])

    manifest = scene.backup()

    assert counts(manifest) == PointCounts()
