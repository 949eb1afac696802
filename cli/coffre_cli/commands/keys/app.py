"""`coffre keys`: the keys that encrypt and open backups, and what opens them without Coffre."""

from __future__ import annotations

import typer

from coffre_cli.commands.keys import list_check, new, recovery_kit, rotate
from coffre_cli.examples import examples

app = typer.Typer(
    help="Create, list, check and rotate the keys of backups; write a recovery kit.",
    epilog=examples(
        "coffre keys new --offline ./offline.txt",
        "coffre keys list",
        "coffre keys check --identity ./offline.txt",
        "coffre keys recovery-kit ./kit",
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def keys() -> None:
    """Create, list, check and rotate the keys of backups; write a recovery kit. The guide is docs/keys.md."""


app.command("new", short_help="Create a key pair and store the private key.", epilog=new.EXAMPLES)(new.new)
app.command("list", short_help="List the keys, and which backups need them.", epilog=list_check.LIST_EXAMPLES)(
    list_check.list_keys
)
app.command("check", short_help="Try the private keys on the newest backups.", epilog=list_check.CHECK_EXAMPLES)(
    list_check.check
)
app.command("rotate", short_help="Create a new key for new backups.", epilog=rotate.EXAMPLES)(rotate.rotate)
app.command("recovery-kit", short_help="Write what a restore needs without Coffre.", epilog=recovery_kit.EXAMPLES)(
    recovery_kit.recovery_kit
)
