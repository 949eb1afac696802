"""`coffre restore tables` and `coffre restore rows`: parts of a database, compared with what is in use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

import typer

from coffre_cli.backup_argument import BackupId
from coffre_cli.commands.restore.moment import AtLsnOption, AtOption, BeforeTransactionOption, moment_of
from coffre_cli.commands.restore.options import (
    DryRunOption,
    How,
    ResumeOption,
    StreamsOption,
    StrictOption,
    TargetOption,
    ToDatabase,
    Which,
    YesOption,
    destination_of,
    empty_ones,
    problems_of_resume,
    refuse,
    scope_of,
)
from coffre_cli.commands.restore.run_database import run_database
from coffre_cli.commands.restore.safety import NoSafetyOption
from coffre_cli.examples import examples
from coffre_cli.reading import FromCopyOption, FromOption
from coffre_cli.stack_options import HereOption, HomeOption, JsonOption, StackOption

TABLES_EXAMPLES = examples(
    "coffre restore tables latest payments --with-dependencies",
    "coffre restore tables latest listings    # compares, changes nothing",
    "coffre restore tables latest listings --replace",
    "coffre restore tables 2026-11-17 'billing.*' audit.events --to env:NEW",
    "coffre restore tables latest --schema billing --here",
    'coffre restore tables latest orders --at "2026-11-27 14:29:30+01"',
)
ROWS_EXAMPLES = examples(
    "coffre restore rows latest reviews --where-column at --from 2026-11-17",
    "coffre restore rows latest reviews --where-column at --from 2026-11 --apply",
    "coffre restore rows latest orders --where 'total < 0'",
    "coffre restore rows latest orders --where 'id = 7' --at-lsn 16/B374",
)

_TablePatterns = typer.Argument(metavar="TABLE", help="Names or patterns: orders, app.orders, 'app.*'.")


def restore_tables(
    backup_id: BackupId,
    table: Annotated[list[str] | None, _TablePatterns] = None,
    schema: Annotated[
        list[str] | None,
        typer.Option("--schema", "-n", metavar="PATTERN", help="All tables of these schemas; may be repeated."),
    ] = None,
    with_dependencies: Annotated[
        bool,
        typer.Option(
            "--with-dependencies",
            help="For a missing table, also restore the types and functions that it needs, and the views, foreign keys "
            "and policies that were dropped with it.",
        ),
    ] = False,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Make the rows of existing tables those of the backup. Newer rows are deleted."),
    ] = False,
    at: AtOption = None,
    at_lsn: AtLsnOption = None,
    before_transaction: BeforeTransactionOption = None,
    to: ToDatabase = None,
    strict: StrictOption = False,
    no_safety: NoSafetyOption = False,
    resume: ResumeOption = None,
    source: FromOption = None,
    here: HereOption = False,
    postgres_home: HomeOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    streams: StreamsOption = None,
    target: TargetOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore some tables of a backup into the target's own database, or into another one (--to).

    A missing table is restored under its own name. For an existing one, the backup's version is loaded into a staging
    schema and compared by key; the table itself changes only with --replace.

    With --at, --at-lsn or --before-transaction the tables are restored as they were at a moment that the journal has:
    `latest` then means the last backup before that moment.
    """
    tables, schemas = tuple(table or ()), tuple(schema or ())
    refuse(_problems_of_tables(tables, schemas, replace=replace, no_safety=no_safety))
    refuse(problems_of_resume(resume, dry_run=dry_run))
    scope = scope_of(
        at=moment_of(at, at_lsn, before_transaction),
        tables=tables,
        schemas=schemas,
        with_dependencies=with_dependencies,
        replace=replace,
        strict=strict,
        no_safety=no_safety,
        resume=resume,
        dry_run=dry_run,
    )
    run_database(
        Which(backup_id, target, stack, source=source, here=here, home=postgres_home),
        scope,
        destination_of(to),
        How(streams, yes, as_json),
    )


def restore_rows(
    backup_id: BackupId,
    table: Annotated[list[str], _TablePatterns],
    where_column: Annotated[
        str | None,
        typer.Option("--where-column", metavar="COLUMN", help="Rows with values of this column in a period."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="VALUE", help="With --where-column: the first value, such as 2026-11-17 (times in UTC)."
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="VALUE", help="With --where-column: the first value that is not restored."),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--where", metavar="SQL", help='Rows for which this SQL is true, for experts: "total < 0".'),
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Insert missing rows and reset changed ones, after the comparison.")
    ] = False,
    at: AtOption = None,
    at_lsn: AtLsnOption = None,
    before_transaction: BeforeTransactionOption = None,
    to: ToDatabase = None,
    no_safety: NoSafetyOption = False,
    resume: ResumeOption = None,
    source: FromCopyOption = None,
    here: HereOption = False,
    postgres_home: HomeOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    streams: StreamsOption = None,
    target: TargetOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare some rows of a table with the backup's, and restore the missing and changed ones with --apply.

    The backup's rows are loaded into a staging schema and compared by key. Rows that the backup does not have stay.
    With --at, --at-lsn or --before-transaction the rows are those of a moment that the journal has.
    """
    tables = tuple(table)
    refuse(_problems_of_rows(tables, where_column, since, until, where, apply=apply, no_safety=no_safety))
    refuse(problems_of_resume(resume, dry_run=dry_run))
    rows = {"column": where_column, "start": since, "end": until, "where": where}
    scope = scope_of(
        at=moment_of(at, at_lsn, before_transaction),
        tables=tables,
        rows={name: value for name, value in rows.items() if value is not None},
        apply=apply,
        no_safety=no_safety,
        resume=resume,
        dry_run=dry_run,
    )
    destination = destination_of(to, is_period=where_column is not None and until is None)
    run_database(
        Which(backup_id, target, stack, source=source, here=here, home=postgres_home),
        scope,
        destination,
        How(streams, yes, as_json),
    )


def _problems_of_tables(
    tables: tuple[str, ...], schemas: tuple[str, ...], *, replace: bool, no_safety: bool
) -> Iterator[str]:
    yield from empty_ones({"TABLE": tables, "--schema": schemas})
    if not (tables or schemas):
        yield "name the tables, or their schema with --schema; for everything: coffre restore database"
    if no_safety and not replace:
        yield "--no-safety is for --replace: nothing else changes tables in use"


def _problems_of_rows(
    tables: tuple[str, ...],
    where_column: str | None,
    since: str | None,
    until: str | None,
    where: str | None,
    *,
    apply: bool,
    no_safety: bool,
) -> Iterator[str]:
    from coffre.model.row_filter import why_not_an_expression

    given = {"--where-column": where_column, "--from": since, "--until": until, "--where": where}
    yield from empty_ones({"TABLE": tables, **given})
    if where is not None and (why := why_not_an_expression(where)) is not None:
        yield f"--where: {why}"
    if where_column is not None and where is not None:
        yield "--where-column and --where exclude each other; --where can express both"
    if where_column is None and not (since is until is None):
        yield "--from and --until need --where-column: the column that they are about (a copy is --from-copy)"
    if where_column is not None and since is until is None:
        yield "--where-column needs --from, --until, or both"
    if since and until and _is_not_before(since, until):
        yield f"--from {since} is not before --until {until}: no row is in that period"
    if where_column is where is None:
        yield "say which rows: --where-column with --from and --until, or --where; for all: coffre restore tables"
    if no_safety and not apply:
        yield "--no-safety is for --apply: nothing else changes tables in use"


def _is_not_before(since: str, until: str) -> bool:
    """Return whether a period is empty, as far as numbers, dates and times show it."""
    for read in (float, _instant):
        with contextlib.suppress(ValueError):
            return read(since) >= read(until)
    return False


def _instant(text: str) -> float:
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
