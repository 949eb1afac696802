"""How a checkup is shown: the worst first, each with what cures it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from coffre.model.words import counted
from coffre_cli.screen import say, say_command

if TYPE_CHECKING:
    from coffre.model.checkup import CheckResult, Checkup

_STYLES: Final = {"blocker": "bold red", "warning": "yellow", "note": ""}
_CODES_SHOWN: Final = 5


def show_checkups(checkups: Sequence[Checkup], remarks: Mapping[str, str]) -> None:
    """Show all checkups; the last line says what all of them mean. `remarks` are sentences about targets."""
    for checkup in checkups:
        _show(checkup, remarks.get(checkup.target or ""))
    blocked = [one.target or "the stack" for one in checkups if one.blockers]
    unseen = [one.target or "the stack" for one in checkups if one.is_uncertain and not one.blockers]
    if blocked:
        say(f"Backups or restores do not work: {', '.join(blocked)}.", style="bold red")
    if unseen:
        say(f"Not everything could be looked at: {', '.join(unseen)}.", style="yellow")
    if checkups and not blocked and not unseen:
        say("Nothing was found that prevents backups.", style="green")
    if not checkups:
        say("No target is configured.", style="yellow")


def _show(checkup: Checkup, remark: str | None) -> None:
    counts = [
        counted(number, word)
        for number, word in (
            (len(checkup.blockers), "blocker"),
            (len(checkup.warnings), "warning"),
            (len(checkup.findings) - len(checkup.blockers) - len(checkup.warnings), "note"),
        )
        if number
    ]
    fine = len(checkup.results) - len(checkup.findings) - len(checkup.unseen)
    say(f"{checkup.target or 'The stack'}: {', '.join([*counts, f'{fine} ok'])}", style="bold")
    show_findings(checkup)
    if remark:
        say(remark, style="dim")
    say("")


def show_findings(checkup: Checkup) -> None:
    """Show what was found and what could not be looked at."""
    for result in checkup.findings:
        _show_finding(result)
    _show_unseen(checkup.unseen)


def _show_finding(result: CheckResult) -> None:
    word = result.severity.value.upper()
    say(f"{word} {result.code}: {result.sentence}", style=_STYLES[result.severity.value])
    if result.evidence:
        say(f"  Seen: {result.evidence}", style="dim")
    if result.cure:
        say_command(result.cure)
    say(f"  {result.docs}", style="dim")


def _show_unseen(unseen: Sequence[CheckResult]) -> None:
    """Show each reason once, with the checks that could not look because of it."""
    by_reason: dict[str, list[CheckResult]] = defaultdict(list)
    for result in unseen:
        by_reason[result.sentence].append(result)
    for reason, results in by_reason.items():
        codes = [one.code for one in results]
        more = f" and {len(codes) - _CODES_SHOWN} more" if len(codes) > _CODES_SHOWN else ""
        say(f"COULD NOT LOOK ({', '.join(codes[:_CODES_SHOWN])}{more}): {reason}", style="yellow")
        for cure in dict.fromkeys(one.cure for one in results if one.cure):
            say_command(cure)
