from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from coffre.model.any_target import AnyTarget
from coffre.model.backup import Backup, Status
from coffre.model.configuration import Configuration
from coffre.model.kinds import TargetKind
from coffre.model.server import SeenDatabase
from coffre.policy.configured_since import Changed, last_changed
from coffre.policy.freshness import check_backup

# A Saturday; the newest backup is of the last Sunday
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
SUNDAY = datetime(2026, 11, 22, 2, tzinfo=UTC)
WEEKLY = {"expression": "cron(0 2 ? * SUN *)"}
WEDNESDAYS = {"expression": "cron(0 2 ? * WED *)"}


def document(**target: Any) -> Configuration:
    shop = {"name": "shop", "secret": "s"} | target
    return Configuration.model_validate({"encryption": "none", "targets": [shop, {"name": "crm", "secret": "s"}]})


def shop_of(configuration: Configuration) -> AnyTarget:
    return configuration.target("shop")


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def is_fresh(target: AnyTarget, changed: Changed | None, *taken_at: datetime) -> bool:
    backups = [
        Backup(
            id="B",
            target="shop",
            kind=TargetKind.DATABASE,
            tiers=(),
            status=Status.COMPLETED,
            created_at=at,
            started_at=at,
            completed_at=at,
        )
        for at in taken_at
    ]
    return check_backup(target, backups, NOW, lambda: changed).is_ok


def test_only_what_says_when_a_target_is_backed_up_counts() -> None:
    now = document(schedule=WEEKLY, retention={"daily_days": 30})
    before = document(schedule=WEEKLY)
    other = document(schedule=WEDNESDAYS)
    without = Configuration.model_validate({"encryption": "none", "targets": [{"name": "crm", "secret": "s"}]})
    target = shop_of(now)

    assert last_changed(target, [(ago(1), now), (ago(9), before), (ago(20), other)]) == Changed(ago(9), shop_of(other))
    assert last_changed(target, [(ago(1), now), (ago(9), before), (ago(20), without)]) == Changed(ago(9))
    assert last_changed(target, [(ago(1), now), (ago(9), None), (ago(20), before)]) == Changed(ago(1))
    assert last_changed(target, [(ago(1), now)]) == Changed(ago(1))
    assert last_changed(target, []) is None
    assert last_changed(target, [(ago(1), other)]) is None


def test_a_database_that_was_found_is_configured_since_its_server_is() -> None:
    server = {"name": "main", "secret": "s", "databases": {}}
    bare = Configuration.model_validate({"encryption": "none", "targets": [server]})
    seen = SeenDatabase(name="main_shop", server="main", database="shop", found_at=ago(1))
    [found] = bare.expanded([seen]).targets

    assert found.name == "main_shop"
    assert last_changed(found, [(ago(1), bare), (ago(9), bare)]) == Changed(ago(9))


@pytest.mark.parametrize("days", [0.1, 1, 2, 5])
def test_a_weekly_backup_is_not_overdue_because_something_else_was_changed(days: float) -> None:
    now, other = document(schedule=WEEKLY), document(schedule=WEEKLY, retention={"daily_days": 30})
    target = shop_of(now)

    changed = last_changed(target, [(ago(days), now), (ago(90), other)])

    assert is_fresh(target, changed, SUNDAY)
    assert not is_fresh(target, changed, SUNDAY - timedelta(hours=1))
    # nor where nothing is known of the time before: a deployment with another document
    assert is_fresh(target, Changed(ago(days)), SUNDAY)


def test_after_another_schedule_what_was_young_enough_is_so_until_its_first_time() -> None:
    target, before = shop_of(document(schedule=WEDNESDAYS)), shop_of(document(schedule=WEEKLY))

    assert is_fresh(target, Changed(ago(2), before), SUNDAY)
    assert not is_fresh(target, Changed(ago(2), before), SUNDAY - timedelta(days=7))
    assert not is_fresh(target, Changed(ago(5), before), SUNDAY), "a Wednesday has passed"


def test_a_target_that_never_had_a_backup_is_overdue_however_often_the_document_changes() -> None:
    documents = [(ago(days), document(retention={"daily_days": 30 + days})) for days in range(10)]
    target = shop_of(documents[0][1])

    assert is_fresh(target, last_changed(target, documents[:1]))
    assert is_fresh(target, last_changed(target, documents[:2]))
    assert not is_fresh(target, last_changed(target, documents))
