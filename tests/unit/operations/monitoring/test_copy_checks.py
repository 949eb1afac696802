"""Copies that are late are reported for each destination and target, and that they are there again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.unit.operations.conftest import Scene

from coffre.alerts.alert import AlertKind
from coffre.model.backup import Backup
from coffre.model.configuration import Configuration
from coffre.model.copies import Copy, CopyStatus
from coffre.operations.monitoring.copy_checks import check_copies
from coffre.operations.monitoring.health_checks import check_all_targets

HOUR = 1 / 24


def configured(*copies: dict[str, Any], targets: tuple[str, ...] = ("shop",)) -> Configuration:
    return Configuration.model_validate(
        {
            "encryption": "none",
            "targets": [{"name": name, "secret": "s"} for name in targets],
            "copies": [{"store": {"type": "s3", "bucket": one["name"]}, **one} for one in copies],
        }
    )


def copied(scene: Scene, backup: Backup, to: str = "offsite", status: CopyStatus = CopyStatus.COMPLETED) -> None:
    record = Copy(destination=to, backup_id=backup.id, target=backup.target, status=status, started_at=scene.now)
    scene.catalog.copies.keep(record)


def late(scene: Scene, configuration: Configuration) -> list[tuple[str, str]]:
    review = check_copies(scene.catalog, configuration, scene.now)
    assert review.checked == {(AlertKind.COPY_OVERDUE, target.name) for target in configuration.targets}
    assert {alert.kind for alert in review.alerts} <= {AlertKind.COPY_OVERDUE}
    return [(alert.target, alert.fingerprint) for alert in review.alerts]


def test_a_backup_that_is_not_copied_in_time_is_reported_until_it_is(scene: Scene) -> None:
    configuration = configured({"name": "offsite"})
    copied(scene, scene.backup(1))
    newest = scene.backup(2 * HOUR)

    assert late(scene, configuration) == [("shop", "offsite")]
    copied(scene, newest, status=CopyStatus.FAILED)
    assert late(scene, configuration) == [("shop", "offsite")]
    copied(scene, newest)
    assert late(scene, configuration) == []


def test_each_destination_has_its_own_time(scene: Scene) -> None:
    configuration = configured({"name": "offsite"}, {"name": "disk", "complete_within_minutes": 10_080})
    old, _ = scene.backup(1), scene.backup(2 * HOUR)
    copied(scene, old)
    copied(scene, old, to="disk")

    assert late(scene, configuration) == [("shop", "offsite")]


def test_a_target_that_a_destination_does_not_have_is_not_missed_there(scene: Scene) -> None:
    configuration = configured({"name": "offsite", "targets": ["other"]}, targets=("shop", "other"))
    scene.backup(3)

    assert late(scene, configuration) == []


def test_a_copy_of_one_target_says_nothing_about_another(scene: Scene) -> None:
    configuration = configured({"name": "offsite"}, targets=("shop", "other"))
    copied(scene, scene.backup(1))
    scene.backup(20 * HOUR, target="other")

    assert late(scene, configuration) == []  # the first copy of a target has a day
    scene.now += timedelta(hours=7)
    assert late(scene, configuration) == [("other", "offsite")]


def test_what_replication_has_copied_is_known_after_the_daily_inventory(scene: Scene) -> None:
    configuration = configured({"name": "offsite", "copied_by": "replication"})
    copied(scene, scene.backup(2))
    scene.backup(20 * HOUR)
    assert late(scene, configuration) == []

    scene.backup(27 * HOUR)
    assert late(scene, configuration) == [("shop", "offsite")]


def test_the_hourly_check_of_all_targets_looks_at_copies(scene: Scene) -> None:
    configuration = configured({"name": "offsite"})
    copied(scene, scene.backup(1))
    scene.backup(2 * HOUR)

    review = check_all_targets(scene.catalog, configuration, scene.now)

    assert AlertKind.COPY_OVERDUE in {alert.kind for alert in review.alerts}
