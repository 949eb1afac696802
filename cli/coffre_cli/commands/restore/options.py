"""The options that the restores have in common, and how wrong combinations are refused: in the options' own names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coffre.model.errors import SecretError
from coffre.model.kinds import TargetKind
from coffre_cli.commands.restore.destination import DestinationChoice
from coffre_cli.deployed import DeployedStack
from coffre_cli.place import Place
from coffre_cli.reading import find_reading_place, resolve_read
from coffre_cli.screen import remark

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.model.restore import Scope

_ADDRESS = (
    "a postgresql:// URL, a variable that holds one (keeps the password out of your shell's history), or the name of a "
    "secret below coffre/destination/."
)
ToNewDatabase = Annotated[
    str | None,
    typer.Option("--to", metavar="URL|env:NAME|SECRET", help=f"The database to restore into: {_ADDRESS}"),
]
ToDatabase = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="URL|env:NAME|SECRET",
        help=f"The database to restore into. Default: the target's own. {_ADDRESS[0].upper()}{_ADDRESS[1:]}",
    ),
]
StrictOption = Annotated[
    bool,
    typer.Option("--strict", help="Stop at the first object that the server refuses, instead of leaving it out."),
]
ResumeOption = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="RESTORE",
        help="Continue this earlier restore of the same backup into the same destination, which did not end.",
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Confirm the plan without asking.")]
StreamsOption = Annotated[
    int | None, typer.Option(min=1, max=16, help="Number of parallel connections. Default: one for each core.")
]
TargetOption = Annotated[str | None, typer.Option(help="With `latest` or a time: of which target.")]


@dataclass(frozen=True)
class Which:
    """Which backup of which stack is meant, as it was given.

    `place` is the stack or vault if it is open already; `source` is the copy that the backup is read from. With `here`
    the functions run in this process; `home` has PostgreSQL's programs for them.
    """

    backup_id: str
    target: str | None
    stack: str | None
    kind: TargetKind = TargetKind.DATABASE
    place: Place | None = None
    source: str | None = None
    here: bool = False
    home: Path | None = None

    def find(self) -> tuple[Place, Backup]:
        """Return the stack or the vault, and the backup.

        Raises
        ------
        typer.BadParameter
            It is a backup of the other kind.
        CoffreError
            No such backup exists, or it cannot be restored.
        """
        from coffre.operations.stored_backup.open_backup import refuse_unrestorable

        if self.home is not None and not self.here:
            raise typer.BadParameter("--postgres-home goes with --here: the functions have programs of their own")
        place = self.place or find_reading_place(self.stack, self.source)
        if self.here and isinstance(place, DeployedStack):
            from coffre_cli.here import StackHere

            place = StackHere.of(place, self.home)
        backup = resolve_read(place, self.backup_id, self.target, self.source, self.kind)
        refuse_unrestorable(backup)
        if backup.kind is not self.kind:
            what, command = _NAMES[backup.kind]
            raise typer.BadParameter(f"{backup.id} is a backup of {what}: coffre restore {command} {backup.id}")
        if backup.damaged_at is not None:
            remark(
                "This backup is DAMAGED. What the vault has lost is taken from a copy if one has it; otherwise the "
                f"restore stops if it needs it: {backup.damage}"
            )
        return place, backup


_NAMES = {
    TargetKind.DATABASE: ("a database", "database"),
    TargetKind.BUCKET: ("buckets", "objects"),
    TargetKind.SETTINGS: ("settings", "settings"),
    TargetKind.REPOSITORY: ("repositories", "repositories"),
}


@dataclass(frozen=True)
class How:
    """How a restore runs and answers."""

    streams: int | None
    yes: bool
    as_json: bool


def refuse(problems: Iterator[str]) -> None:
    """Refuse the first of the problems, if there is one."""
    for problem in problems:
        raise typer.BadParameter(problem)


def empty_ones(options: Mapping[str, str | tuple[str, ...] | None]) -> Iterator[str]:
    """Yield which options, by their names, are given without a text."""
    for name, value in options.items():
        if "" in ((value,) if isinstance(value, str) else value or ()):
            yield f"{name} is empty"


def problems_of_resume(resume: str | None, *, dry_run: bool) -> Iterator[str]:
    """Yield what does not fit --resume."""
    if resume is not None and dry_run:
        yield "--resume continues what an earlier restore began: leave --dry-run out"


def scope_of(**choices: Any) -> Scope:
    """Return what is restored; the choices are the fields of `Scope`."""
    from pydantic import ValidationError

    from coffre.model.document import describe_validation
    from coffre.model.restore import Scope

    try:
        return Scope.model_validate(choices)
    except ValidationError as error:
        raise typer.BadParameter("; ".join(describe_validation(error)).removeprefix("document: ")) from None


def destination_of(to: str | None, *, is_period: bool = False) -> DestinationChoice | None:
    """Return where `--to` leads; None: the target's own database.

    Raises
    ------
    SecretError, ConnectError
        It is no address.
    """
    if to is None:
        return None
    try:
        return DestinationChoice.parse(to)
    except SecretError as error:
        if is_period:
            error.hint = f"The end of the period is --until; --to names a database. {error.hint}"
        raise
