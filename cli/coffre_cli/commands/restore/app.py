"""`coffre restore database|tables|rows|objects|settings|repositories|point`."""

from __future__ import annotations

from typing import Any

import typer
import typer.core

from coffre_cli.commands.points import restore as point
from coffre_cli.commands.restore import database, objects, repositories, settings, tables
from coffre_cli.examples import examples


class _SaysWhatComesFirst(typer.core.TyperGroup):
    """Answers a restore that does not say what is restored with the form that does."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise typer.BadParameter(
                "say first what is restored: database, tables, rows, objects, settings, repositories or "
                "point. "
                f'"{args[0]}" comes after it: '
                f"coffre restore database {args[0]}",
                ctx=ctx,
            )
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_SaysWhatComesFirst,
    help="Restore a backup: a whole database, some tables, some of their rows, objects of buckets, "
    "settings, or repositories.\n\n"
    "What overwrites is planned first: the plan is shown, the name of what is overwritten is typed, and ten seconds "
    "later it starts. --yes confirms the plan as it is.",
    epilog=examples(
        "coffre restore database latest --to env:DESTINATION",
        "coffre restore database latest --replace --dry-run",
        "coffre restore tables latest payments --with-dependencies",
        "coffre restore rows latest orders --where-column day --from 2026-11-17",
        "coffre restore objects latest --prefix 2026/invoices/",
        "coffre restore point latest --to env:DESTINATION --to-bucket files-for-tests",
        "coffre restore settings latest --dry-run",
        "coffre restore repositories latest --output restored",
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def restore() -> None:
    """Restore a backup: a database, some tables, some of their rows, objects of buckets, settings, or repositories."""


app.command("database", short_help="Restore a whole database.", epilog=database.EXAMPLES)(database.restore_database)
app.command("tables", short_help="Restore some tables.", epilog=tables.TABLES_EXAMPLES)(tables.restore_tables)
app.command("rows", short_help="Compare and restore some rows of a table.", epilog=tables.ROWS_EXAMPLES)(
    tables.restore_rows
)
app.command("objects", short_help="Restore objects of buckets.", epilog=objects.EXAMPLES)(objects.restore_objects)
app.command("point", short_help="Restore a database and its objects as of one moment.", epilog=point.EXAMPLES)(
    point.restore_point
)
app.command("settings", short_help="Restore secrets, parameters and files.", epilog=settings.EXAMPLES)(
    settings.restore_settings
)
app.command("repositories", short_help="Restore Git repositories.", epilog=repositories.EXAMPLES)(
    repositories.restore_repositories
)
