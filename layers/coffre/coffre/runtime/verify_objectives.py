"""The level `fresh` of the function `verify`: which objectives the last day missed."""

from __future__ import annotations

from datetime import datetime, timedelta

from coffre.alerts.alert import AlertKind
from coffre.alerts.objectives import objective_missed
from coffre.catalog.catalog import Catalog
from coffre.model.any_target import is_gone
from coffre.model.backup import Backup
from coffre.model.configuration import Configuration
from coffre.model.objectives import Objective
from coffre.operations.monitoring.alerting import Review, what_is_safe
from coffre.policy.objectives import measure, was_good

# Longer than a week: what the last day missed is seen of weekly backups too.
_LOOKED_BACK = timedelta(days=8)


def review_of_objectives(catalog: Catalog, configuration: Configuration, now: datetime) -> Review:
    """Return the alerts about objectives that the last day missed; a day without a miss ends one.

    An RTO that is `drill.rto_minutes` is left to the drill, which sends RTO_EXCEEDED.
    """
    wanted = {one.name: configuration.objective_of(one) for one in configuration.targets if not is_gone(one)}
    checked = frozenset((AlertKind.OBJECTIVE_MISSED, name) for name in wanted)
    if all(one == Objective() for one in wanted.values()):
        return Review((), checked)
    drills, rehearsals = catalog.latest.drills_and_rehearsals()
    by_target: dict[str, list[Backup]] = {}
    for backup in catalog.backups(since=now - _LOOKED_BACK):
        by_target.setdefault(backup.target, []).append(backup)
    alerts = []
    for target in configuration.targets:
        if target.name in wanted:
            drill = drills.get(target.name) if target.drill.rto_minutes is None else None
            backups = by_target.get(target.name, [])
            if not any(was_good(one) for one in backups):
                newest = catalog.newest_good(target.name)
                backups = [newest] if newest is not None else []
            measured = measure(
                wanted[target.name], backups, drill, now, now - timedelta(days=1), rehearsals.get(target.name)
            )
            if measured.rpo_missed or measured.rto_missed:
                alerts.append(objective_missed(target.name, measured, safe=what_is_safe(catalog, target.name)))
    return Review(tuple(alerts), checked)
