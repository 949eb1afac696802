"""The function verify reports a missed objective once, and that it is over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from moto import mock_aws
from tests.catalog_table import create_table
from tests.unit.policy.safety_scene import NOW, drill, run

from coffre.alerts.alert import AlertKind
from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Status
from coffre.model.configuration import Configuration
from coffre.runtime.verify_objectives import review_of_objectives


@pytest.fixture
def catalog(monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalog]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        create_table("catalog", region="eu-west-1")
        yield Catalog("catalog", region="eu-west-1", now=lambda: NOW)


def configuration(**fields: Any) -> Configuration:
    target = {"name": "shop", "secret": "coffre/database/shop", **fields}
    return Configuration.model_validate({"encryption": "none", "targets": [target]})


def keep(catalog: Catalog, backup: Backup) -> None:
    catalog.create_backup(backup.model_copy(update={"status": Status.IN_PROGRESS}))
    manifest = {"manifest_key": f"v1/backups/shop/{backup.id}/manifest.json", "manifest_sha256": "a" * 64}
    catalog.complete_backup(backup.model_copy(update=manifest))


def test_a_gap_of_the_last_day_is_reported_and_one_before_is_not(catalog: Catalog) -> None:
    hourly = configuration(objectives={"rpo_minutes": 60})
    for age in (50, 30.0, 20.0, *(float(hour) for hour in range(20))):
        keep(catalog, run(age))

    now = review_of_objectives(catalog, hourly, NOW)
    later = review_of_objectives(catalog, hourly, NOW + timedelta(minutes=30))
    tomorrow = review_of_objectives(catalog, configuration(objectives={"rpo_minutes": 1440}), NOW)

    assert [alert.fingerprint for alert in now.alerts] == ["RPO"]
    assert "- up to 10 h between backups (objective 1 h): MISSED" in now.alerts[0].text
    assert now.alerts[0].kind.is_notified_once
    assert later.alerts == now.alerts
    assert not tomorrow.alerts
    assert tomorrow.checked == {(AlertKind.OBJECTIVE_MISSED, "shop")}


def test_a_target_without_a_backup_for_weeks_has_missed_its_objective(catalog: Catalog) -> None:
    keep(catalog, run(24 * 20))

    found = review_of_objectives(catalog, configuration(objectives={"rpo_minutes": 60}), NOW)

    assert "- up to 20 days between backups (objective 1 h): MISSED" in found.alerts[0].text


def test_a_slow_restore_is_reported_unless_the_drill_does_that_itself(catalog: Catalog) -> None:
    catalog.latest.note_drill(drill(restore_seconds=1200.0))

    own = review_of_objectives(catalog, configuration(objectives={"rto_minutes": 15}), NOW)
    of_drill = review_of_objectives(catalog, configuration(drill={"rto_minutes": 15}), NOW)

    assert [alert.fingerprint for alert in own.alerts] == ["RTO"]
    assert not of_drill.alerts


def test_without_objectives_nothing_is_read_and_an_old_alert_ends() -> None:
    found = review_of_objectives(None, configuration(), NOW)  # type: ignore[arg-type]

    assert not found.alerts
    assert found.checked == {(AlertKind.OBJECTIVE_MISSED, "shop")}
