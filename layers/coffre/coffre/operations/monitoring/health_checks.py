"""Health checks: of one backup, of all targets, of the vault."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from coffre.alerts.alert import EVERY_TARGET, Alert, AlertKind
from coffre.alerts.anomalies import (
    duration_exceeded,
    encryption_off,
    key_rotation_due,
    quota_near,
    size_anomaly,
    success_rate_low,
)
from coffre.alerts.runs import backup_exceptions
from coffre.catalog.catalog import Catalog
from coffre.model.alert_rules import TargetAlerts
from coffre.model.any_target import AnyTarget, is_gone
from coffre.model.audit import Actor
from coffre.model.backup import NO_POINT, NO_ROLES, Backup, Status
from coffre.model.configuration import Configuration
from coffre.model.errors import CatalogError, CoffreError
from coffre.model.kinds import TargetKind
from coffre.model.manifest import DatabaseContent, Manifest
from coffre.model.rotation import SweepReport
from coffre.operations.monitoring.alerting import Review, what_is_safe
from coffre.operations.monitoring.copy_checks import check_copies
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.policy.anomaly import (
    COMPARED,
    RATE_DAYS,
    Measures,
    deviations,
    is_near_quota,
    keys_due,
    longest,
    success_rates,
)
from coffre.policy.recency import completion
from coffre.vault.vault import Vault

_ACTOR: Final = Actor("backup", verified=True)
_NOUNS: Final = {
    TargetKind.DATABASE: "rows",
    TargetKind.BUCKET: "objects",
    TargetKind.SETTINGS: "settings",
    TargetKind.REPOSITORY: "refs, bundles and LFS objects",
}
_OF_A_BACKUP: Final = (AlertKind.DURATION_EXCEEDED, AlertKind.BACKUP_EXCEPTIONS, AlertKind.SIZE_ANOMALY)


def review_backup(catalog: Catalog, vault: Vault, rules: TargetAlerts, backup: Backup) -> Review:
    """Check a completed backup: its size, its duration, its exceptions.

    Reads its manifest and those of the `COMPARED` backups before, one at a time. Stores the keys that it was encrypted
    to: `check_all_targets` reports keys that have been in use for too long.

    Raises
    ------
    CoffreError
        The catalog or the vault did not answer: the result is unknown.
    """
    manifest = manifest_of(vault, backup)
    for recipient in manifest.recipients:
        _note_key(catalog, recipient, backup)
    alerts = [*_slow(backup, rules), *_exceptions(backup)]
    if rules.size_change_percent is not None:
        alerts += _sizes(catalog, vault, rules.size_change_percent, backup, manifest)
    return Review(tuple(alerts), frozenset((kind, backup.target) for kind in _OF_A_BACKUP))


def check_all_targets(catalog: Catalog, configuration: Configuration, now: datetime) -> Review:
    """Check all targets: success rates, runs that take too long, late copies, the age of keys, disabled encryption.

    Meant to be called hourly; it reads the records of the last 30 days.

    Raises
    ------
    CoffreError
        The catalog did not answer.
    """
    rates = _rates(catalog, configuration, now)
    running = _running(catalog, configuration, now)
    keys = _keys(catalog, configuration, now)
    off = (encryption_off(),) if configuration.encryption == "none" else ()
    encryption = Review(off, frozenset({(AlertKind.ENCRYPTION_OFF, EVERY_TARGET)}))
    copies = check_copies(catalog, configuration, now)
    return rates.plus(Review(tuple(running))).plus(copies).plus(keys).plus(encryption)


def review_vault(swept: SweepReport, configuration: Configuration) -> Review:
    """Check the size of the vault, after a sweep has measured it."""
    quota = configuration.vault_quota_bytes
    used = swept.held_bytes
    alerts = (quota_near(used, quota),) if quota is not None and is_near_quota(used, quota) else ()
    return Review(alerts, frozenset({(AlertKind.QUOTA, EVERY_TARGET)}))


# --- one backup ---


def _note_key(catalog: Catalog, recipient: str, backup: Backup) -> None:
    """Remember a key, and record that it is new. If that is not possible now, the next backup does it."""
    if catalog.recipients.first_used(recipient) is not None:
        return
    at, detail = backup.completed_at or backup.created_at, f"first used by the backup {backup.id}"
    with contextlib.suppress(CatalogError):
        catalog.audit.record(at, _ACTOR, "key.first_used", backup.target, recipient, detail)
        catalog.recipients.note_use(recipient, backup.created_at)


def _slow(backup: Backup, rules: TargetAlerts) -> Iterator[Alert]:
    limit = longest(backup.kind, rules.duration_minutes)
    took = timedelta(milliseconds=backup.duration_ms or 0)
    if took > limit:
        yield duration_exceeded(backup, took=took, limit=limit)


def _exceptions(backup: Backup) -> Iterator[Alert]:
    # Most exceptions of a database say what its restore will lack, and stay the same: `coffre show` lists them. Missing
    # roles and a missing restore point are no property of the database.
    notified = backup.exceptions if backup.kind.has_objects else tuple(filter(_is_notified, backup.exceptions))
    if notified:
        yield backup_exceptions(backup.model_copy(update={"exceptions": notified}))


def _is_notified(exception: str) -> bool:
    return exception.startswith((NO_ROLES, NO_POINT))


def _sizes(catalog: Catalog, vault: Vault, change_percent: int, backup: Backup, manifest: Manifest) -> Iterator[Alert]:
    own, completed = completion(backup), catalog.completed_backups(backup.target)
    before = [one for one in completed if completion(one) < own and not one.is_safety][:COMPARED]
    found = deviations(measures(manifest), list(measured(vault, before)), change_percent)
    if found:
        yield size_anomaly(backup, found, before=before[0], compared=len(before), noun=_NOUNS[backup.kind])


def measured(vault: Vault, backups: Iterable[Backup]) -> Iterator[Measures]:
    """Yield the measures of backups, without those that cannot be read."""
    for backup in backups:
        try:
            manifest = manifest_of(vault, backup)
        except CoffreError:
            continue  # rotation and verification report it
        yield measures(manifest)


def measures(manifest: Manifest) -> Measures:
    """Return the measures of a backup that are compared with those of others.

    What a backup *added* to the vault depends on the changes since the previous one, so it is not comparable. What it
    *needs* of the vault, including packs of other backups, is comparable for full and incremental backups.
    """
    content = manifest.content
    if isinstance(content, DatabaseContent):
        counts = {
            f"{table.schema_name}.{table.table_name}": table.rows
            for table in content.tables
            if not table.rows_excluded and not table.of_extension
        }
        scope = content.contents.value
    else:
        counts = {bucket.name: bucket.objects for bucket in content.buckets}
        scope = "bucket"
    needed = sum(pack.live_bytes for pack in manifest.packs)
    return Measures(manifest.plaintext_bytes, needed, counts, scope)


# --- all of them ---


def _rates(catalog: Catalog, configuration: Configuration, now: datetime) -> Review:
    wanted = configuration.alerts.success_rate_percent
    names = [target.name for target in configuration.targets if not is_gone(target)]
    checked = frozenset((AlertKind.SUCCESS_RATE, name) for name in names)
    if wanted is None:
        return Review((), checked)
    rates = success_rates(catalog.backups(since=now - timedelta(days=RATE_DAYS)), now)
    low = {name: rates[name] for name in names if name in rates and rates[name].is_low(wanted)}
    alerts = (
        success_rate_low(name, rate, wanted_percent=wanted, safe=what_is_safe(catalog, name))
        for name, rate in low.items()
    )
    return Review(tuple(alerts), checked)


def _running(catalog: Catalog, configuration: Configuration, now: datetime) -> Iterator[Alert]:
    """Find runs that take too long. The check of the completed backup ends such an alert."""
    targets: dict[str, AnyTarget] = {target.name: target for target in configuration.targets}
    for backup in catalog.backups(status=Status.IN_PROGRESS):
        if (target := targets.get(backup.target)) is not None:
            limit, took = longest(target.kind, target.alerts.duration_minutes), now - backup.created_at
            if took > limit:
                yield duration_exceeded(backup, took=took, limit=limit)


def _keys(catalog: Catalog, configuration: Configuration, now: datetime) -> Review:
    checked = frozenset({(AlertKind.KEY_ROTATION_DUE, EVERY_TARGET)})
    days = configuration.alerts.key_rotation_days
    if days is None:
        return Review((), checked)
    known = {key: catalog.recipients.first_used(key) for key in configuration.all_recipients}
    due = keys_due({key: since for key, since in known.items() if since is not None}, days, now)
    return Review((key_rotation_due(due, days),) if due else (), checked)
