"""Accesses to the vault, looked at by the function `verify` each time it checks freshness (docs/accesses.md)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from coffre.alerts.accesses import accesses_unknown, vault_accessed
from coffre.alerts.alert import EVERY_TARGET, Alert, AlertKind
from coffre.alerts.wording import because, moment
from coffre.model.access import AccessReport
from coffre.model.backup import Failure
from coffre.model.configuration import Configuration
from coffre.model.errors import CoffreError
from coffre.model.incident import Incident
from coffre.model.words import counted
from coffre.operations.accesses.read_logs import LATE, AccessLogs
from coffre.policy.accesses import Principals, Tally, alarming
from coffre.runtime.bootstrap import Services
from coffre.runtime.observability import log_failure
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client

_MARK: Final = "logs read until"
# The store's clocks differ: a log may appear after one that was delivered later. A log that is read twice alerts once.
_OVERLAP: Final = timedelta(minutes=10)
_FIRST_LOOK: Final = timedelta(days=7)
# This function itself asks the vault every hour: no log for two days means that none is written any more.
_SILENCE: Final = timedelta(days=2)


def look_at_accesses(services: Services, configuration: Configuration, now: datetime) -> None:
    """Alert about accesses that were logged since the last look; without a bucket of logs, do nothing.

    Logs that cannot be read are an alert too: then it is not known who accessed the vault. They are read the next time.

    Raises
    ------
    CatalogError, AlertError
        The same.
    """
    bucket = services.settings.access_log_bucket
    if bucket is None:
        return
    mark = services.catalog.incidents.find(EVERY_TARGET, AlertKind.VAULT_ACCESSED.value, _MARK)
    looked_until = mark.seen_at if mark else now - _FIRST_LOOK
    try:
        report = _read(services, bucket, configuration, looked_until, now)
    except CoffreError as error:
        log_failure(services.edge.logger, error)
        services.edge.alerting.raise_alert(accesses_unknown(now, because(Failure.of(error))))
        return
    for alert in _alerts(report, now, newest_log=report.newest_log or (mark.seen_at if mark else now)):
        services.edge.alerting.raise_alert(alert)
    if report.newest_log is not None or mark is None:
        _remember(services, mark, max(report.newest_log or now, looked_until), now)


def _read(
    services: Services, bucket: str, configuration: Configuration, looked_until: datetime, now: datetime
) -> AccessReport:
    settings, place = services.settings, services.callers.audience
    principals = Principals(place.account, frozenset(settings.own_roles.split(",")), configuration.access.expected)
    store = S3Store(bucket, client=make_client(session=services.session))
    logs = AccessLogs(store, place.account, place.region, settings.vault_bucket)
    tally = Tally(principals, prefix=f"{settings.vault_prefix}/" if settings.vault_prefix else "", by_day=True)
    logs.read(tally, (looked_until - LATE).date(), now.date(), delivered_after=looked_until - _OVERLAP)
    report = tally.report()
    counted = report.model_dump(mode="json", exclude={"groups"})
    services.edge.logger.info("accesses to the vault looked at", extra={**counted, "groups": len(report.groups)})
    return report


def _alerts(report: AccessReport, now: datetime, *, newest_log: datetime) -> list[Alert]:
    alerts = [vault_accessed(group) for group in alarming(report.groups)]
    if report.unreadable:
        alerts.append(accesses_unknown(now, f"the logs have {counted(report.unreadable, 'line')} of an unknown form."))
    elif now - newest_log > _SILENCE:
        alerts.append(accesses_unknown(now, f"no log was delivered since {moment(newest_log)}."))
    return alerts


def _remember(services: Services, mark: Incident | None, until: datetime, now: datetime) -> None:
    """Write how far the logs were read, as an incident that is never open. If another look was faster, it wins."""
    first = Incident(
        target=EVERY_TARGET,
        kind=AlertKind.VAULT_ACCESSED.value,
        fingerprint=_MARK,
        subject="How far the logs of accesses to the vault were read",
        since=now,
        seen_at=until,
        ended_at=now,
    )
    changed = mark.model_copy(update={"seen_at": until, "ended_at": now}) if mark else first
    services.catalog.incidents.replace(mark, changed)
