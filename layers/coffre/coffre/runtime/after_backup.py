"""What follows a good backup and never fails it: heartbeat, end of alerts, comparison with earlier backups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from coffre.alerts.alert import AlertKind
from coffre.model.any_target import AnyTarget
from coffre.model.backup import Backup
from coffre.operations.monitoring.health_checks import review_backup
from coffre.runtime.bootstrap import Services
from coffre.runtime.function import Edge
from coffre.runtime.heartbeat_url import HeartbeatError, send_heartbeat
from coffre.runtime.observability import count_heartbeat, log_failure

# Eleven manifests are read: seconds, if they are large. A function that is killed would look as if the backup failed.
_REVIEW_SECONDS: Final = 45.0


def after_backup(
    services: Services,
    target: AnyTarget,
    backup: Backup,
    remaining_seconds: Callable[[], float],
) -> None:
    """Do what follows a backup that is COMPLETED. Every error in it is logged and counted.

    Nothing follows one of the tier SAFETY: that it was taken says nothing about the schedule, and what it holds is what
    a person is about to replace.
    """
    if backup.is_safety:
        return
    edge = services.edge
    keys = {"target": target.name, "backup_id": backup.id}
    if target.alerts.heartbeat_url is not None:
        _beat(edge, target.alerts.heartbeat_url, target.name)
    edge.recovered(target.name, AlertKind.BACKUP_FAILED, AlertKind.BACKUP_OVERDUE, **keys)
    if remaining_seconds() > _REVIEW_SECONDS:
        edge.review(lambda: review_backup(services.catalog, services.vault, target.alerts, backup), **keys)
    else:
        edge.logger.warning("no time was left to compare the backup with those before", extra=keys)


def _beat(edge: Edge, url: str, target: str) -> None:
    try:
        send_heartbeat(url, target)
    except HeartbeatError as error:
        log_failure(edge.logger, error, target=target)
        count_heartbeat(edge.logger.service, target, succeeded=False)
    else:
        count_heartbeat(edge.logger.service, target, succeeded=True)
