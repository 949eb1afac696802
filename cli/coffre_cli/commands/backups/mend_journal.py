"""`coffre mend --journal`: put back what is damaged or missing of a journal in the vault, from a copy of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import typer

from coffre.model.errors import CoffreError
from coffre.model.words import counted, size
from coffre_cli.audited import recorded_change
from coffre_cli.commands.backups.mend_sources import sources_of
from coffre_cli.exit_status import Exit
from coffre_cli.place import Place
from coffre_cli.screen import error_console, print_json, remark, say, say_command
from coffre_cli.standalone import StandaloneVault

if TYPE_CHECKING:
    from coffre.model.journal import JournalState
    from coffre.operations.copy.mend_journal import MendedJournal, MendJournalJob
    from coffre.stores.with_copies import Place as Source
    from coffre.vault.vault import Vault

_SHOWN: Final = 5


def mend_journal(place: Place, target: str, source: str | None, *, dry_run: bool, as_json: bool) -> None:
    """Put back what the vault lacks of a target's journal, and show what came of it; exit with 1 if not all did."""
    from coffre.operations.copy.mend_journal import mend_journal

    place.known_target(target)
    sources = sources_of(place, target, source)
    job = _job(place, target, sources, dry_run=dry_run)
    with contextlib.ExitStack() as held:
        if not dry_run:
            names = ", ".join(one.name for one in sources)
            held.enter_context(recorded_change(place, target, target, "journal.mended", f"from {names}"))
        status = held.enter_context(error_console.status(f"Mending the journal of {target}", spinner="dots"))
        if as_json:
            status.stop()
        try:
            done = mend_journal(job)
        except KeyboardInterrupt:
            remark(f"Interrupted. What was put back stays; the same command continues: coffre mend --journal {target}")
            raise typer.Exit(Exit.INTERRUPTED) from None
    if as_json:
        print_json(asdict(done))
    else:
        _show(done, target, dry_run=dry_run)
        if done.keys and not dry_run and not isinstance(place, StandaloneVault):
            say("The alert ends with the next verification of all journals:")
            say_command("coffre verify --level inventory")
    if done.lost or done.remains:
        raise typer.Exit(Exit.FAILED)


@dataclass(frozen=True)
class _Looking:
    """What a look at a journal needs: here there is time."""

    vault: Vault
    journal_since: Callable[[str], datetime | None]

    def is_time_over(self) -> bool:
        return False


def _known(place: Place, target: str, now: datetime) -> tuple[datetime, JournalState | None, frozenset[str]]:
    """Return since when moments are kept, what the catalog knows of the journal, and what was found damaged.

    It is read before the vault is listed: what a drain stores meanwhile is newer.
    """
    from coffre.operations.stored_backup.kept_journal import LONGEST_WINDOW, checked_since

    if isinstance(place, StandaloneVault):
        return now - LONGEST_WINDOW, None, frozenset()
    catalog = place.catalog
    since = checked_since(place.configuration, catalog.latest, now)(target)
    return since, catalog.journals.find(target), catalog.latest.damaged_of_journal(target)


def _job(place: Place, target: str, sources: list[Source], *, dry_run: bool) -> MendJournalJob:
    from coffre.model.kinds import Status
    from coffre.operations.copy.from_copies import Copies
    from coffre.operations.copy.mend_journal import MendJournalJob
    from coffre.operations.stored_backup.kept_journal import journal_bases
    from coffre.operations.stored_backup.read_copies import reading
    from coffre.operations.verify.journals import JournalLook
    from coffre.vault.codec import FrameDecoder

    now = datetime.now(UTC)
    since, state, suspects = _known(place, target, now)
    living = list(place.catalog.backups(target=target, status=Status.COMPLETED))
    whole = reading(place.vault, sources, None, lambda _name, _error: None)

    def look(vault: Vault) -> Iterator[str]:
        found = JournalLook(_Looking(vault, lambda _: since), living, suspects)
        return (problem.text for problem in found.run(target))

    def report(name: str, error: CoffreError) -> None:
        remark(f"The copy {name} cannot be read: {error.message} [{error.code}]")

    return MendJournalJob(
        vault=place.vault,
        copies=Copies(sources, report),
        target=target,
        since=since,
        bases=lambda: journal_bases(whole, living),
        now=now,
        state=state,
        suspects=suspects,
        look=look,
        decoder=FrameDecoder(place.identities if isinstance(place, StandaloneVault) else ()),
        dry_run=dry_run,
    )


def _show(done: MendedJournal, target: str, *, dry_run: bool) -> None:
    _show_each(done.refused, "Refused: {}: {}", "yellow")
    _show_each(done.lost, "No place has good bytes of {}: {}", "red")
    for text in done.remains:
        say(text, style="red")
    if done.keys:
        would = "would be put back" if dry_run else "put back"
        say(
            f"{counted(len(done.keys), 'object')} of the journal of {target} {would}, {size(done.size_bytes)}.",
            style="" if done.lost or done.remains else "green",
        )
    elif not done.lost and not done.remains:
        say(f"Nothing of the journal of {target} is missing, or known to be damaged.")
    if done.unproven:
        say(f"Of {counted(len(done.unproven), 'object')}, only a copy says what was stored:", style="yellow")
        for key in done.unproven[:_SHOWN]:
            say(f"  {key}")
        if len(done.unproven) > _SHOWN:
            say(f"  ... and {len(done.unproven) - _SHOWN:,} more: --json has all.")


def _show_each(found: Mapping[str, str], words: str, style: str) -> None:
    for key, why in list(found.items())[:_SHOWN]:
        say(words.format(key, why), style=style)
    if len(found) > _SHOWN:
        say(f"... and {len(found) - _SHOWN:,} more objects: --json has all.", style=style)
