"""`coffre config`: the configuration document, its versions, and how it is changed."""

from __future__ import annotations

import typer

from coffre_cli.commands.config import change, check, compare, edit, show
from coffre_cli.examples import examples

app = typer.Typer(
    help="Show, change, check and compare the configuration: which targets exist, and how each is protected.",
    epilog=examples(
        "coffre config show",
        "coffre config edit",
        "coffre config history",
        "coffre config diff 3",
        "coffre config restore 3",
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def config() -> None:
    """Show, change, check and compare the configuration. The guide is docs/configuration.md."""


app.command("show", short_help="Print the document in effect, or an older version.", epilog=show.EXAMPLES)(show.show)
app.command("edit", short_help="Change the document in your editor.", epilog=edit.EXAMPLES)(edit.edit)
app.command("set", short_help="Put a document from a file in effect.", epilog=change.SET_EXAMPLES)(change.set_document)
app.command("check", short_help="Look for mistakes in a document.", epilog=check.EXAMPLES)(check.check)
app.command("diff", short_help="Compare two versions, or a file.", epilog=compare.DIFF_EXAMPLES)(compare.diff)
app.command("history", short_help="List who changed what, and when.", epilog=compare.HISTORY_EXAMPLES)(compare.history)
app.command("restore", short_help="Put an older version in effect again.", epilog=change.RESTORE_EXAMPLES)(
    change.restore
)
