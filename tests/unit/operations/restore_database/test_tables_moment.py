"""Partitions that are staged as one table: their changes are merged only where a key finds no row of another one."""

from __future__ import annotations

from coffre.operations.restore_database.tables_moment import together
from coffre.postgres.journal.changes import Delete, Insert, Row
from coffre.postgres.journal.definitions import Column, Table
from coffre.postgres.journal.pending import Pending

_COLUMNS = tuple(Column(0, name, "pg_catalog.int4", -1, "", "", 0) for name in ("a", "region"))


def staged(identity: str, name: str = "whole") -> Table:
    return Table(1, ("staging", name), "r", 1, 1, identity, ("a",), False, _COLUMNS)


def test_changes_of_two_partitions_with_the_same_key_are_not_merged() -> None:
    moved = {("public", "low"): staged("i"), ("public", "high"): staged("i"), ("public", "other"): staged("i", "other")}
    found = together(moved)
    assert found["public", "low"] is found["public", "high"]
    waiting = Pending(found["public", "low"])
    waiting.add(Insert(("public", "low"), Row(("a", "region"), ("1", "1"))), 2)
    waiting.add(Delete(("public", "high"), Row(("a",), ("1",))), 2)
    inserted, deleted = waiting.take()  # it removes two rows instead of one, and the replay stops
    assert (inserted.rows, deleted.rows, deleted.sql.split()[0]) == (1, 1, "DELETE")
    assert not found["public", "other"].has_further_keys

    by_key = together({("public", "low"): staged("d"), ("public", "high"): staged("d")})
    assert not by_key["public", "low"].has_further_keys
