"""What people hear of a backup that ended without reporting itself."""

from __future__ import annotations

from coffre.alerts.runs import backup_failed
from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup
from coffre.operations.monitoring.alerting import what_is_safe
from coffre.runtime.function import Edge


def report_died(edge: Edge, catalog: Catalog, backup: Backup) -> None:
    """Report a backup that died without reporting itself: its record is FAILED by now."""
    if backup.failure is not None:
        alert = backup_failed(
            backup.target,
            backup.failure,
            backup_id=backup.id,
            request_id=backup.request_id or "-",
            safe=what_is_safe(catalog, backup.target),
            kind=backup.kind,
        )
        edge.publish(alert, backup_id=backup.id, target=backup.target)
