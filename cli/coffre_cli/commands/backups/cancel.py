"""`coffre cancel`: end a backup, a restore or a drill that runs."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from coffre.model.errors import BackupStateError
from coffre.model.kinds import Status
from coffre.runtime.failed_answer import FunctionFailedError
from coffre_cli.backup_argument import resolve_run
from coffre_cli.confirming import is_interactive
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.screen import age, backup_json, print_json, remark, restore_json, say
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption

if TYPE_CHECKING:
    from coffre.model.backup import Backup, Restore
    from coffre.model.drill import DrillRun

    type Run = Backup | Restore | DrillRun

EXAMPLES = examples("coffre cancel", "coffre cancel 01K9X...", "coffre cancel 01K9X... --yes")

# A run looks at its record every two seconds, and ends its sessions at the server within twenty more.
_PATIENCE_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 1.0
# A drill's next invocation begins within a minute or two.
_LONGEST_SILENCE: Final = timedelta(minutes=5)
_SHORTEST_END: Final = 6
_ENDED_BY_IT: Final = "CANCELLED"


def cancel(
    run_id: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="The id of a backup, a restore or a drill; its end is enough. Default: the one that runs.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Cancel it without asking.")] = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cancel a backup, a restore or a drill that runs, and wait until it has ended.

    A cancelled backup is FAILED: nothing of it can be restored, and earlier backups are as they were. A cancelled
    restore leaves the destination as a failed one does: `coffre show ID` says what was changed. A
    cancelled drill says nothing about the backup, and its scratch server is removed.
    """
    deployed = find_stack(stack)
    run = _named(deployed, run_id) if run_id is not None else _only_one(deployed)
    if not yes:
        _ask(run)
    asked = _ask_to_end(deployed, run)
    ended = _wait(deployed, asked, quiet=as_json)
    if as_json:
        print_json(_json(ended))
    else:
        _tell(ended)
    if ended.failure is None or ended.failure.code != _ENDED_BY_IT:
        raise typer.Exit(Exit.FAILED)


def _named(deployed: DeployedStack, text: str) -> Run:
    """Return the run with this id, or a part of one; of a drill the end of it."""
    drills = [run for run in deployed.catalog.drill_runs.newest() if run.id.endswith(text.upper())]
    if len(text) >= _SHORTEST_END and len(drills) == 1:
        return drills[0]
    return resolve_run(deployed, text, None)


def _only_one(deployed: DeployedStack) -> Run:
    catalog = deployed.catalog
    running: list[Run] = [
        *catalog.backups(status=Status.IN_PROGRESS),
        *catalog.restores(status=Status.IN_PROGRESS),
        *(drill for drill in catalog.drill_runs.newest() if _runs(drill)),
    ]
    if len(running) == 1:
        return running[0]
    if not running:
        raise BackupStateError(
            "Nothing runs: there is nothing to cancel.", code="NOTHING_RUNS", hint="What ran last: coffre status"
        )
    lines = "\n".join(f"{run.id}  {_noun(run)} of {run.target}, began {age(run.created_at)}" for run in running)
    raise BackupStateError(f"{len(running)} runs could be meant.", code="RUN_AMBIGUOUS", detail=lines, hint="Name one.")


def _runs(drill: DrillRun) -> bool:
    """Tell whether a drill runs: one that was killed leaves its record as it was."""
    heard = drill.heartbeat_at or drill.created_at
    return drill.status is Status.IN_PROGRESS and datetime.now(UTC) - heard < _LONGEST_SILENCE


def _ask(run: Run) -> None:
    if not is_interactive():
        raise typer.BadParameter("this ends a run: add --yes")
    remark(f"The {_noun(run)} {run.id} of {run.target} began {age(run.created_at)} and is at: {run.progress.phase}.")
    if not typer.confirm(f"Cancel this {_noun(run)}?", err=True):
        raise typer.Exit(Exit.FAILED)


def _ask_to_end(deployed: DeployedStack, run: Run) -> Run:
    from coffre.runtime.cancelling import CancelReport

    report = CancelReport.model_validate(deployed.ask("rotate", {"cancel": run.id}))
    if report.failure is not None:
        raise FunctionFailedError(report.failure.message, code=report.failure.code, hint=report.failure.hint)
    return report.backup or report.restore or report.drill or run


def _wait(deployed: DeployedStack, run: Run, *, quiet: bool) -> Run:
    """Wait until the run has ended; return its record as it is then, or when patience is over."""
    if not quiet and not run.status.is_final:
        remark("It was asked to end, which takes some seconds.")
    until = time.monotonic() + _PATIENCE_SECONDS
    while not run.status.is_final and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
        run = _named(deployed, run.id)
    return run


def _tell(run: Run) -> None:
    if not run.status.is_final:
        say(
            f"The {_noun(run)} {run.id} has not ended yet. If its function was killed, the next run of {run.target} "
            "ends its record.",
            style="yellow",
        )
    elif run.failure is not None and run.failure.code == _ENDED_BY_IT:
        say(f"Cancelled: {_noun(run)} {run.id} of {run.target}.")
    else:
        say(f"It had ended before: the {_noun(run)} {run.id} of {run.target} is {run.status}.", style="yellow")


def _noun(run: Run) -> str:
    from coffre.model.backup import Backup, Restore

    return "backup" if isinstance(run, Backup) else "restore" if isinstance(run, Restore) else "drill"


def _json(run: Run) -> dict[str, object]:
    from coffre.model.backup import Backup, Restore

    if isinstance(run, Backup):
        return backup_json(run)
    return restore_json(run) if isinstance(run, Restore) else run.model_dump(mode="json")
