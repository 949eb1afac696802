"""The result of a verification of levels inventory and read, for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from coffre.model.kinds import Level
from coffre.model.words import counted, duration, size
from coffre_cli.screen import say, say_command

if TYPE_CHECKING:
    from coffre.model.verification import DamageReport, VerificationReport

_DAMAGES_SHOWN = 5


def show_verification(report: VerificationReport, word_of: Callable[[str], str] | None) -> None:
    """Show what was found; `word_of` gives the subcommand of `coffre backup` for a target, None: there is no stack."""
    if report.level is Level.INVENTORY:
        _show_inventory(report)
    elif report.copy_name is not None:
        _show_packs_read(report)
    else:
        _show_read(report)
    if report.copy_name is not None:
        _show_copy(report, report.copy_name)
    for problem in (*report.problems, *report.lock_problems, *report.journal_problems):
        say(f"Problem: {problem.text} [{problem.code}]", style="red")
    for damaged in report.damaged:
        _show_damaged(damaged)
    where = f" in the copy {report.copy_name}" if report.copy_name is not None else ""
    for name, backup_id in report.healthy.items():
        say(f"The newest good backup of {name}{where}: {backup_id or 'NONE'}", style="bold")
    if report.damaged and word_of is not None and report.copy_name is None:
        say("Later backups do not refer to damaged data. Take one now:")
        for name in report.healthy:
            say_command(f"coffre backup {word_of(name)} {name}")
    journals = sorted({problem.target for problem in report.journal_problems if problem.target is not None})
    if (report.damaged or journals) and report.copy_name is None:
        say("What a copy has as it was stored can be put back into the vault:")
        for damaged in report.damaged[:_DAMAGES_SHOWN]:
            say_command(f"coffre mend {damaged.backup_id}")
        for name in journals:
            say_command(f"coffre mend --journal {name}")
    if report.unfinished is not None:
        say(f"Not finished: {report.unfinished}", style="yellow")


def _show_inventory(report: VerificationReport) -> None:
    say(
        f"Looked for {counted(report.packs.objects, 'pack')} ({size(report.packs.size_bytes)}) of "
        f"{counted(report.backups, 'backup')} in {duration(report.duration_ms)}; "
        f"compared the checksums of {report.checksums:,} ({report.share})."
    )
    if report.checksums_not_kept:
        say(f"The store kept no checksum of {report.checksums_not_kept:,} of them: only --level read can check those.")
    if not report.damaged and report.unfinished is None:
        say("Nothing is missing.", style="green")


def _show_read(report: VerificationReport) -> None:
    say(
        f"Read {size(report.frames.size_bytes)} in {counted(report.frames.objects, 'frame')} of "
        f"{counted(report.packs.objects, 'pack')}{f' of {report.target}' if report.target else ''} "
        f"in {duration(report.duration_ms)} (share: {report.share})."
    )
    for one in report.examined:
        style = {"verified": "green", "unfinished": "yellow"}.get(one.outcome, "red")
        say(f"{one.backup_id}: {one.outcome}{f'. {one.text}' if one.text else ''}", style=style)
    if not (report.damaged or report.examined or report.problems):
        say("Every byte that was read is as it was stored.", style="green")


def _show_packs_read(report: VerificationReport) -> None:
    say(
        f"Read {size(report.packs.size_bytes)} in {counted(report.packs.objects, 'pack')} of "
        f"{counted(report.backups, 'backup')} in {duration(report.duration_ms)} (share: {report.share})."
    )
    if not report.damaged and report.unfinished is None:
        say("Every byte that was read is as it was stored.", style="green")


def _show_copy(report: VerificationReport, name: str) -> None:
    """Say what to do about damage in a copy: the vault has the right bytes."""
    if report.stored.objects:
        say(f"The copy {name} holds {size(report.stored.size_bytes)} in {counted(report.stored.objects, 'pack')}.")
    if report.damaged:
        say("The vault is not affected. The next rotation of the copy deletes what is damaged there; then the copier")
        say("sends it again. To do both now:")
        say_command(f"coffre rotate --at {name}")
        for damaged in report.damaged:
            say_command(f"coffre copy {damaged.backup_id} --to {name}")


def _show_damaged(damaged: DamageReport) -> None:
    say(f"Backup {damaged.backup_id} of {damaged.target} is DAMAGED:", style="bold red")
    for damage in damaged.damages[:_DAMAGES_SHOWN]:
        where = f" ({damage.entry})" if damage.entry else ""
        say(f"  {damage.text}{where} [{damage.code}]")
    if damaged.total > _DAMAGES_SHOWN:
        say(f"  and {damaged.total - _DAMAGES_SHOWN:,} more")
