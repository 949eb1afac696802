"""Which backups a person may delete without saying that it is meant."""

from __future__ import annotations

import pytest
from tests.unit.operations.conftest import Scene

from coffre.model.backup import Tier
from coffre.model.document import Document
from coffre.model.errors import BackupStateError
from coffre.operations.admin.pin_and_delete import BackupAdmin


def test_what_a_restore_replaced_takes_the_place_of_no_regular_backup(scene: Scene) -> None:
    regular = scene.backup(2)
    replaced = scene.backup(0.5, Tier.SAFETY, verified=False)
    admin = BackupAdmin(scene.catalog, scene.vault, "ada", scene.now)

    with pytest.raises(BackupStateError) as refused:
        admin.delete(regular.id)

    assert refused.value.code == "BACKUP_NEEDED"
    assert "the only backup" in refused.value.message
    lost = admin.deletion_plan(regular, Document()).seen.overwrites
    assert (lost.remaining_backups, lost.newest_remaining) == (0, None)
    # Of what was replaced a regular one is left
    assert admin.delete(replaced.id).deleted_at == scene.now
