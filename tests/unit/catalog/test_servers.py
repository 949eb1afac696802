"""Databases of servers in the catalog: a name belongs to one database, and is never lost."""

from __future__ import annotations

from datetime import datetime, timedelta

from coffre.catalog.catalog import Catalog
from coffre.model.server import SeenDatabase


def test_what_is_found_comes_back(catalog: Catalog, now: datetime) -> None:
    odd = SeenDatabase("shop-odd-0123456789", "shop", 'O"dd 漢\\🐘', now)

    assert catalog.servers.add(odd) == odd

    assert catalog.servers.find(odd.name) == odd
    assert list(catalog.servers.seen()) == [odd]
    assert catalog.servers.find("shop-other") is None


def test_a_name_that_is_taken_is_not_taken_again(catalog: Catalog, now: datetime) -> None:
    first = SeenDatabase("shop-a", "shop", "a", now)
    catalog.servers.add(first)

    assert catalog.servers.add(SeenDatabase("shop-a", "sh", "op_a", now + timedelta(days=1))) == first
    assert catalog.servers.add(SeenDatabase("shop-a", "shop", "a", now + timedelta(days=1))) == first


def test_only_one_run_marks_a_database_as_gone_or_there_again(catalog: Catalog, now: datetime) -> None:
    first = catalog.servers.add(SeenDatabase("shop-a", "shop", "a", now))

    assert catalog.servers.mark(first, now)
    assert not catalog.servers.mark(first, now + timedelta(minutes=1))
    gone = catalog.servers.find("shop-a")
    assert gone is not None
    assert gone.gone_since == now
    assert catalog.servers.mark(gone, None)
    assert catalog.servers.find("shop-a") == first


def test_ticks_go_forward_only(catalog: Catalog, now: datetime) -> None:
    assert catalog.ticks.last("backup_database") is None

    catalog.ticks.advance("backup_database", now)
    catalog.ticks.advance("backup_database", now - timedelta(minutes=5))

    assert catalog.ticks.last("backup_database") == now
    assert catalog.ticks.last("backup_storage") is None
