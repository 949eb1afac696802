"""`coffre verify --level drill`: in the stack, in this process (`--here`), or into a given server (`--scratch`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coffre_cli.backup_argument import latest, resolve_backup
from coffre_cli.commands.verify.calling import VerificationError, call_function
from coffre_cli.commands.verify.drill_report import leave_with, newest_report, show_report
from coffre_cli.deployed import DeployedStack
from coffre_cli.screen import print_json

if TYPE_CHECKING:
    from coffre.model.configuration import Configuration

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
    backups = (
        [resolve_backup(deployed, backup_id, target)]
        if backup_id is not None
        else [latest(deployed, name) for name in names]
    )
    reports = []
    for backup in backups:
        if options.is_here:
            from coffre_cli.commands.verify.drill_here import drill_here

            drill_here(deployed, backup, options, quiet=as_json)
        else:
            call_function(deployed, {"backup_id": backup.id}, f"Drilling {backup.id}", quiet=as_json, function="drill")
        reports.append(newest_report(deployed, backup))
    if as_json:
        print_json([report.model_dump(mode="json") for report in reports])
    else:
        for report in reports:
            show_report(report)
    leave_with(reports)


def _drilled(configuration: Configuration) -> Iterator[str]:
    """Yield the names of the targets that are drilled: buckets can be left out by their `drill.objects`."""
    yield from (database.name for database in configuration.databases)
    yield from (one.name for one in configuration.object_targets if one.drill.objects)
