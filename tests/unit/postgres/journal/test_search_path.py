"""The search paths that a table's changes are tried under."""

from __future__ import annotations

from unittest.mock import MagicMock

import psycopg2.errors
import pytest

from coffre.postgres.journal.search_path import AnotherPath, Paths

ITEM = ("public", "item")


def test_a_row_that_is_refused_later_is_refused_for_its_own_reason() -> None:
    paths = Paths(lambda _: ["shop"])
    hidden, later = (
        psycopg2.errors.UndefinedFunction("no function"),
        psycopg2.errors.NumericValueOutOfRange("too large"),
    )
    with pytest.raises(AnotherPath):
        paths.refused(ITEM, hidden)
    with paths.under(MagicMock(), ITEM):
        pass

    assert paths.refused(ITEM, later) is later


def test_what_no_path_helps_is_refused_for_the_reason_under_ours() -> None:
    paths = Paths(lambda _: ["shop"])
    first, second = psycopg2.errors.UndefinedFunction("no function"), psycopg2.errors.UndefinedTable("no table")
    with pytest.raises(AnotherPath):
        paths.refused(ITEM, first)

    assert paths.refused(ITEM, second) is first
