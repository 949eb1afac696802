"""Looking at the copies of a vault: which answer, and what of each target can be restored from them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from ulid import ULID

from coffre.model.drill import Outcome
from coffre.model.errors import CoffreError, IntegrityError, StoreError
from coffre.operations.points.find import find_point
from coffre.operations.stored_backup.completeness import why_incomplete
from coffre.operations.stored_backup.vault_backups import VaultBackups
from coffre.policy.recovery import CopyLook, Found, of_same_points, usable
from coffre.vault.reports import DrillReports
from coffre_cli.standalone import StandaloneVault
from coffre_cli.vault_choice import VaultChoice

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.model.drill_report import DrillReport

# Reports of drills are small, but each costs a listing: the newest ones say how long a restore takes.
_DRILLS_LOOKED_FOR = 20


def open_copy(choice: VaultChoice, identities: Sequence[str]) -> StandaloneVault:
    """Open one copy; raises what `StandaloneVault.open` raises."""
    return StandaloneVault.open(choice, identities=tuple(identities), quiet=True)


@dataclass(frozen=True)
class Sought:
    """What is looked for: these targets (none: all that a copy has), until a time; `expected` should exist.

    `point` is the name or id of a restore point, or `latest`: its targets are restored as of it.
    """

    targets: tuple[str, ...]
    expected: tuple[str, ...]
    at: datetime | None
    point: str | None = None


def look_at(place: StandaloneVault, sought: Sought) -> CopyLook:
    """Return what a copy offers of each target."""
    found: dict[str, Found] = {}
    all_backups: dict[str, list[Backup]] = {}
    lacking: dict[str, str] = {}

    def problem_of(backup: Backup) -> str | None:
        return why_incomplete(place.vault, backup)

    point = find_point(place.catalog, sought.point) if sought.point else None
    names = [name for name in place.catalog.targets if not sought.targets or name in sought.targets]
    for name in names:
        backups = all_backups[name] = place.catalog.completed_backups(name)
        part = point.part(name) if point else None
        if part is not None:
            backups = [one for one in backups if one.id == part.backup_id]
        backup, passed_over = usable(backups, problem_of, sought.at)
        if part is None:
            passed_over = (*unreadable(place.catalog, name, backup, sought.at), *passed_over)
        if backup is None and point is not None and part is not None:
            lacking[name] = " ".join([f"{name} cannot be restored as of the restore point {point.id}.", *passed_over])
            continue
        if backup is None:
            when = f" from before {sought.at:%Y-%m-%d %H:%M} UTC" if sought.at else ""
            lacking[name] = " ".join([f"{name} has no backup{when} that can be restored.", *passed_over])
            continue
        found[name] = Found(backup, passed_over)
    chosen = found if point else of_same_points(found, all_backups, problem_of)
    found = {name: _with_drills(place, one, all_backups[name]) for name, one in chosen.items()}
    lacking |= {name: f"{name} has no backup here." for name in sought.expected if name not in names}
    return CopyLook(place.choice.place, found, lacking, point=point)


def unreadable(catalog: VaultBackups, target: str, chosen: Backup | None, at: datetime | None) -> tuple[str, ...]:
    """Return which backups that are newer than the chosen one have no records that can be read, a sentence each."""
    return tuple(
        f"{backup_id} was passed over: {why}"
        for backup_id, (_, why) in sorted(catalog.unreadable(target).items(), reverse=True)
        if (chosen is None or backup_id > chosen.id) and (at is None or ULID.from_str(backup_id).datetime <= at)
    )


def look_safely(
    choice: VaultChoice, identities: Sequence[str], sought: Sought
) -> tuple[StandaloneVault | None, CopyLook]:
    """Open a copy and look at it; one that cannot be used is described by its error."""
    try:
        place = open_copy(choice, identities)
        return place, look_at(place, sought)
    except CoffreError as error:
        return None, CopyLook(choice.place, error=f"{error.message} [{error.code}]")


def _with_drills(place: StandaloneVault, found: Found, backups: Sequence[Backup]) -> Found:
    """Add whether a drill proved the backup, and how long the newest complete restore of a drill took."""
    reports = DrillReports(place.vault.store)
    own = _report(reports, found.backup)
    proven = own.completed_at if own and own.outcome in (Outcome.PASSED, Outcome.INCOMPLETE) else None
    drills = (_report(reports, one) for one in backups[:_DRILLS_LOOKED_FOR])
    measured = next((one for one in drills if one and one.restore_seconds is not None), None)
    if measured is None:
        return Found(found.backup, found.passed_over, proven)
    return Found(found.backup, found.passed_over, proven, measured.restore_seconds, measured.size_bytes)


def _report(reports: DrillReports, backup: Backup) -> DrillReport | None:
    with suppress(IntegrityError, StoreError):  # it says how long a restore takes, no more
        return reports.newest(backup.target, backup.id)
    return None
