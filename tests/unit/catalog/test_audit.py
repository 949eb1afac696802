"""Who did what, when."""

from datetime import datetime, timedelta
from typing import Any

from coffre.catalog.catalog import Catalog


def test_events_come_back_newest_first_as_they_were(catalog: Catalog, now: datetime) -> None:
    first = catalog.audit.record(
        now, "arn:aws:iam::1:user/ana", "restore.started", "shop", "01R", "into a new database"
    )
    last = catalog.audit.record(now + timedelta(seconds=1), "rotate", "configuration.read")
    assert list(catalog.audit.events()) == [last, first]
    assert (first.at, first.subject, last.target, last.detail) == (now, "01R", None, None)


def test_events_are_found_by_target_and_by_time(catalog: Catalog, now: datetime) -> None:
    events = [
        catalog.audit.record(now + timedelta(hours=hour), "rotate", "backup.deleted", target, "01B", "too old")
        for hour in range(3)
        for target in ("shop", "blog")
    ]
    shop = [event for event in reversed(events) if event.target == "shop"]
    assert list(catalog.audit.events(target="shop")) == shop
    assert list(catalog.audit.events(target="shop", since=now + timedelta(hours=1))) == shop[:2]
    assert len(list(catalog.audit.events(since=now + timedelta(hours=2)))) == 2
    assert list(catalog.audit.events(target="other")) == []


def test_events_of_one_instant_are_all_kept(catalog: Catalog, now: datetime) -> None:
    for number in range(250):
        catalog.audit.record(now, "rotate", "backup.deleted", "shop", str(number))
    assert {event.subject for event in catalog.audit.events()} == {str(number) for number in range(250)}


def test_events_do_not_expire(catalog: Catalog, now: datetime, raw_table: Any) -> None:
    event = catalog.audit.record(now, "rotate", "backup.deleted", "shop")
    item = raw_table.get_item(Key={"pk": "AUDIT", "sk": event.id})["Item"]
    assert set(item) == {"pk", "sk", "at", "actor", "action", "target", "target_key"}
