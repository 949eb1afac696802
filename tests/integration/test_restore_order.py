"""What a restore begins with: tables that one stream loads alone, in one transaction, before others in slices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest
from tests.integration.conftest import Coffre, run_sql

from coffre.model.manifest import Entry
from coffre.operations import restore_load


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
    begun: list[str] = []
    batches_of = restore_load._batches

    def noted(slices: Iterable[Entry], belongs_together: Callable[[Entry], bool]) -> Iterator[list[Entry]]:
        for batch in batches_of(slices, belongs_together):
            assert batch[0].relation is not None
            begun.append(batch[0].relation.relation_name)
            yield batch

    monkeypatch.setattr(restore_load, "_batches", noted)
    monkeypatch.setattr(restore_load, "_SMALL_BYTES", 0)

    coffre.restore(backup["id"], new_database)

    assert begun[-1] == "a_large"
    assert "z_small" in begun[:-1]
    run_sql(new_database, "CREATE EXTENSION pg_visibility")
    query = "SELECT bool_and(all_frozen) FROM pg_visibility_map('{}')"
    assert run_sql(new_database, query.format("z_small")) == [(True,)]
    assert run_sql(new_database, query.format("a_large")) == [(False,)]
