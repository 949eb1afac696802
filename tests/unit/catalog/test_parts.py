"""What the records of finished parts are, as the catalog keeps them for a while."""

from __future__ import annotations

from datetime import timedelta

from tests.unit.catalog.conftest import NOON, RawTable

from coffre.catalog.catalog import Catalog

RUN, OTHER = "01JD0000000000000000000001", "01JD0000000000000000000002"


def test_the_records_of_a_run_are_found_by_their_numbers(catalog: Catalog) -> None:
    for number in (0, 7, 1_000_000):
        catalog.parts.add(RUN, number, f"{number:064x}", NOON)
    catalog.parts.add(OTHER, 1, "f" * 64, NOON)

    assert catalog.parts.of(RUN) == {number: f"{number:064x}" for number in (0, 7, 1_000_000)}
    assert catalog.parts.of(OTHER[:-1]) == {}


def test_they_expire_when_nothing_is_continued_from_them_any_more(catalog: Catalog, raw_table: RawTable) -> None:
    catalog.parts.add(RUN, 1, "f" * 64, NOON)

    (item,) = raw_table.scan()["Items"]
    assert item["expires_at_epoch"] == int((NOON + timedelta(days=2)).timestamp())
