"""`coffre local`: the whole stack on this machine, without an AWS account."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from coffre.model.errors import ConfigurationError
from coffre.postgres.connect import parse_secret
from coffre.vault.codec import new_identity, public_key
from coffre_cli.commands.keys import DEFAULT_SECRET
from coffre_cli.local import stack
from coffre_cli.local.aws import session
from coffre_cli.local.state import LocalState, read_state
from coffre_cli.screen import error_console, say

app = typer.Typer(
    help="Run the whole stack on this machine, without an AWS account.", no_args_is_help=True, rich_markup_mode=None
)


@app.command(
    "up", epilog="Examples:  coffre local up   |   coffre local up --database shop=postgresql://me@localhost/shop"
)
def up(
    database: Annotated[
        list[str] | None,
        typer.Option("--database", metavar="NAME=URL", help="A database of yours to protect; repeatable."),
    ] = None,
    empty: Annotated[bool, typer.Option("--empty", help="Protect nothing yet.")] = False,
    port: Annotated[int, typer.Option(help="Port of the local AWS. Default: a free one.")] = 0,
) -> None:
    """Start the stack in the background: a local AWS with the real template deployed, protecting your databases.

    Without --database it comes with a sample database of its own. It runs until `coffre local down`.
    """
    databases = dict(_parse(text) for text in database or [])
    state = start(databases, sample=not databases and not empty, port=port)
    names = ", ".join(state.databases) or "nothing yet"
    say(f"The local stack is up and protects: {names}.", style="green")
    if state.databases:
        say(f"Take a backup:       coffre backup database {state.databases[0]}")
    say('Reach it with aws:   eval "$(coffre local env)"')
    say("Stop it:             coffre local down")


@app.command("down")
def down() -> None:
    """Stop the stack and remove everything that it stored, backups included."""
    say("The local stack is down; nothing of it is left." if stack.down() else "No local stack was up.")


@app.command("env", epilog='Example:  eval "$(coffre local env)" && aws s3 ls')
def env() -> None:
    """Print the variables that lead `aws`, `sam` and `coffre` to the local stack."""
    for name, value in sorted(stack.environment().items()):
        print(f"export {name}={shlex.quote(value)}")


def start(
    databases: Mapping[str, str], *, sample: bool, sample_scale: float = 1.0, port: int = 0, quiet: bool = False
) -> LocalState:
    """Bring the local stack up with a key pair and a configuration document of its own."""
    before = read_state()
    names = sorted({*databases, *([stack.SAMPLE] if sample else []), *(before.databases if before else ())})
    parameters: dict[str, str] = {}
    if before is not None and "ConfigurationDocument" in before.parameters:
        known = json.loads(before.parameters["ConfigurationDocument"])
        parameters["ConfigurationDocument"] = _document(names, known["recipients"][0])

    def prepare(environment: Mapping[str, str]) -> Mapping[str, str]:
        identity = new_identity()
        client = session(environment).client("secretsmanager", endpoint_url=environment["AWS_ENDPOINT_URL"])
        client.create_secret(Name=DEFAULT_SECRET, SecretString=identity)
        return {"ConfigurationDocument": _document(names, public_key(identity))}

    options = stack.StackOptions(
        databases=databases, sample=sample, sample_scale=sample_scale, parameters=parameters, prepare=prepare
    )
    steps = (lambda _: None) if quiet else (lambda text: error_console.print(f"  {text}", style="dim"))
    return stack.up(options, port=port, on_step=steps)


def _parse(text: str) -> tuple[str, str]:
    name, equals, url = text.partition("=")
    if not equals or not name:
        raise ConfigurationError(
            "--database takes NAME=URL.", hint="For example: --database shop=postgresql://me:secret@localhost/shop"
        )
    parse_secret(url, where=f"--database {name}")
    return name, url


def _document(names: list[str], recipient: str) -> str:
    """Return the configuration document; without databases one target that waits for its secret."""
    targets: list[dict[str, Any]] = [
        {"name": name, "secret": f"{stack.SECRET_PREFIX}{name}"} for name in names or ["main"]
    ]
    return json.dumps({"encryption": "age", "recipients": [recipient], "targets": targets})
