"""A backup that several functions take together, in real PostgreSQL: it is what one function would have stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.conftest import Coffre, run_sql
from tests.integration.spread_machine import SpreadMachine, spread_machine

from coffre.model.backup import Status
from coffre.model.manifest import Entry, EntryKind, Manifest

ALWAYS = {"limits": {"spread": "always", "streams": 4}}


@pytest.fixture
def machine(coffre: Coffre, monkeypatch: pytest.MonkeyPatch) -> Iterator[SpreadMachine]:
    with spread_machine(coffre, monkeypatch) as machine:
        yield machine


def entries_of(coffre: Coffre, backup_id: str) -> tuple[Manifest, list[Entry]]:
    vault = coffre.backup_function().services.vault
    found = vault.find_manifest("shop", backup_id)
    assert found is not None
    return found[0], list(vault.entries(found[0]))


def hashes(entry: Entry) -> tuple[Any, ...]:
    # An archive has the time in it at which it was made.
    is_archive = entry.kind in (EntryKind.SCHEMA, EntryKind.LARGE_OBJECTS)
    return entry.name, entry.kind, entry.size, None if is_archive else entry.sha256, entry.rows, entry.relation


def test_a_spread_backup_has_what_one_function_stores(coffre: Coffre, shop: str, machine: SpreadMachine) -> None:
    # Given a backup that one function took, and large objects
    run_sql(shop, "SELECT lo_from_bytea(0, 'a large object')")
    coffre.configure(shop, target={"limits": {"spread": "never"}})
    alone, alone_entries = entries_of(coffre, coffre.backup()["id"])

    # When several take one, and share nothing with it
    coffre.configure(shop, target=ALWAYS)
    answer = coffre.backup(full=True)
    assert machine.wait() == "SUCCEEDED"

    # Then it is the same, and it was spread
    backup = coffre.catalog.get_backup(answer["id"])
    assert backup.status is Status.COMPLETED
    manifest, entries = entries_of(coffre, backup.id)
    assert [hashes(entry) for entry in entries] == [hashes(entry) for entry in alone_entries]
    assert manifest.database.tables == alone.database.tables
    assert manifest.rows == alone.rows
    assert manifest.plaintext_bytes == alone.plaintext_bytes
    assert backup.spread == "limits.spread is always."
    assert backup.workers == machine.given["width"]
    assert machine.invoked["work-1"] == 1
