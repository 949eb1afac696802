"""Are the copies of the vault as recent as the configuration asks for?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from coffre.alerts.alert import Alert, AlertKind
from coffre.alerts.copies import copy_overdue
from coffre.catalog.catalog import Catalog
from coffre.model.configuration import Configuration
from coffre.operations.monitoring.alerting import Review
from coffre.policy.copies import overdue_copies


def check_copies(catalog: Catalog, configuration: Configuration, now: datetime) -> Review:
    """Check by the records whether each destination has what it should have by now.

    Raises
    ------
    CoffreError
        The catalog did not answer.
    """
    names = [target.name for target in configuration.targets]
    alerts = tuple(_overdue(catalog, configuration, now)) if configuration.copies else ()
    return Review(alerts, frozenset((AlertKind.COPY_OVERDUE, name) for name in names))


def _overdue(catalog: Catalog, configuration: Configuration, now: datetime) -> Iterator[Alert]:
    backups = {target.name: catalog.completed_backups(target.name) for target in configuration.targets}
    for destination in configuration.copies:
        copies = list(catalog.copies.of(destination.name))
        for name in backups:
            if destination not in configuration.copies_of(name):
                continue
            own = {copy.backup_id: copy for copy in copies if copy.target == name}
            late = overdue_copies(destination, backups[name], own, now)
            if late:
                yield copy_overdue(destination, name, late, now)
