"""Which restore points are whole, and sealing those whose last part could not."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.operations.conftest import NOW, Scene
from tests.unit.operations.rotate.test_points import point

from coffre.model.errors import StoreError, TargetUnknownError
from coffre.model.points import PointRecord
from coffre.operations.admin.catalog_rebuild import ADDED, KNOWN, rebuild
from coffre.operations.points.find import damaged_parts, find_point, missing_parts, whole_points
from coffre.operations.points.seal import seal_earlier
from coffre.operations.stored_backup.vault_backups import VaultBackups
from coffre.stores.directory import DirectoryStore
from coffre.vault.layout import manifest_key
from coffre.vault.points import read_seal


def unsealed(scene: Scene, made: PointRecord) -> None:
    scene.catalog.points.keep(made.model_copy(update={"sealed_at": None}))


def test_in_a_vault_alone_a_damaged_manifest_of_one_point_refuses_no_other(scene: Scene) -> None:
    old, *_ = point(scene, 8)
    new, database, _ = point(scene, 1)
    (scene.root / manifest_key("shop", database.id)).write_bytes(b"{}")

    alone = VaultBackups(scene.vault)

    assert [one.id for one in whole_points(alone)] == [old.id]
    assert find_point(alone, "latest").id == old.id
    [said] = missing_parts(alone, new)
    assert said.startswith(f"the backup {database.id} of shop cannot be read: ")


@pytest.mark.parametrize("wanted", ["latest", "shop"])
def test_the_newest_point_has_no_part_that_is_known_to_be_damaged(scene: Scene, wanted: str) -> None:
    old, *_ = point(scene, 8)
    new, _, files = point(scene, 1)
    scene.catalog.keeping.mark_damaged(files.id, "1 of 2 packs is missing", NOW)

    assert find_point(scene.catalog, wanted).id == old.id
    assert find_point(scene.catalog, new.id).id == new.id
    assert damaged_parts(scene.catalog, new) == [f"the backup {files.id} of blog is damaged: 1 of 2 packs is missing"]


def test_a_point_whose_last_part_could_not_seal_it_is_sealed_by_the_next(scene: Scene) -> None:
    waiting, *_ = point(scene, 3)
    scene.vault.store.delete(f"v1/points/shop/{waiting.id}.json")
    unsealed(scene, waiting)
    broken, *_, failed = point(scene, 2)
    unsealed(scene, broken)
    scene.catalog.keeping.delete(failed, "a test", NOW)
    newest, *_ = point(scene, 1)
    assert find_point(scene.catalog, "shop").id == newest.id

    scene.rotate()
    found = seal_earlier(scene.catalog, scene.vault, newest.name, NOW)

    assert [one.id for one in found] == [waiting.id]
    assert {one.id for one in whole_points(scene.catalog)} == {waiting.id, newest.id}
    assert read_seal(scene.vault.store, "shop", waiting.id) == scene.catalog.points.find(waiting.id)


def test_a_seal_that_the_catalog_does_not_know_stays_and_is_taken_over_by_a_rebuild(scene: Scene) -> None:
    made, *_ = point(scene, 3)
    unsealed(scene, made)

    scene.rotate()

    assert read_seal(scene.vault.store, "shop", made.id) == made
    with pytest.raises(TargetUnknownError, match="whole yet"):
        find_point(scene.catalog, "shop")
    assert [one.outcome for one in rebuild(scene.catalog, scene.vault)] == [KNOWN, KNOWN, ADDED]
    assert find_point(scene.catalog, "shop") == made


def test_in_a_vault_alone_what_cannot_be_read_of_one_backup_hides_no_other(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule of the bucket has put it into an archive class."""
    old, *_ = point(scene, 8)
    new, database, _ = point(scene, 1)
    archived = {manifest_key("shop", database.id), f"v1/points/shop/{new.id}.json"}
    get = DirectoryStore.get

    def reading(store: DirectoryStore, key: str, **options: Any) -> bytes:
        if key in archived or archived == set():
            raise StoreError(f"{key} is in an archive class.", code="OBJECT_ARCHIVED" if archived else "STORE_DENIED")
        return get(store, key, **options)

    monkeypatch.setattr(DirectoryStore, "get", reading)
    alone = VaultBackups(scene.vault)

    assert [one.id for one in alone.backups(target="shop")] == [old.database.backup_id]
    assert "OBJECT_ARCHIVED" in alone.problems[database.id]
    assert [one.id for one in whole_points(alone)] == [old.id]
    archived.clear()
    with pytest.raises(StoreError, match="archive"):  # which is refused for all of them
        list(VaultBackups(scene.vault).backups())
