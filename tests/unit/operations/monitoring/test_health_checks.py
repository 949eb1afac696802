"""Looking at backups, at all targets and at the vault: what is found, and what counts as looked at."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.operations.conftest import CONTENT, Scene

from coffre.alerts.alert import EVERY_TARGET, AlertKind
from coffre.model.alert_rules import TargetAlerts
from coffre.model.backup import Backup, Failure, Status
from coffre.model.configuration import Configuration
from coffre.model.kinds import Contents, TargetKind
from coffre.model.manifest import BucketSummary, PackReference, StorageContent, TableContent
from coffre.model.rotation import Amount, SweepReport
from coffre.operations.monitoring.health_checks import check_all_targets, measures, review_backup, review_vault
from coffre.operations.stored_backup.catalog_record import completed
from coffre.vault.codec import new_identity, public_key
from coffre.vault.layout import manifest_key

DAY = timedelta(days=1)
RECIPIENT = public_key(new_identity())
MINUTE_MS = 60_000
FAILURE = Failure(code="LOCK_TIMEOUT", message="A table is locked.")


def table(name: str, rows: int, **fields: Any) -> TableContent:
    return TableContent(oid=1, schema_name="public", table_name=name, columns=("a",), rows=rows, size=rows, **fields)


def content_of(**rows: int) -> Any:
    return CONTENT.model_copy(update={"tables": tuple(table(name, count) for name, count in rows.items())})


def buckets_of(**objects: int) -> StorageContent:
    summaries = tuple(BucketSummary(name=name, objects=count, size=0) for name, count in objects.items())
    return StorageContent(buckets=summaries, objects=sum(objects.values()), added=0, changed=0, removed=0)


def take(scene: Scene, age_days: float, content: Any = CONTENT, live: int = 60, **changes: Any) -> Backup:
    """Leave a completed backup with this content, which needs so many bytes of the vault."""
    kind = TargetKind.BUCKET if isinstance(content, StorageContent) else TargetKind.DATABASE
    record: dict[str, Any] = {
        name: changes.pop(name) for name in ("duration_ms", "exceptions", "target") if name in changes
    }
    begun = scene.begin(age_days, target=record.pop("target", "shop"), kind=kind)
    pack = PackReference(key=f"v1/packs/{begun.id}/000001-00000000-0000", length=live, sha256="0" * 64, live_bytes=live)
    manifest, _ = scene.commit(begun, (pack,))
    changed = manifest.model_copy(update={"content": content, "kind": kind, **changes})
    announce = scene.catalog.announce_manifest
    scene.vault.store.delete(manifest_key(begun.target, begun.id))
    committed = scene.vault.commit(changed, lambda made: announce(begun.id, made.key, made.sha256))
    done = completed(begun, changed, committed) if kind is TargetKind.DATABASE else _of_buckets(begun, committed)
    return scene.catalog.complete_backup(done.model_copy(update=record))


def _of_buckets(begun: Backup, committed: Any) -> Backup:
    fields = {"completed_at": begun.created_at, "manifest_key": committed.key, "manifest_sha256": committed.sha256}
    return begun.model_copy(update={"status": Status.COMPLETED, "plaintext_bytes": 0, **fields})


def told(scene: Scene, backup: Backup, **rules: Any) -> list[AlertKind]:
    review = review_backup(scene.catalog, scene.vault, TargetAlerts(**rules), backup)
    assert {kind for kind, _ in review.checked} >= {alert.kind for alert in review.alerts}
    assert {target for _, target in review.checked} == {backup.target}
    return [alert.kind for alert in review.alerts]


# --- one backup ---


def test_what_a_backup_needs_of_the_vault_is_compared_and_not_what_it_added(scene: Scene) -> None:
    for age in (4, 3, 2):
        take(scene, age, live=5_000_000, stored_bytes=4_999_999 if age == 4 else 10)

    assert told(scene, take(scene, 1, live=5_000_000, stored_bytes=3_000_000)) == []
    assert told(scene, take(scene, 0.5, live=9_000_000, stored_bytes=10)) == [AlertKind.SIZE_ANOMALY]


def test_tables_without_rows_by_choice_and_those_of_extensions_are_not_compared(scene: Scene) -> None:
    tables = (
        table("orders", 5),
        table("cache", 0, rows_excluded=True),
        table("spatial_ref_sys", 8500, of_extension=True),
    )
    backup = take(scene, 1, CONTENT.model_copy(update={"tables": tables, "contents": Contents.DATA}))
    manifest = scene.vault.read_manifest(backup.manifest_key or "", sha256=backup.manifest_sha256 or "")

    measured = measures(manifest)

    assert (dict(measured.counts), measured.scope, measured.plaintext_bytes) == ({"public.orders": 5}, "data", 1000)


def test_a_bucket_whose_objects_went_is_told_with_the_word_for_it(scene: Scene) -> None:
    for age in (4, 3, 2):
        take(scene, age, buckets_of(photos=50))
    emptied = take(scene, 1, buckets_of(photos=0))

    [alert] = review_backup(scene.catalog, scene.vault, TargetAlerts(), emptied).alerts

    assert "- photos: 0 objects, usually 50 (-100 %)" in alert.text


def test_backups_of_other_targets_and_younger_ones_are_not_compared(scene: Scene) -> None:
    for age in (5.0, 4.0, 3.0):
        take(scene, age, content_of(orders=50_000), target="blog")
    first = take(scene, 2, content_of(orders=10))
    for age in (1.5, 1.0, 0.5):
        take(scene, age, content_of(orders=50_000))

    assert told(scene, first) == []


def test_a_backup_that_took_long_is_told_by_the_limit_of_its_kind(scene: Scene) -> None:
    slow = take(scene, 2, duration_ms=31 * MINUTE_MS)
    buckets = take(scene, 1, buckets_of(photos=1), duration_ms=119 * MINUTE_MS)

    assert told(scene, slow) == [AlertKind.DURATION_EXCEEDED]
    assert told(scene, slow, duration_minutes=31) == []
    assert told(scene, buckets) == []


def test_exceptions_are_told_of_buckets_and_not_of_databases(scene: Scene) -> None:
    database = take(scene, 2, exceptions=("extension postgis is not restored",))
    buckets = take(scene, 1, buckets_of(photos=1), exceptions=("'photos/a' is not in this backup",))

    assert told(scene, database) == []
    assert told(scene, buckets) == [AlertKind.BACKUP_EXCEPTIONS]


def test_a_database_without_roles_is_told(scene: Scene) -> None:
    lacking = ("extension postgis is not restored", "Roles were not backed up: pg_dumpall was killed. (TOOL_KILLED)")
    backup = take(scene, 2, exceptions=lacking)

    (alert,) = review_backup(scene.catalog, scene.vault, TargetAlerts(), backup).alerts

    assert alert.kind is AlertKind.BACKUP_EXCEPTIONS
    assert "Roles were not backed up" in alert.text
    assert "postgis" not in alert.text


# --- all targets ---


def fleet(scene: Scene, **document: Any) -> tuple[dict[AlertKind, str], frozenset[tuple[AlertKind, str]]]:
    targets = [{"name": "shop", "secret": "s"}, {"name": "blog", "secret": "s"}]
    keys = {"encryption": "age", "recipients": [RECIPIENT]}
    configuration = Configuration.model_validate({"targets": targets, **keys, **document})
    review = check_all_targets(scene.catalog, configuration, scene.now)
    return {alert.kind: alert.target for alert in review.alerts}, review.checked


def test_a_fleet_in_order_is_looked_at_and_nothing_is_told(scene: Scene) -> None:
    take(scene, 1)

    alerts, checked = fleet(scene)

    assert alerts == {}
    assert checked == {
        (AlertKind.SUCCESS_RATE, "shop"),
        (AlertKind.SUCCESS_RATE, "blog"),
        (AlertKind.COPY_OVERDUE, "shop"),
        (AlertKind.COPY_OVERDUE, "blog"),
        (AlertKind.KEY_ROTATION_DUE, EVERY_TARGET),
        (AlertKind.ENCRYPTION_OFF, EVERY_TARGET),
    }


def test_a_target_whose_backups_fail_too_often_is_told_unless_nobody_asks(scene: Scene) -> None:
    for age in (5, 4):
        scene.failed(age)
    for age in (3, 2, 1):
        take(scene, age)

    assert fleet(scene)[0] == {AlertKind.SUCCESS_RATE: "shop"}
    assert fleet(scene, alerts={"success_rate_percent": 60})[0] == {}
    alerts, checked = fleet(scene, alerts={"success_rate_percent": None})
    assert alerts == {}
    assert (AlertKind.SUCCESS_RATE, "shop") in checked, "what was told before is over"


def test_keys_are_due_when_their_first_backup_is_old_even_if_it_is_gone(scene: Scene) -> None:
    first = take(scene, 100, recipients=(RECIPIENT,))
    review_backup(scene.catalog, scene.vault, TargetAlerts(), first)
    review_backup(scene.catalog, scene.vault, TargetAlerts(), take(scene, 1, recipients=(RECIPIENT,)))
    scene.catalog.keeping.delete(first, "old", scene.now)

    assert fleet(scene)[0] == {AlertKind.KEY_ROTATION_DUE: EVERY_TARGET}
    assert fleet(scene, alerts={"key_rotation_days": 101})[0] == {}
    assert fleet(scene, alerts={"key_rotation_days": None})[0] == {}
    own = {"recipients": [public_key(new_identity())]}
    targets = [{"name": "shop", "secret": "s", **own}, {"name": "blog", "secret": "s", "recipients": [RECIPIENT]}]
    assert fleet(scene, recipients=[], targets=targets)[0] == {AlertKind.KEY_ROTATION_DUE: EVERY_TARGET}
    assert fleet(scene, recipients=[RECIPIENT], targets=[{**one, **own} for one in targets])[0] == {}
    assert fleet(scene, recipients=[public_key(new_identity())])[0] == {}, "a key that is not used any more"


def test_encryption_that_is_off_is_told(scene: Scene) -> None:
    assert fleet(scene, encryption="none", recipients=[])[0] == {AlertKind.ENCRYPTION_OFF: EVERY_TARGET}


def test_a_run_that_goes_on_for_too_long_is_told_and_one_of_an_unknown_target_is_not(scene: Scene) -> None:
    scene.begin(31 / 1440, target="gone")
    assert fleet(scene)[0] == {}

    scene.begin(31 / 1440)
    alerts, checked = fleet(scene)

    assert alerts == {AlertKind.DURATION_EXCEEDED: "shop"}
    assert (AlertKind.DURATION_EXCEEDED, "shop") not in checked, "only its end says that it is over"


# --- the vault ---


@pytest.mark.parametrize(("quota", "is_told"), [(None, False), (1000, True), (1001, False)])
def test_the_vault_is_measured_after_what_went_is_gone(quota: int | None, is_told: bool) -> None:
    swept = SweepReport(
        packs=Amount(objects=9, size_bytes=850),
        packs_removed=Amount(objects=1, size_bytes=100),
        journal=Amount(objects=9, size_bytes=60),
        journal_removed=Amount(objects=1, size_bytes=10),
    )
    targets = [{"name": "shop", "secret": "s"}]
    configuration = Configuration.model_validate({"encryption": "none", "targets": targets, "vault_quota_bytes": quota})

    review = review_vault(swept, configuration)

    assert [alert.kind for alert in review.alerts] == ([AlertKind.QUOTA] if is_told else [])
    assert review.checked == {(AlertKind.QUOTA, EVERY_TARGET)}
