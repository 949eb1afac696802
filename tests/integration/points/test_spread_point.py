"""A restore point whose database several functions back up together."""

from __future__ import annotations

import pytest
from tests.integration.conftest import with_password
from tests.integration.points.test_points import QUERY, Documents, client, documents, scene
from tests.integration.points_scene import PointScene
from tests.integration.spread_machine import spread_machine

from coffre.model.backup import Status

__all__ = ["client", "documents", "scene"]


def test_references_are_those_of_the_snapshot_and_the_point_is_sealed(
    scene: PointScene, documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents.versioned()
    for key in ("kept", "changed", "deleted"):
        documents.put(key, f"{key} at first".encode())
    scene.configure(with_password(documents.database), {"spread": "always", "streams": 4}, objects=QUERY)

    def meanwhile() -> None:
        documents.put("changed", b"changed later")
        documents.delete("deleted")
        documents.put("later", b"made later")

    with spread_machine(scene.coffre, monkeypatch) as machine:
        machine.faults.before["work-0"] = meanwhile
        answer = scene.backup_database(point="shop")
        assert machine.wait() == "SUCCEEDED", machine.errors
    scene.run_started()

    backup = scene.coffre.catalog.get_backup(answer["id"])
    assert (backup.status, backup.spread) == (Status.COMPLETED, "limits.spread is always.")
    point = scene.newest()
    assert point.sealed_at is not None
    assert (point.references, point.dangling, point.orphans) == (3, 0, 2)
    assert scene.bodies(point) == {
        "changed": b"changed at first",
        "deleted": b"deleted at first",
        "kept": b"kept at first",
        "later": b"made later",
        "no-row": b"no row",
    }
