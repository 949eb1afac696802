"""`coffre backup point`: the run of the database is followed, and then those of the buckets that it started."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import typer

from coffre.model.kinds import Status
from coffre_cli.commands.backups.run_backup import Wanted, event_of, follow_backup
from coffre_cli.commands.points.show import point_json, references_line, show_point
from coffre_cli.deployed import DeployedStack
from coffre_cli.exit_status import Exit
from coffre_cli.screen import print_json, say

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.model.points import PointRecord

# The last part seals the point right after its own record.
_SEAL_SECONDS: Final = 30.0


def take_point(deployed: DeployedStack, name: str, wanted: Wanted, *, as_json: bool) -> None:
    """Take a restore point by hand, and wait for its end."""
    from ulid import ULID

    point = deployed.configuration.point(name)
    backup_id, point_id = str(ULID()), str(ULID())
    event = {**event_of(point.database, wanted), "backup_id": backup_id, "point": name, "point_id": point_id}
    deployed.start("backup_database", event)
    database = follow_backup(deployed, point.database, backup_id, quiet=as_json)
    begun = deployed.catalog.points.find(point_id)
    buckets = begun.buckets if begun is not None else ()
    parts = [follow_backup(deployed, one.target, one.backup_id, quiet=as_json) for one in buckets]
    record = _sealed(deployed, begun, parts) if begun is not None else None
    _end(deployed, record, [database, *parts], as_json=as_json)


def _sealed(deployed: DeployedStack, record: PointRecord, parts: list[Backup | None]) -> PointRecord:
    """Return the point as it is once the last part has sealed it; as it is now, if a part failed."""
    until = time.monotonic() + _SEAL_SECONDS
    while all(one is not None and one.status is Status.COMPLETED for one in parts):
        found = deployed.catalog.points.find(record.id)
        if found is not None and found.sealed_at is not None:
            return found
        if time.monotonic() > until:
            break
        time.sleep(0.4)
    return record


def _end(deployed: DeployedStack, point: PointRecord | None, backups: list[Backup | None], *, as_json: bool) -> None:
    is_whole = point is not None and point.sealed_at is not None
    if as_json:
        print_json(point_json(deployed, point) if point else None)
    elif point is None:
        say("There is no restore point: the backup of the database says why.", style="red")
    elif not is_whole:
        show_point(deployed, point, as_json=False)
    else:
        say(f"Restore point {point.id} of {point.name}: {references_line(point)}.", style="green")
    if any(one is not None and one.status is Status.FAILED for one in backups):
        raise typer.Exit(Exit.FAILED)
    if None in backups:
        raise typer.Exit(Exit.SKIPPED)
    if not is_whole:
        raise typer.Exit(Exit.FAILED)
    if any(one is not None and one.exceptions for one in backups):
        raise typer.Exit(Exit.EXCEPTIONS)
