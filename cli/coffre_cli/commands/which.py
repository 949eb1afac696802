"""Which backup a person means: by its id, the latest, or the last one before a time."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final

import typer

from coffre.model.backup import Backup, Status
from coffre.model.errors import BackupStateError
from coffre_cli.commands.catalog import latest
from coffre_cli.place import Place

BackupId = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="A backup's id, `latest`, or a day or time (UTC), say 2026-11-17: the last one until then."
    ),
]
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d.*", re.DOTALL)


def which_backup(deployed: Place, text: str, target: str | None) -> Backup:
    """Return the backup; `latest` and times are of the target, or of the only one.

    Raises
    ------
    BackupStateError
        There is none.
    """
    if text == "latest":
        return latest(deployed, target)
    if _TIME.fullmatch(text):
        return _as_of(deployed, text, target)
    backup = deployed.catalog.get_backup(text)
    refuse_other_target(backup, target)
    return backup


def refuse_other_target(backup: Backup, target: str | None) -> None:
    """Refuse a backup that is named by its id together with another target."""
    if target not in (None, backup.target):
        raise BackupStateError(
            f'The backup {backup.id} is of "{backup.target}", not of "{target}".',
            code="BACKUP_UNKNOWN",
            hint=f"Leave --target out, or choose another backup: coffre list {backup.target}",
        )


def _as_of(deployed: Place, text: str, target: str | None) -> Backup:
    until = _until(text)
    name = deployed.only_target(target)
    for listed in deployed.catalog.completed_backups(name):
        if listed.created_at >= until:
            continue
        backup = deployed.catalog.get_backup(listed.id)
        if backup.status is Status.COMPLETED and backup.is_healthy:
            return backup
    raise BackupStateError(
        f'There is no completed backup of "{name}" from before {until:%Y-%m-%d %H:%M:%S} UTC.',
        code="BACKUP_UNKNOWN",
        hint=f"See which there are: coffre list {name}",
    )


def _until(text: str) -> datetime:
    """Return the first instant that is too late: of a day its end."""
    try:
        if len(text) == len("2026-11-17"):
            return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC) + timedelta(days=1)
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text} is no day or time: write 2026-11-17 or 2026-11-17T14:30") from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
