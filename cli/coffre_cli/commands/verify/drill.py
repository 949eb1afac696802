"""`coffre verify --level drill`: in the stack, in this process (`--here`), or into a given server (`--scratch`)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from coffre.model.errors import BackupStateError
from coffre_cli.backup_argument import latest, resolve_backup
from coffre_cli.commands.verify.calling import VerificationError, call_function
from coffre_cli.commands.verify.drill_report import leave_with, newest_report, show_report
from coffre_cli.deployed import DeployedStack
from coffre_cli.follow import left_on_interrupt
from coffre_cli.screen import error_console, print_json, remark

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.model.configuration import Configuration

_POLL_SECONDS: Final = 2.0
# 15 minutes, and the start of the next one.
_LONGEST_INVOCATION_SECONDS: Final = 960

ScratchOption = Annotated[
    str | None,
    typer.Option(
        "--scratch",
        metavar="env:NAME|secret:NAME|FILE|URL",
        help="With --level drill: restore into this empty server, of any size; implies --here. A variable, a "
        "secret or a file with its postgresql:// URL; the URL itself only without a password.",
    ),
]


@dataclass(frozen=True)
class DrillOptions:
    """Where a drill runs: in the stack; here, with the programs in `home`; here, into the server `scratch`."""

    here: bool = False
    home: Path | None = None
    scratch: str | None = None

    @property
    def is_here(self) -> bool:
        return self.here or self.scratch is not None

    def refuse(self, *, is_drill: bool) -> None:
        """Refuse options that do not go together."""
        if not is_drill and (self.is_here or self.home is not None):
            raise typer.BadParameter("--here, --scratch and --postgres-home are for --level drill")
        if self.home is not None and not self.is_here:
            raise typer.BadParameter("--postgres-home goes with --here: the function has programs of its own")


def drill(
    deployed: DeployedStack, backup_id: str | None, target: str | None, options: DrillOptions, *, as_json: bool
) -> None:
    """Drill the chosen backup, or the newest one of each target, and show the reports."""
    names = [target] if target else list(_drilled(deployed.configuration))
    if not (names or backup_id):
        raise VerificationError(
            "No target is drilled: the configuration leaves all of them out.",
            code="NOTHING_TO_DRILL",
            hint="Name a backup, or set drill.objects of a target of buckets (docs/drills.md).",
        )
    backups = [resolve_backup(deployed, backup_id, target)] if backup_id is not None else _newest(deployed, names)
    reports = []
    for backup in backups:
        if options.is_here:
            from coffre_cli.commands.verify.drill_here import drill_here

            refuse_cancelled(drill_here(deployed, backup, options, quiet=as_json))
        else:
            words = f"Drilling {backup.id}"
            answer = call_function(deployed, {"backup_id": backup.id}, words, quiet=as_json, function="drill")
            await_report(deployed, backup, answer, quiet=as_json)
        reports.append(newest_report(deployed, backup))
    if as_json:
        print_json([report.model_dump(mode="json") for report in reports])
    else:
        for report in reports:
            show_report(report)
    leave_with(reports)


def _newest(deployed: DeployedStack, names: Sequence[str]) -> list[Backup]:
    """Return the newest backup of each target. One without any keeps no other from being drilled.

    Raises
    ------
    BackupStateError
        No target has a good one, or all that one has are damaged.
    """
    found: list[Backup] = []
    without: list[BackupStateError] = []
    for name in names:
        try:
            found.append(latest(deployed, name))
        except BackupStateError as error:
            without.append(error)
    worst = next((error for error in without if error.code == "BACKUP_DAMAGED"), None)
    if worst is not None or not found:
        raise worst or without[0]
    for one in without:
        remark(f"Not drilled: {one.message}")
    return found


def await_report(deployed: DeployedStack, backup: Backup, answer: object, *, quiet: bool) -> None:
    """Wait until a drill has its report, by the function's answer: of a large database after several invocations.

    Raises
    ------
    VerificationError
        `DRILL_DIED`: an invocation ended without a report, and started no other.
    """
    from coffre.vault.reports import DrillReports

    words = f"Drilling {backup.id}"
    refuse_cancelled(answer)
    if not isinstance(answer, Mapping) or answer.get("outcome") != "continues":
        return
    drill_id, reports = str(answer["id"]), DrillReports(deployed.vault.store)
    remark(f"The drill takes several invocations; its report follows the last one: coffre report {backup.id}")
    count, began = 0, time.monotonic()
    with error_console.status(words, spinner="dots") as status, left_on_interrupt(deployed, backup.id):
        if quiet:
            status.stop()
        while reports.of(backup.target, backup.id, drill_id) is None:
            run = deployed.catalog.drill_runs.of(backup.target)
            if run is not None and run.id == drill_id and run.failure is not None and run.failure.code == "CANCELLED":
                raise _cancelled(drill_id, run.failure.message)
            found = reports.invocations(backup.target, backup.id, drill_id)
            if found != count:
                count, began = found, time.monotonic()
                status.update(f"{words}: invocation {count}")
            elif time.monotonic() - began > _LONGEST_INVOCATION_SECONDS:
                raise VerificationError(
                    f"The drill {drill_id} has started no invocation for 16 minutes, and has no report.",
                    code="DRILL_DIED",
                    hint=f"Look at the log of the function drill. Without a time limit: coffre verify --level drill "
                    f"{backup.id} --here",
                )
            time.sleep(_POLL_SECONDS)


def refuse_cancelled(answer: object) -> None:
    """Raise `CANCELLED` when the function answers that a person has cancelled the drill: it has no report."""
    if isinstance(answer, Mapping) and answer.get("outcome") == "cancelled":
        raise _cancelled(str(answer["id"]), str(answer["failure"]["message"]))


def _cancelled(drill_id: str, message: str) -> VerificationError:
    return VerificationError(
        message,
        code="CANCELLED",
        detail=f"The drill {drill_id} has no report, and nothing is known of the backup by it.",
        hint="Start it again whenever it suits: coffre verify --level drill",
    )


def _drilled(configuration: Configuration) -> Iterator[str]:
    """Yield the names of the targets that are drilled: buckets can be left out by their `drill.objects`."""
    yield from (database.name for database in configuration.databases)
    yield from (one.name for one in configuration.object_targets if one.drill.objects)
