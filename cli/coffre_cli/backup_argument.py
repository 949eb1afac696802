"""Which backup or restore a person means: by an id or a part of one, the latest, or the last one before a time."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from coffre.model.errors import BackupStateError
from coffre.model.kinds import Status, TargetKind
from coffre.model.times import in_utc
from coffre_cli.deployed import DeployedStack
from coffre_cli.place import Place
from coffre_cli.standalone import StandaloneVault

if TYPE_CHECKING:
    from coffre.model.backup import Backup, Restore

BackupId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="A backup's id (its beginning or end is enough), `latest`, or a day or time in UTC, such as 2026-11-17: "
        "the last backup until then.",
    ),
]
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d.*", re.DOTALL)
_CANDIDATES_SHOWN: Final = 10
# DynamoDB takes no empty key; a variable of a script that is not set must end as an unknown id.
_NO_ID: Final = " "


def resolve_backup(deployed: Place, text: str, target: str | None, kind: TargetKind | None = None) -> Backup:
    """Return the backup; `latest` and times are of the target, or of the only one (of a kind).

    Raises
    ------
    BackupStateError
        No backup or several backups match, or the backup is of another target.
    TargetUnknownError
        No such target exists.
    """
    if text == "latest":
        return latest(deployed, target, kind)
    if _TIME.fullmatch(text):
        return _as_of(deployed, text, target, kind)
    if target is not None:
        deployed.known_target(target)
    backup = find_backup(deployed, text)
    refuse_other_target(backup, target)
    return backup


def find_backup(deployed: Place, text: str) -> Backup:
    """Return the backup with this id, or the only one whose id begins or ends so.

    Raises
    ------
    BackupStateError
        `BACKUP_UNKNOWN`, or `BACKUP_AMBIGUOUS` naming those that could be meant.
    """
    try:
        return deployed.catalog.get_backup(text or _NO_ID)
    except BackupStateError:
        found = _only(text, deployed.catalog.backups(), "backup")
        if found is None:
            raise
        return deployed.catalog.get_backup(found.id)


def find_restore(deployed: DeployedStack, text: str) -> Restore:
    """Return the restore with this id; otherwise as `find_backup`, with codes that begin with `RESTORE`."""
    try:
        return deployed.catalog.get_restore(text or _NO_ID)
    except BackupStateError:
        found = _only(text, deployed.catalog.restores(), "restore")
        if found is None:
            raise
        return deployed.catalog.get_restore(found.id)


def resolve_run(deployed: Place, text: str, target: str | None) -> Backup | Restore:
    """Return the backup or the restore; words, times and errors are those of `resolve_backup`.

    A vault alone has no records of restores.
    """
    if text == "latest" or _TIME.fullmatch(text) or isinstance(deployed, StandaloneVault):
        return resolve_backup(deployed, text, target)
    if target is not None:
        deployed.known_target(target)
    run = _find_run(deployed, text)
    refuse_other_target(run, target)
    return run


def _find_run(deployed: DeployedStack, text: str) -> Backup | Restore:
    from coffre.model.backup import Backup

    catalog = deployed.catalog
    with contextlib.suppress(BackupStateError):
        return catalog.get_backup(text or _NO_ID)
    with contextlib.suppress(BackupStateError):
        return catalog.get_restore(text or _NO_ID)
    runs: Iterator[Backup | Restore] = itertools.chain(catalog.backups(), catalog.restores())
    found = _only(text, runs, "backup")
    if found is None:
        raise BackupStateError(
            f'No backup or restore has the id "{text}".',
            code="BACKUP_UNKNOWN",
            hint="`coffre list` shows the backups and their ids.",
        )
    return catalog.get_backup(found.id) if isinstance(found, Backup) else catalog.get_restore(found.id)


def _only(text: str, runs: Iterable[Backup | Restore], noun: str) -> Backup | Restore | None:
    """Return the only run whose id begins or ends with the text; None when no id does."""
    found = list(itertools.islice((run for run in runs if _is_meant(run.id, text)), _CANDIDATES_SHOWN + 1))
    if len(found) <= 1:
        return found[0] if found else None
    lines = [
        f"{run.id}  {run.target}, {run.status}, {run.created_at:%Y-%m-%d %H:%M:%S} UTC"
        for run in found[:_CANDIDATES_SHOWN]
    ]
    more = ["..."] if len(found) > _CANDIDATES_SHOWN else []
    raise BackupStateError(
        f'Several ids begin or end with "{text}".',
        code=f"{noun.upper()}_AMBIGUOUS",
        detail="\n".join(lines + more),
        hint="Give more of the id.",
    )


def _is_meant(run_id: str, text: str) -> bool:
    """Return whether an id begins or ends with a text; names in databases have ids in lower case."""
    wanted, there = text.upper(), run_id.upper()
    return bool(wanted) and (there.startswith(wanted) or there.endswith(wanted))


def latest(deployed: Place, target: str | None, kind: TargetKind | None = None) -> Backup:
    """Return the newest good backup of the target, or of the only one of a kind. A damaged one needs its id."""
    name = deployed.only_target(target, kind)
    backup = deployed.catalog.latest_completed(name)
    if backup is not None:
        return backup
    damaged = deployed.catalog.latest_completed(name, damaged_too=True)
    if damaged is not None:
        raise BackupStateError(
            f'Every completed backup of "{name}" is damaged; the newest is {damaged.id}.',
            code="BACKUP_DAMAGED",
            detail=damaged.damage,
            hint=f"What is undamaged in it can still be restored by its id: coffre show {damaged.id}",
        )
    raise BackupStateError(
        f'There is no completed backup of "{name}" yet.',
        code="BACKUP_UNKNOWN",
        hint=None
        if isinstance(deployed, StandaloneVault)
        else f"Take one: coffre backup {deployed.word_of(name)} {name}",
    )


def refuse_other_target(run: Backup | Restore, target: str | None) -> None:
    """Refuse a backup or restore that is named by its id together with another target."""
    if target not in (None, run.target):
        raise BackupStateError(
            f"{type(run).__name__} {run.id} is of {run.target}, not of {target}.",
            code="BACKUP_UNKNOWN",
            hint=f"Leave --target out, or choose another backup: coffre list {target}",
        )


def _as_of(deployed: Place, text: str, target: str | None, kind: TargetKind | None) -> Backup:
    until = until_of(text)
    name = deployed.only_target(target, kind)
    for listed in deployed.catalog.completed_backups(name):
        if listed.created_at >= until or listed.is_safety:
            continue
        backup = deployed.catalog.get_backup(listed.id)
        if backup.status is Status.COMPLETED and backup.is_healthy:
            return backup
    raise BackupStateError(
        f'There is no completed backup of "{name}" from before {until:%Y-%m-%d %H:%M:%S} UTC.',
        code="BACKUP_UNKNOWN",
        hint=f"List its backups: coffre list {name}",
    )


def until_of(text: str) -> datetime:
    """Return the first instant that is too late: of a day its end.

    Raises
    ------
    typer.BadParameter
        It is neither a day nor a time.
    """
    try:
        if len(text) == len("2026-11-17"):
            return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC) + timedelta(days=1)
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else in_utc(time)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"{text} is not a day or a time: write 2026-11-17 or 2026-11-17T14:30") from error
