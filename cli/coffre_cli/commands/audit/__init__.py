"""`coffre audit`: who did what."""

from __future__ import annotations

import typer

from coffre_cli.commands.audit import accesses
from coffre_cli.examples import examples

app = typer.Typer(
    help="Show who accessed the vault.",
    epilog=examples("coffre audit accesses", "coffre audit accesses --since 7d"),
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def audit() -> None:
    """Show who accessed the vault."""


app.command("accesses", short_help="Show who else accessed the vault.", epilog=accesses.EXAMPLES)(accesses.accesses)
