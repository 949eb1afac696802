"""`coffre api-keys`: make, list, rotate and revoke the keys with which machines use the console's API."""

from __future__ import annotations

import typer

from coffre_cli.commands.api_keys import change, show
from coffre_cli.examples import examples

app = typer.Typer(
    help="Make, list, rotate and revoke keys of the console's API.",
    epilog=examples(
        "coffre api-keys create 'nightly cron' --scope backup:run:shop --expires 90d",
        "coffre api-keys list",
        "coffre api-keys rotate 0123456789abcdef",
        "coffre api-keys revoke 0123456789abcdef",
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def api_keys() -> None:
    """Make, list, rotate and revoke keys of the console's API. The guide is docs/console.md.

    The keys that encrypt backups are another matter: coffre keys.
    """


app.command("create", short_help="Make a key, and show it once.", epilog=change.CREATE_EXAMPLES)(change.create)
app.command("list", short_help="List the keys, and when each was used.", epilog=show.EXAMPLES)(show.list_keys)
app.command("rotate", short_help="Give a key another secret.", epilog=change.ROTATE_EXAMPLES)(change.rotate)
app.command("revoke", short_help="End a key immediately.", epilog=change.REVOKE_EXAMPLES)(change.revoke)
