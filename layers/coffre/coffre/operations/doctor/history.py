"""What the catalog and the vault remember of a target: its newest backup, its newest verified one, its newest drill."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from coffre.catalog.catalog import Catalog
from coffre.model.any_target import AnyTarget
from coffre.model.audit import KEY_OPENED, AuditEvent
from coffre.model.database_target import DatabaseTarget
from coffre.model.errors import CoffreError
from coffre.operations.doctor.vault_access import trouble
from coffre.policy.checks.answers import Trouble
from coffre.policy.checks.history_facts import DrillSeen, NewestBackup, Proofs
from coffre.policy.freshness import newest_of
from coffre.stores.store import Store
from coffre.vault.layout import BACKUPS, record_of
from coffre.vault.reports import DrillReports

_DRILL: Final = re.compile(r"reports/drill-([0-7][0-9A-HJKMNP-TV-Z]{25})\.json")


def read_history(catalog: Catalog, store: Store, target: AnyTarget, now: datetime) -> Iterator[object]:
    """Yield what is remembered of a target, without proofs when it has no good backup; raises what the catalog raises.

    A drill's record is its report in the vault. All keys of the target's backups are listed: about six for each backup.
    """
    backups = catalog.completed_backups(target.name)
    newest = newest_of(backups, now)
    yield NewestBackup(target.name, target.kind, newest.created_at if newest else None)
    if newest is None:
        return
    verified = [one.verified_at for one in backups if one.verified_at is not None and one.is_healthy]
    yield Proofs(
        target=target.name,
        now=now,
        verified_at=max(verified, default=None),
        verified_within_hours=target.freshness.verified_hours,
        drill=_newest_drill(store, target.name),
        drills_off=not isinstance(target, DatabaseTarget) and target.drill.objects == 0,
    )


def keys_opened(events: Iterable[AuditEvent]) -> dict[str, datetime]:
    """Return when each private key was last seen to open a backup, by its public key."""
    opened: dict[str, datetime] = {}
    for event in events:
        if event.action == KEY_OPENED and event.result == "done" and event.subject:
            opened[event.subject] = max(event.at, opened.get(event.subject, event.at))
    return opened


def _newest_drill(store: Store, target: str) -> DrillSeen | Trouble | None:
    try:
        drills: dict[str, str] = {}
        for info in store.list(f"{BACKUPS}{target}/"):
            record = record_of(info.key)
            if record is not None and (found := _DRILL.fullmatch(record.name)):
                drills[found[1]] = record.backup_id
        if not drills:
            return None
        report = DrillReports(store).newest(target, drills[max(drills)])  # ids are in the order of their time
    except CoffreError as error:
        return trouble(error)
    if report is None:
        return None
    problem = next(iter((*report.problems, *report.left_out)), None)
    return DrillSeen(report.outcome.value, report.completed_at, report.backup_id, problem)
