"""The function `drill`: real backups, restored into a real server of its own, compared, and told."""

from __future__ import annotations

from tests.integration.conftest import Coffre


def test_a_good_backup_passes_and_is_verified(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    made = coffre.backup()

    answer = coffre.drill()

    assert (answer["outcome"], answer["backup_id"], answer["rows"]) == ("passed", made["id"], 1050)
    assert coffre.catalog.get_backup(made["id"]).verified_at is not None
    assert coffre.alerts() == []
