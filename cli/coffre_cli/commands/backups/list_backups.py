"""`coffre list`: which backups exist, and how many of them in which state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from coffre.model.kinds import Status, TargetKind
from coffre.model.words import counted, duration, size
from coffre_cli.commands.points.show import list_points
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.place import Place, find_place
from coffre_cli.screen import age, backup_json, print_json, print_table, remark_unread, say, say_command, status_text
from coffre_cli.since import since_time
from coffre_cli.stack_options import JsonOption, StackOption
from coffre_cli.standalone import StandaloneVault

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.model.errors import IntegrityError
    from coffre.policy.statistics import Statistics

EXAMPLES = examples(
    "coffre list",
    "coffre list shop --status FAILED --since 30d",
    "coffre list --type buckets --limit 0",
    "coffre list --since 30d --stats",
    "coffre list --points",
    "coffre list --json | jq -r '.[0].id'",
)


class Type(StrEnum):
    """The kinds of targets, in the words of `coffre backup`."""

    DATABASE = TargetKind.DATABASE.word
    BUCKETS = TargetKind.BUCKET.word
    SETTINGS = TargetKind.SETTINGS.word
    REPOSITORIES = TargetKind.REPOSITORY.word


def list_backups(
    target: Annotated[str | None, typer.Argument(help="Only backups of this target.")] = None,
    of_target: Annotated[str | None, typer.Option("--target", help="The same as TARGET.")] = None,
    kind: Annotated[
        Type | None, typer.Option("--type", help="Only backups of this kind of target.", case_sensitive=False)
    ] = None,
    status: Annotated[Status | None, typer.Option(help="Only backups with this status.", case_sensitive=False)] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="SPAN|TIME", help="Only backups taken since: 24h, 7d, 2026-11-01, 2026-11-01T08:00Z."),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Maximum number of backups to show, newest first; 0: all.")] = 20,
    stats: Annotated[
        bool,
        typer.Option("--stats", help="Count all of them instead: by status, sizes, success rate, the last backup."),
    ] = False,
    points: Annotated[
        bool, typer.Option("--points", help="List restore points instead; TARGET is then the name of one.")
    ] = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """List backups, newest first, or count them."""
    name = _one_target(target, of_target)
    if points:
        if stats or (kind, status, since) != (None, None, None):
            raise typer.BadParameter("--points goes with TARGET, --limit and --json alone")
        list_points(find_place(stack), name, limit, as_json=as_json)
        return
    begin = since_time(since) if since is not None else None
    place = find_place(stack)
    if name is not None:
        place.known_target(name)
    damaged: list[IntegrityError] = []
    found = _found(place, name, kind, status, begin, damaged)
    if stats:
        _show_statistics(place, found, damaged, is_filtered=status is not None, as_json=as_json)
        _end_with(damaged)
        return
    # One more than is shown reveals whether older ones exist.
    shown = list(islice(found, limit + 1)) if limit else list(found)
    more = bool(limit) and len(shown) > limit
    shown = shown[:limit] if limit else shown
    _report_problems(place, damaged)
    if as_json:
        print_json([backup_json(backup) for backup in shown])
    elif not shown:
        _show_none(place, name, kind, status, since, others=bool(damaged))
    else:
        _show_table(shown)
        if more:
            say(f"Older ones are not shown: --limit {limit * 5}")
    _end_with(damaged)


def _one_target(argument: str | None, option: str | None) -> str | None:
    if argument is not None and option not in (None, argument):
        raise typer.BadParameter(f"TARGET is {argument}, and --target is {option}: give one of them")
    return argument if argument is not None else option


def _found(
    place: Place,
    target: str | None,
    kind: Type | None,
    status: Status | None,
    since: datetime | None,
    damaged: list[IntegrityError],
) -> Iterator[Backup]:
    """Yield what is asked for, newest first, reading as it is taken; records that cannot be read go to `damaged`."""
    from coffre.policy.recency import ID_WITHIN

    # A listing compares ids, whose times can be chosen; when a backup began is in its record.
    earliest = since - ID_WITHIN if since is not None else None
    if isinstance(place, StandaloneVault):
        found = place.catalog.backups(target=target, status=status, since=earliest)
    else:
        found = place.catalog.backups(target=target, status=status, since=earliest, damaged=damaged)
    for backup in found:
        if (kind is None or backup.kind.word == kind) and (since is None or backup.created_at >= since):
            yield backup


def _report_problems(place: Place, damaged: Sequence[IntegrityError]) -> None:
    if isinstance(place, StandaloneVault):
        place.report_problems()
    remark_unread(damaged)


def _end_with(damaged: Sequence[IntegrityError]) -> None:
    """End as what is not whole, so that a script notices."""
    if damaged:
        raise typer.Exit(Exit.EXCEPTIONS)


# --- the table ---


def _show_none(
    place: Place, target: str | None, kind: Type | None, status: Status | None, since: str | None, *, others: bool
) -> None:
    words = f"{' other' if others else ''}{f' {status}' if status else ''} backups{f' of {target}' if target else ''}"
    words += f" of {'databases' if kind is Type.DATABASE else kind}" if kind and not target else ""
    if (status, since, kind, others) == (None, None, None, False) and not isinstance(place, StandaloneVault):
        say(f"No{words} yet. Take one:")
        say_command(f"coffre backup {place.word_of(target)} {target}" if target else "coffre backup database")
    else:
        say(f"No{words}{f' since {since}' if since else ''}.")


def _show_table(backups: list[Backup]) -> None:
    locked = any(backup.locked_until for backup in backups)
    print_table(
        ["ID", "TARGET", "STATUS", "TIERS", "TAKEN", "TOOK", "SIZE", "STORED", *(["LOCKED"] if locked else [])],
        ([*_row(backup), *([_lock_of(backup)] if locked else [])] for backup in backups),
        right=["TOOK", "SIZE", "STORED"],
    )


def _row(backup: Backup) -> list[str | Text]:
    return [
        backup.id,
        backup.target,
        status_text(backup.status) if backup.damaged_at is None else Text("DAMAGED", style="bold red"),
        _tiers(backup),
        age(backup.created_at),
        duration(backup.duration_ms),
        size(backup.plaintext_bytes),
        size(backup.stored_bytes),
    ]


def _tiers(backup: Backup) -> str:
    """Return the tiers; words that are short enough for a narrow column."""
    expires = f" until {backup.expires_at:%-d %b %Y}" if backup.expires_at else ""
    held = " on hold" if backup.held_at else ""
    return " ".join(tier.lower() for tier in backup.tiers) + expires + held


def _lock_of(backup: Backup) -> str:
    """Return until when nothing of a backup can be deleted."""
    return f"until {backup.locked_until:%-d %b %Y}" if backup.locked_until else "-"


# --- statistics ---

# Of one status alone it says nothing; a vault alone does not know what failed.
_NO_RATE: Final = "unknown"


def _show_statistics(
    place: Place, backups: Iterator[Backup], damaged: Sequence[IntegrityError], *, is_filtered: bool, as_json: bool
) -> None:
    from coffre.policy.statistics import statistics

    has_rate = not is_filtered and not isinstance(place, StandaloneVault)
    found = statistics(backups)
    _report_problems(place, damaged)
    if as_json:
        rate = found.rate.percent if has_rate and found.runs else None
        print_json(
            {
                "version": 1,
                "backups": sum(found.by_status.values()),
                "by_status": {status.value: found.by_status[status] for status in Status},
                "damaged": found.damaged,
                "unread": len(damaged),
                "plaintext_bytes": found.plaintext_bytes,
                "stored_bytes": found.stored_bytes,
                "success_rate_percent": round(rate, 2) if rate is not None else None,
                "last_backup": backup_json(found.last) if found.last else None,
            }
        )
        return
    for line in _lines(found, has_rate=has_rate):
        say(line)


def _lines(found: Statistics, *, has_rate: bool) -> Iterator[str]:
    states = ", ".join(f"{found.by_status[status]:,} {status}" for status in Status if found.by_status[status])
    yield f"{counted(sum(found.by_status.values()), 'backup')}{f': {states}' if states else ''}"
    if found.damaged:
        yield f"  damaged       {found.damaged:,} of those COMPLETED"
    rate = f"{found.rate.percent:.1f} % of {counted(found.runs, 'run')}" if has_rate and found.runs else _NO_RATE
    yield f"  success rate  {rate}"
    stored = f"{size(found.stored_bytes)} added to the vault by"
    yield f"  total size    {size(found.plaintext_bytes)}, {stored} those COMPLETED"
    last = found.last
    yield f"  last backup   {f'{last.id} of {last.target}, {age(last.created_at)}' if last else 'none'}"
