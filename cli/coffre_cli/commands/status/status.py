"""`coffre status`: are all targets safe, and if not, what is wrong and what cures it?"""

from __future__ import annotations

import importlib
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import typer

from coffre.model.errors import CoffreError
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.place import Place, find_place
from coffre_cli.stack_options import JsonOption, StackOption

if TYPE_CHECKING:
    from coffre.model.status import StatusReport
    from coffre.model.status_facts import Facts

EXAMPLES = examples(
    "coffre status",
    "coffre status shop",
    "coffre status --watch",
    "coffre status --json | jq -r .headline",
    "coffre status >/dev/null || echo 'look at coffre status'",
    "coffre --vault ./copy status",
)
_REDRAWN_AFTER_SECONDS: Final = 10
# Takes half of the time of a status to import: it is loaded while the stack is asked where things are.
_LOADED_MEANWHILE: Final = (
    "coffre.operations.status.gather",
    "coffre.policy.status_report",
    "coffre_cli.commands.status.show",
)


def status(
    targets: Annotated[
        list[str] | None, typer.Argument(metavar="TARGET", help="Only these targets. Default: all.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every ten seconds, until Ctrl-C.")] = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show whether every target is safe, and what is not.

    Safe: a good backup that is young enough, verified and drilled in time, no failed last run, no disabled schedule, no
    critical alert. The first line is the answer; each reason comes with what cures it.

    Exit status: 0 all is safe; 1 something is not, or the stack cannot be read; 2 wrong usage; 5 nothing is known to be
    wrong, but not everything could be read. With --watch: that of the last look.
    """
    if watch and as_json:
        raise typer.BadParameter("--watch redraws a screen: it cannot be combined with --json")
    threading.Thread(target=_load, daemon=True).start()
    place = find_place(stack)
    names = tuple(dict.fromkeys(targets or ()))
    if watch:
        raise typer.Exit(_watch(place, names))
    report = look(place, names)
    if as_json:
        from coffre_cli.screen import print_json

        print_json(report.model_dump(mode="json"))
    else:
        from coffre_cli.commands.status.show import show_status

        show_status(report)
    raise typer.Exit(exit_of(report))


def _load() -> None:
    for module in _LOADED_MEANWHILE:
        importlib.import_module(module)


def look(place: Place, names: tuple[str, ...]) -> StatusReport:
    """Read what is known of the targets (none: of all), and decide."""
    from coffre.policy.status_report import report_of

    return report_of(_facts(place, names, datetime.now(UTC)))


def _facts(place: Place, names: tuple[str, ...], now: datetime) -> Facts:
    from coffre_cli import aws
    from coffre_cli.standalone import StandaloneVault

    if isinstance(place, StandaloneVault):
        from coffre.operations.status.vault_status import gather_from_vault

        facts = gather_from_vault(place.vault, place.catalog, now, names)
        place.report_problems()
        return facts
    from coffre.operations.status.gather import StatusJob, gather
    from coffre.operations.status.schedules import read_schedule, rules_of
    from coffre.policy.prices import prices_of

    prices = prices_of(aws.region())
    output = place.outputs.get("Schedules")
    rules = rules_of(output) if output is not None else None
    schedule = partial(read_schedule, place.events)
    return gather(StatusJob(place.catalog, place.configuration, schedule, rules, now, prices, names))


def exit_of(report: StatusReport) -> Exit:
    """Return the exit status of an answer."""
    return {"safe": Exit.DONE, "not_safe": Exit.FAILED, "unknown": Exit.UNKNOWN}[report.standing.value]


def _watch(place: Place, names: tuple[str, ...]) -> Exit:
    """Look again and again, until Ctrl-C; return the exit status of the last look."""
    last = Exit.INTERRUPTED
    try:
        while True:
            # What a stack has read once it keeps: its configuration may have changed.
            found: StatusReport | CoffreError
            try:
                found = look(replace(place), names)
            except CoffreError as error:
                found = error
            last = _redraw(found)
            time.sleep(_REDRAWN_AFTER_SECONDS)
    except KeyboardInterrupt:
        return last


def _redraw(found: StatusReport | CoffreError) -> Exit:
    from coffre_cli.commands.status.show import show_status
    from coffre_cli.screen import console, say, show_error

    console.clear()  # nothing without a terminal
    if isinstance(found, CoffreError):
        show_error(found)
        return Exit.FAILED
    show_status(found)
    say(f"As of {found.at:%Y-%m-%d %H:%M:%S} UTC; again in {_REDRAWN_AFTER_SECONDS} s. Ctrl-C ends it.", style="dim")
    return exit_of(found)
