"""What is remembered of problems: one item for each, changed only by whoever has seen its last state."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.unit.catalog.conftest import NOON, RawTable

from coffre.catalog.catalog import Catalog
from coffre.catalog.tables import ConditionFailedError
from coffre.model.errors import CatalogError, IntegrityError
from coffre.model.incident import Incident


def incident(**fields: Any) -> Incident:
    known: dict[str, Any] = {
        "target": "shop",
        "kind": "BACKUP_FAILED",
        "fingerprint": "LOCK_TIMEOUT",
        "subject": "Backup of shop FAILED",
        "since": NOON,
        "seen_at": NOON,
    }
    return Incident(**{**known, **fields})


def find(catalog: Catalog, wanted: Incident) -> Incident | None:
    return catalog.incidents.find(wanted.target, wanted.kind, wanted.fingerprint)


@pytest.mark.parametrize("ended_at", [None, NOON + timedelta(days=1)])
@pytest.mark.parametrize("fingerprint", ["", "LOCK_TIMEOUT", "a#b"])
def test_what_was_written_is_read(catalog: Catalog, fingerprint: str, ended_at: datetime | None) -> None:
    made = incident(fingerprint=fingerprint, told_at=NOON, claimed_at=NOON, seen=7, ended_at=ended_at)

    assert catalog.incidents.replace(None, made)

    assert find(catalog, made) == made


def test_only_one_of_two_who_saw_the_same_can_change_it(catalog: Catalog) -> None:
    assert catalog.incidents.replace(None, incident())
    seen = find(catalog, incident())

    assert catalog.incidents.replace(seen, incident(seen=2))
    assert not catalog.incidents.replace(seen, incident(seen=3))
    assert not catalog.incidents.replace(None, incident(seen=4))

    assert (find(catalog, incident()) or incident()).seen == 2


def test_a_write_whose_answer_was_lost_and_was_repeated_counts(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise whoever claimed the problem would think that another tells people, and nobody would."""
    put = catalog._table.put

    def put_twice(item: Any, condition: Any = None) -> None:
        put(item, condition)
        raise ConditionFailedError(repeated=True)

    monkeypatch.setattr(catalog._table, "put", put_twice)

    assert catalog.incidents.replace(None, incident(claimed_at=NOON))
    assert not catalog.incidents.replace(incident(version=7), incident(claimed_at=NOON + timedelta(seconds=1)))


def test_those_that_go_on_are_listed_of_one_target_or_of_all(catalog: Catalog) -> None:
    shop, shops = incident(), incident(target="shop-2")
    every = incident(target="-", kind="CONFIG_INVALID")
    over = incident(fingerprint="OTHER", ended_at=NOON)
    for one in (shop, shops, every, over):
        assert catalog.incidents.replace(None, one)

    assert list(catalog.incidents.open("shop")) == [shop]
    assert list(catalog.incidents.open("-")) == [every]
    assert {one.target for one in catalog.incidents.open()} == {"shop", "shop-2", "-"}


def test_a_damaged_item_is_an_error_that_names_it(catalog: Catalog, raw_table: RawTable) -> None:
    raw_table.put_item(Item={"pk": "ALERT", "sk": "shop#QUOTA#", "target": "shop"})

    with pytest.raises(IntegrityError, match="ALERT / shop#QUOTA#"):
        catalog.incidents.find("shop", "QUOTA", "")


def test_a_table_that_does_not_answer_is_said(aws: None) -> None:
    with pytest.raises(CatalogError):
        Catalog("not-there").incidents.find("shop", "QUOTA", "")
