"""A target can name schemas and tables to take and to leave out, as `pg_dump` understands them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.contents import RoundTrip

from coffre_local.sample import fingerprint

_TABLES = ("public.orders", "public.order_lines", "app.users", "app.logs_2023", "app.logs_2024", '"App".t', "other.t")


@pytest.mark.parametrize(
    ("target", "taken"),
    [
        ({"schemas": {"include": ["app"]}}, {"app.users", "app.logs_2023", "app.logs_2024"}),
        ({"schemas": {"include": ['"App"', "oth*"]}}, {'"App".t', "other.t"}),
        ({"schemas": {"include": ["public"]}}, {"public.orders", "public.order_lines"}),
        ({"schemas": {"exclude": ["app", "other"]}}, {"public.orders", "public.order_lines", '"App".t'}),
        ({"tables": {"exclude": ["app.logs_*"]}}, set(_TABLES) - {"app.logs_2023", "app.logs_2024"}),
        ({"tables": {"include": ["public.order*"]}}, {"public.orders", "public.order_lines"}),
        ({"schemas": {"include": ["app"]}, "tables": {"exclude": ["*.users"]}}, {"app.logs_2023", "app.logs_2024"}),
    ],
)
def test_patterns_choose_what_is_taken(round_trip: RoundTrip, target: dict[str, Any], taken: set[str]) -> None:
    round_trip.fill("CREATE SCHEMA app", 'CREATE SCHEMA "App"', "CREATE SCHEMA other")
    for number, table in enumerate(_TABLES):
        round_trip.fill(
            f"CREATE TABLE {table} (id serial PRIMARY KEY)",
            f"INSERT INTO {table} SELECT generate_series(1, {number + 1})",
        )

    backup = round_trip.back_up(**target)
    report = round_trip.restore(backup)

    assert {table.table for table in report.tables} == taken
    copy, source = fingerprint(round_trip.copy), fingerprint(round_trip.source)
    assert len(copy) == len(taken)
    assert copy == {name: content for name, content in source.items() if name in copy}
