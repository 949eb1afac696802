"""`coffre journal`: what of the changes between backups is stored, and how far back moments can be restored."""

from __future__ import annotations

import typer

from coffre_cli.commands.journal import find_drop, log, off, run, show
from coffre_cli.examples import examples

app = typer.Typer(
    help="Show, read, drain and switch off journals: the changes between backups.",
    epilog=examples("coffre journal list shop", "coffre journal find-drop shop", "coffre journal drain shop"),
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def journal() -> None:
    """Show, read, drain and switch off journals: the changes between backups. The guide is docs/point-in-time.md.

    A journal is switched on by the field `journal` of a database: coffre config edit.
    """


app.command("list", short_help="Show which moments can be restored.", epilog=show.EXAMPLES)(show.list_journals)
app.command("log", short_help="Show what happened to a table's rows.", epilog=log.EXAMPLES)(log.log)
app.command("find-drop", short_help="Find where data was lost.", epilog=find_drop.EXAMPLES)(find_drop.find_drop)
app.command("drain", short_help="Store now what has changed.", epilog=run.DRAIN_EXAMPLES)(run.drain)
app.command("off", short_help="Switch a journal off, and drop its slot.", epilog=off.EXAMPLES)(off.off)
