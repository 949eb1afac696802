"""What is known of the targets of a vault without its catalog: their backups, and the drills of the newest ones."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from coffre.model.drill import DrillSummary
from coffre.model.errors import IntegrityError
from coffre.model.kinds import TargetKind
from coffre.model.status_facts import Facts, TargetFacts
from coffre.operations.stored_backup.vault_backups import VaultBackups
from coffre.policy.freshness import newest_of
from coffre.vault.reports import DrillReports
from coffre.vault.vault import Vault

# A drill is of the newest backup, weekly: its report is with one of the last backups.
_DRILLS_LOOKED_FOR: Final = 10


def gather_from_vault(vault: Vault, backups: VaultBackups, now: datetime, only: tuple[str, ...] = ()) -> Facts:
    """Read the manifest of every backup, and the newest report of a drill.

    Raises
    ------
    TargetUnknownError
        The vault has no backup of one that is asked for.
    """
    names = [backups.known_target(name) for name in only] or backups.targets
    return Facts(now=now, targets=tuple(_target(vault, backups, name, now) for name in names), has_stack=False)


def _target(vault: Vault, backups: VaultBackups, name: str, now: datetime) -> TargetFacts:
    found = tuple(backups.completed_backups(name))
    if not found:
        return TargetFacts(name, TargetKind.DATABASE, unread="no manifest of it can be read.")
    return TargetFacts(
        name=name,
        kind=found[0].kind,
        recent=found,
        good=newest_of(found, now),
        drill=_drill(vault, name, [backup.id for backup in found[:_DRILLS_LOOKED_FOR]]),
    )


def _drill(vault: Vault, target: str, ids: list[str]) -> DrillSummary | None:
    reports = DrillReports(vault.store)
    for backup_id in ids:
        try:
            found = reports.newest(target, backup_id)
        except IntegrityError:
            continue
        if found is not None:
            return found.summary
    return None
