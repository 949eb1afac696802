"""What a restore begins with: tables that one stream loads alone, in one transaction, before others in slices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest
from tests.integration.conftest import Coffre, run_sql

from coffre.model.manifest import Entry, Frame
from coffre.model.names import TableName
from coffre.operations.restore_database import load_plan as restore_plan
from coffre.operations.restore_database import load_transactions as restore_batches
from coffre.operations.restore_database.load_transactions import Unit, transactions
from coffre.vault.vault import Vault


def test_tables_for_one_stream_are_frozen_and_begun_before_a_large_one(
    coffre: Coffre, shop: str, new_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_sql(
        shop,
        "CREATE TABLE a_large AS SELECT g AS id, repeat('x', 100) AS text FROM generate_series(1, 20000) g",
        "CREATE TABLE z_small AS SELECT g AS id FROM generate_series(1, 100) g",
    )
    coffre.configure(shop)
    backup = coffre.backup()
    monkeypatch.setattr(restore_plan, "_SMALL_BYTES", 0)
    monkeypatch.setattr(restore_batches, "_SMALL_TABLE_BYTES", 0)
    begun = noted(monkeypatch)

    coffre.restore(backup["id"], new_database)

    assert begun[-1] == ["a_large"]
    assert ["z_small"] in begun[:-1]
    run_sql(new_database, "CREATE EXTENSION pg_visibility")
    query = "SELECT bool_and(all_frozen) FROM pg_visibility_map('{}')"
    assert run_sql(new_database, query.format("z_small")) == [(True,)]
    assert run_sql(new_database, query.format("a_large")) == [(False,)]


def noted(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Note the tables of each transaction, in the order in which they are begun."""
    begun: list[list[str]] = []

    def noted(slices: Iterable[Entry], units: Mapping[TableName, Unit]) -> Iterator[list[Entry]]:
        for batch in transactions(slices, units):
            begun.append([entry.relation.relation_name for entry in batch if entry.relation])
            yield batch

    monkeypatch.setattr("coffre.operations.restore_database.load_tables.transactions", noted)
    return begun


def test_small_tables_share_transactions_and_each_is_counted(
    coffre: Coffre, new_database: str, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"t{number:03}" for number in range(120)]
    run_sql(empty_database, *(f"CREATE TABLE {name} AS SELECT 1 AS id, '{name}' AS name" for name in names))
    run_sql(
        empty_database,
        "CREATE TABLE empty (id int)",
        "CREATE TABLE no_columns ()",
        "INSERT INTO no_columns DEFAULT VALUES",
    )
    coffre.configure(empty_database)
    backup = coffre.backup()
    begun = noted(monkeypatch)

    restored = coffre.restore(backup["id"], new_database)

    assert sorted(map(len, begun)) == [22, 50, 50]
    assert restored["rows"] == 121
    every_row = " UNION ALL ".join(f"SELECT name FROM {name}" for name in names)
    assert sorted(run_sql(new_database, every_row)) == [(name,) for name in names]
    assert run_sql(new_database, "SELECT count(*) FROM no_columns") == [(1,)]


def test_a_frame_that_small_tables_share_is_opened_once_for_all(
    coffre: Coffre, new_database: str, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_sql(empty_database, *(f"CREATE TABLE t{number:03} AS SELECT {number} AS id" for number in range(60)))
    coffre.configure(empty_database)
    backup = coffre.backup()
    opened: list[Frame] = []
    read_frame = Vault.read_frame

    def counted(vault: Vault, frame: Frame, *arguments: Any, **options: Any) -> tuple[bytes, bytes]:
        opened.append(frame)
        return read_frame(vault, frame, *arguments, **options)

    monkeypatch.setattr(Vault, "read_frame", counted)

    assert coffre.restore(backup["id"], new_database)["rows"] == 60

    assert len(opened) == 2  # the schema archive, and all tables
