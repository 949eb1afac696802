"""The options of `coffre restore` for databases; wrong combinations are refused in the options' own names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from coffre.model.errors import CoffreError, SecretError
from coffre.model.kinds import Contents
from coffre_cli.commands.restore.destination import DestinationChoice

if TYPE_CHECKING:
    from coffre.model.restore import Scope


@dataclass(frozen=True)
class Choices:
    """The options that say what is restored, as they were given."""

    to: str | None
    tables: tuple[str, ...]
    schemas: tuple[str, ...]
    with_dependencies: bool
    where_column: str | None
    since: str | None
    until: str | None
    where: str | None
    apply: bool
    replace: bool
    strict: bool
    analyze: bool
    restart: bool
    accept_exceptions: bool
    swap: str | None
    contents: Contents
    no_safety: bool
    dry_run: bool

    def scope(self) -> Scope:
        """Return what they ask for.

        Raises
        ------
        typer.BadParameter
            They do not fit together: which of them, and what to do.
        """
        from pydantic import ValidationError

        from coffre.model.document import describe_validation
        from coffre.model.restore import Scope

        for problem in self._problems():
            raise typer.BadParameter(problem)
        rows = {"column": self.where_column, "start": self.since, "end": self.until, "where": self.where}
        choices = {
            "contents": self.contents,
            "tables": self.tables,
            "schemas": self.schemas,
            "with_dependencies": self.with_dependencies,
            "rows": {name: value for name, value in rows.items() if value is not None} or None,
            "apply": self.apply,
            "replace": self.replace,
            "strict": self.strict,
            "analyze": self.analyze,
            "restart": self.restart,
            "accept_exceptions": self.accept_exceptions,
            "swap": self.swap,
            "no_safety": self.no_safety,
            "dry_run": self.dry_run,
        }
        try:
            return Scope.model_validate(choices)
        except ValidationError as error:
            raise typer.BadParameter("; ".join(describe_validation(error)).removeprefix("document: ")) from None

    @property
    def destination(self) -> DestinationChoice | None:
        """Where `--to` leads; None: the target's own database.

        Raises
        ------
        SecretError, ConnectError
            It is no address.
        """
        if self.to is None:
            return None
        try:
            return DestinationChoice.parse(self.to)
        except SecretError as error:
            if self.where_column is not None and self.until is None:
                error.hint = f"The end of the period is --until; --to names a database. {error.hint}"
            raise

    @property
    def given(self) -> str | None:
        """An option that was given and is for databases only."""
        options = {
            "--table": self.tables,
            "--schema": self.schemas,
            "--with-dependencies": self.with_dependencies,
            "--where-column": self.where_column,
            "--where": self.where,
            "--from": self.since,
            "--until": self.until,
            "--apply": self.apply,
            "--replace": self.replace,
            "--strict": self.strict,
            "--no-analyze": not self.analyze,
            "--restart": self.restart,
            "--accept-exceptions": self.accept_exceptions,
            "--swap": self.swap,
            "--contents": self.contents is not Contents.FULL,
        }
        return next((option for option, value in options.items() if value not in (None, False, ())), None)

    @property
    def problem(self) -> CoffreError | typer.BadParameter | None:
        """What is wrong with them, as far as that is known before the stack is asked."""
        try:
            self.destination  # noqa: B018 - looked at for what it raises
            self.scope()
        except (CoffreError, typer.BadParameter) as problem:
            return problem
        return None

    @property
    def _rows_option(self) -> str | None:
        """The option that chooses rows."""
        return "--where-column" if self.where_column is not None else "--where" if self.where is not None else None

    def _problems(self) -> Iterator[str]:
        yield from self._problems_of_values()
        yield from self._problems_of_rows()
        is_whole = not (self.tables or self.schemas)
        if self.with_dependencies and is_whole:
            yield "--with-dependencies needs --table or --schema"
        if self.contents is not Contents.FULL and not is_whole:
            yield "--contents is for whole restores: leave it out, or leave out --table and --schema"
        if self.contents is not Contents.FULL and self.replace:
            yield "--contents is for restores into a new or empty database: --replace always restores everything"
        if self.restart and (self.replace or not is_whole):
            yield "--restart is for whole restores into a new or empty database"
        for option, value in (("--accept-exceptions", self.accept_exceptions), ("--swap", self.swap)):
            if value and not (self.replace and is_whole):
                yield f"{option} is for replacing a whole database: it needs --replace, without --table and --schema"
        if self.no_safety and not (self.replace or self.apply):
            yield "--no-safety is for --apply and --replace: nothing else changes tables in use"
        if is_whole and not self.replace and self.to is None:
            yield "a whole restore needs a destination: --to, or --replace for the target's own database"

    def _problems_of_values(self) -> Iterator[str]:
        from coffre.model.restore import why_not_an_expression

        values = {
            "--table": self.tables,
            "--schema": self.schemas,
            "--where-column": (self.where_column,),
            "--from": (self.since,),
            "--until": (self.until,),
            "--where": (self.where,),
        }
        for option, given in values.items():
            if "" in given:
                yield f"{option} is empty"
        if self.where is not None and (why := why_not_an_expression(self.where)) is not None:
            yield f"--where: {why}"

    def _problems_of_rows(self) -> Iterator[str]:
        option = self._rows_option
        if self.where_column is not None and self.where is not None:
            yield "--where-column and --where exclude each other; --where can express both"
        if self.where_column is None and not (self.since is self.until is None):
            yield "--from and --until need --where-column: the column that they are about"
        if self.where_column is not None and self.since is self.until is None:
            yield "--where-column needs --from, --until, or both"
        if option is not None and not self.tables:
            yield f"{option} needs --table: the table whose rows are wanted"
        if option is not None and self.replace:
            yield f"{option} and --replace exclude each other: chosen rows are applied with --apply"
        if option is not None and self.with_dependencies:
            yield f"--with-dependencies is for whole tables: leave {option} out"
        if self.apply and option is None:
            yield "--apply needs --where-column or --where; for all rows of a table use --replace instead"
