"""A new stack, with an empty catalog, takes over the vault of an older one (docs/runbooks/ADOPT_A_VAULT.md)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.catalog_table import create_table
from tests.integration.conftest import Coffre, run_sql

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Status, Tier
from coffre.operations.admin.catalog_rebuild import ADDED, KNOWN, rebuild
from coffre.runtime import rotate_function

ROWS = "SELECT count(*), sum(id), min(note) FROM orders"
NEW_TABLE = "catalog-of-the-new-stack"


def packs(coffre: Coffre) -> dict[str, bytes]:
    return coffre.objects("v1/packs/")


def test_a_new_stack_goes_on_with_an_older_vault(
    coffre: Coffre, shop: str, new_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a vault with two backups, one of them pinned, and a new stack whose catalog is empty
    coffre.configure(shop)
    first = coffre.backup()["id"]
    coffre.catalog.keeping.pin(first, datetime.now(UTC))
    coffre.backup_function().services.vault.mark_pin("shop", first, datetime.now(UTC))
    second = coffre.backup(tier=Tier.WEEKLY)["id"]
    expected, stored = run_sql(shop, ROWS), packs(coffre)
    create_table(NEW_TABLE)
    coffre.environment["COFFRE_CATALOG_TABLE"] = NEW_TABLE
    catalog = Catalog(NEW_TABLE)

    # When its rotation runs, much later, before anybody rebuilt the catalog
    later = datetime.now(UTC) + timedelta(days=400)
    with monkeypatch.context() as clock:
        clock.setattr(rotate_function, "utc_now", lambda: later)
        early = coffre.rotate()
    # Then nothing is gone, and it says what to do
    assert packs(coffre) == stored
    assert {problem["code"] for problem in early["sweep"]["problems"]} == {"MANIFEST_UNLISTED"}
    assert "coffre catalog rebuild" in early["sweep"]["problems"][0]["text"]

    # When the catalog is filled
    vault = coffre.restore_function().services.vault
    assert [one.outcome for one in rebuild(catalog, vault)] == [ADDED, ADDED]
    assert [one.outcome for one in rebuild(catalog, vault)] == [KNOWN, KNOWN]

    # Then rotation finds nothing wrong, and deletes nothing that is not verified anew
    with monkeypatch.context() as clock:
        clock.setattr(rotate_function, "utc_now", lambda: later)
        assert coffre.rotate()["sweep"]["problems"] == []
    assert packs(coffre) == stored
    # The old backups are restored, verified, and pinned as they were
    assert coffre.restore(second, new_database)["status"] == "COMPLETED"
    assert run_sql(new_database, ROWS) == expected
    assert [one["outcome"] for one in coffre.verify("read", target="shop")["examined"]] == ["verified", "verified"]
    assert catalog.get_backup(first).pinned_at is not None
    create_table("catalog-of-a-third-stack")
    third_stack = Catalog("catalog-of-a-third-stack")
    assert {one.outcome for one in rebuild(third_stack, vault)} == {ADDED}
    assert third_stack.get_backup(second).verified_at == catalog.get_backup(second).verified_at is not None
    # And the next backup, by the new stack, points at what is there
    third = coffre.backup()["id"]
    assert catalog.get_backup(third).status is Status.COMPLETED
    written = sum(len(body) for key, body in packs(coffre).items() if key not in stored)
    assert written < sum(map(len, stored.values())) / 4
