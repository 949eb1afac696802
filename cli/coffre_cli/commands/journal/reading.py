"""Where `coffre journal log` and `find-drop` read a journal, with the private key, as a restore does."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coffre.model.kinds import TargetKind
from coffre_cli.audited import recorded_reading
from coffre_cli.backup_argument import resolve_backup
from coffre_cli.place import Place
from coffre_cli.private_key import decoder_of
from coffre_cli.reading import find_reading_place
from coffre_cli.screen import remark
from coffre_cli.since import since_time
from coffre_cli.standalone import StandaloneVault

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.model.errors import CoffreError, IntegrityError
    from coffre.operations.restore_database.row_history import History, Period
    from coffre.policy.moments import Stretch

SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="Not before: 24h, 7d, 2026-11-01, 2026-11-01T08:00Z.")
]
UntilOption = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Not after; as --since.")]


@dataclass(frozen=True)
class Opened:
    """A journal that can be read. `newest` is the last backup of its target, under which its reading is recorded."""

    place: Place
    newest: Backup
    stretches: list[Stretch[Backup]] = field(repr=False)
    history: History = field(repr=False)

    def recorded(self, detail: str) -> AbstractContextManager[None]:
        """Record that the journal is read; raises what `recorded_reading` raises."""
        return recorded_reading(self.place, self.newest, "backup.read", detail)


def open_journal(target: str, stack: str | None, source: str | None, identity: str | None) -> Opened:
    """Return what is stored of a target's journal; intervals that are damaged are left out, and said on stderr.

    Raises
    ------
    JournalError
        `JOURNAL_NONE`
    IntegrityError
        `JOURNAL_DAMAGED`, `JOURNAL_GAP`: nothing else is stored.
    """
    from coffre.operations.restore_database.find_drop import whole_stretches
    from coffre.operations.restore_database.row_history import History, require_journal

    place = find_reading_place(stack, source)
    place.known_target(target)
    backups: Any = place.catalog.completed_backups(target)
    state = None if isinstance(place, StandaloneVault) else place.catalog.journals.find(target)
    damage: list[IntegrityError] = []
    stretches = whole_stretches(place.vault, target, backups, state, damage.append)
    if damage and not stretches:
        raise damage[0]
    for error in damage:
        _leave_out(error)
    require_journal(target, stretches)
    newest = resolve_backup(place, "latest", target, TargetKind.DATABASE)
    history = History(place.vault, stretches, decoder_of(place, newest, identity), _leave_out)
    return Opened(place, newest, stretches, history)


def _leave_out(error: CoffreError) -> None:
    remark(f"Left out: {error.message} [{error.code}]", style="yellow")


def period_of(since: str | None, until: str | None) -> Period:
    """Return the period that was asked for; raises `typer.BadParameter`."""
    from coffre.operations.restore_database.row_history import Period

    begin = since_time(since) if since is not None else None
    end = since_time(until, "--until") if until is not None else None
    if begin is not None and end is not None and end < begin:
        raise typer.BadParameter(f"--until {until} is before --since {since}")
    return Period(begin, end)
