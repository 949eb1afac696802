"""`coffre console`: where the stack's console is, opened in a browser."""

from __future__ import annotations

import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

from coffre.model.errors import PermanentError
from coffre_cli.examples import examples
from coffre_cli.screen import print_json, remark
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption
from coffre_cli.vault_choice import refuse_vault

if TYPE_CHECKING:
    from coffre_cli.deployed import DeployedStack

EXAMPLES = examples(
    "coffre console", "coffre console --no-browser", "coffre console --stack coffre --json | jq -r .address"
)


class ConsoleOffError(PermanentError):
    """The stack has no console."""

    default_code = "CONSOLE_OFF"


def console(
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address, and open nothing.")] = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the address of the stack's console, and open it in a browser.

    The local stack's console has test users of each role. With --json nothing is opened.
    """
    refuse_vault("console")
    deployed = find_stack(stack)
    address = address_of(deployed)
    if address is None:
        raise ConsoleOffError(
            f"The console of the stack {deployed.name} is off.",
            hint="Deploy the stack with the parameter Console=on; docs/console.md says who can sign in then.",
        )
    has_people = deployed.configuration.console is not None or "ConsoleUserPool" in deployed.outputs
    if as_json:
        print_json({"address": address, "sign_in": has_people})
        return
    print(address)
    if not has_people:
        remark(
            "It lets no one in yet: the configuration has no section `console`, and the stack no user pool "
            "(ConsoleSignIn=cognito). See docs/console.md."
        )
    if not no_browser and not webbrowser.open(address):
        remark("No browser could be opened here: open the address yourself.")


def address_of(deployed: DeployedStack) -> str | None:
    """Return where browsers find the console: its own domain, or its API's address. None: it is off."""
    api = deployed.outputs.get("ConsoleAddress")
    if api is None:
        return None
    console = deployed.configuration.console
    return ((console.address if console is not None else None) or api).rstrip("/")
