"""A worker of a spread backup: the hash of a record that is in the vault is added however long the catalog is away."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from coffre.model.errors import CatalogError
from coffre.operations.backup_database.spread.work import Group

NOW = datetime(2026, 11, 1, 3, tzinfo=UTC)


class Catalog:
    """A catalog that answers after a number of calls."""

    def __init__(self, away: int) -> None:
        self.away = away
        self.known: dict[int, str] = {}
        self.parts = self

    def add(self, backup_id: str, number: int, sha256: str, now: datetime) -> None:
        self.away -= 1
        if self.away >= 0:
            raise CatalogError("It does not answer.")
        self.known[number] = sha256


def group(catalog: Catalog, remaining_seconds: float, pauses: list[float]) -> Group:
    step = SimpleNamespace(
        catalog=catalog,
        header=SimpleNamespace(backup_id="01K9X0"),
        job=SimpleNamespace(now=lambda: NOW),
        remaining_seconds=lambda: remaining_seconds,
        pause=pauses.append,
    )
    return Group(step, 0)  # type: ignore[arg-type]


def test_a_catalog_that_is_away_is_waited_for() -> None:
    catalog, pauses = Catalog(away=20), list[float]()

    group(catalog, 600.0, pauses)._note(7, "sha")

    assert catalog.known == {7: "sha"}
    assert len(pauses) == 20


def test_a_function_without_time_left_does_not_wait() -> None:
    catalog, pauses = Catalog(away=20), list[float]()

    with pytest.raises(CatalogError):
        group(catalog, 60.0, pauses)._note(7, "sha")

    assert pauses == []
