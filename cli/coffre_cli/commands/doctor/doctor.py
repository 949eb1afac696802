"""`coffre doctor`: what will break a backup or a restore, seen from where backups run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coffre.model.errors import CoffreError
from coffre.runtime.failed_answer import FunctionFailedError
from coffre_cli.commands.doctor.here import find, look_here
from coffre_cli.commands.doctor.show import show_checkups
from coffre_cli.commands.journal.price import journal_lines
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.screen import error_console, print_json
from coffre_cli.stack_options import JsonOption, StackOption

if TYPE_CHECKING:
    from coffre.model.checkup import Checkup

EXAMPLES = examples(
    "coffre doctor",
    "coffre doctor shop",
    "coffre doctor shop --strict",
    "coffre doctor --probe",
    "coffre doctor --json | jq -r '.[].results[] | select(.state == \"finding\") | .code'",
)


def doctor(
    target: Annotated[str | None, typer.Argument(metavar="[TARGET]", help="Only this target. Default: all.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 4 if something is a warning.")] = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="Allow checks that write a small object to the vault to know.")
    ] = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for what prevents backups, or makes them incomplete, and show what cures it.

    The checks of a target run in the function that backs it up: with its role, its network, and the target's secret.
    Those of the stack and of this machine run here, with your credentials, unless a target is named. They take no
    backup and write nothing to a database. docs/doctor.md has a section about each code.

    Exit status: 0 no blocker; 1 a blocker; 2 wrong usage; 4 a warning, with --strict; 5 no blocker is known, but not
    everything could be looked at.
    """
    deployed = find(stack, quiet=as_json)
    names = [one.name for one in deployed.configuration.targets] if target is None else [target]
    checkups = [look_here(deployed, probe=probe, quiet=as_json)] if target is None else []
    checkups += look_at_targets(deployed, names, probe=probe, quiet=as_json)
    if as_json:
        print_json([one.model_dump(mode="json") for one in checkups])
    else:
        show_checkups(checkups, journal_lines(deployed, names))
    if status := exit_of(checkups, strict=strict):
        raise typer.Exit(status)


def look_at_targets(deployed: DeployedStack, names: Sequence[str], *, probe: bool, quiet: bool) -> Iterator[Checkup]:
    """Yield what the function that backs up each target sees there."""
    for name in names:
        yield look_at_target(deployed, name, {"probe": probe}, quiet=quiet)


def look_at_target(deployed: DeployedStack, name: str, options: Mapping[str, Any], *, quiet: bool) -> Checkup:
    """Return what the function that backs up a target sees there; a function that fails could not look."""
    from coffre.model.checkup import Checkup

    event = {"doctor": True, "target": name, **options}
    with error_console.status(f"Looking at {name}", spinner="dots") as status:
        if quiet:
            status.stop()
        try:
            answer = deployed.ask(deployed.configuration.target(name).kind.function, event)
        except FunctionFailedError as error:
            return stopped(name, error)
        return Checkup.model_validate(answer)


def stopped(target: str, error: CoffreError) -> Checkup:
    """Return the checkup of a target that could not be looked at."""
    from coffre.model.checkup import CheckResult, Checkup, Severity, State

    result = CheckResult(
        code="DOCTOR_STOPPED",
        severity=Severity.BLOCKER,
        state=State.COULD_NOT_LOOK,
        sentence=f"{error.message} [{error.code}]",
        evidence=error.detail,
        cure=error.hint,
        docs="docs/doctor.md#doctor_stopped",
    )
    return Checkup.of(datetime.now(UTC), target, [result])


def exit_of(checkups: Sequence[Checkup], *, strict: bool) -> int:
    """Return the exit status of what was found."""
    if any(one.blockers for one in checkups):
        return Exit.FAILED
    if any(one.is_uncertain for one in checkups):
        return Exit.UNKNOWN
    if strict and any(one.warnings for one in checkups):
        return Exit.EXCEPTIONS
    return Exit.DONE
