"""`coffre local`: the whole stack on this machine, without an AWS account."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coffre.model.errors import ConfigurationError, SecretError
from coffre_cli.commands.keys.secrets import DEFAULT_SECRET
from coffre_cli.examples import examples
from coffre_cli.screen import error_console, say, say_command

if TYPE_CHECKING:
    from coffre_local.state import LocalState

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_EXAMPLE = "shop=postgresql://me:secret@localhost/shop"

app = typer.Typer(
    help="Run the whole stack on this machine, without an AWS account.",
    epilog=examples("coffre local up", 'eval "$(coffre local env)" && aws s3 ls', "coffre local down"),
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(
    "up",
    short_help="Start the stack in the background.",
    epilog=examples(
        "coffre local up",
        "coffre local up --database shop=postgresql://me:secret@localhost/shop",
        "coffre local up --empty --port 4566",
    ),
)
def up(
    database: Annotated[
        list[str] | None,
        typer.Option("--database", metavar="NAME=URL", help="A database of yours to back up; repeatable."),
    ] = None,
    empty: Annotated[bool, typer.Option("--empty", help="Start without any database or bucket.")] = False,
    port: Annotated[int, typer.Option(show_default=False, help="Port of the local AWS. Default: a free one.")] = 0,
) -> None:
    """Start the stack in the background: a local AWS with the real template, which backs up your databases.

    Without --database it comes with a sample database of its own. It runs until `coffre local down`.
    """
    from coffre_local import stack

    databases = _databases(database or [])
    if empty and databases:
        raise ConfigurationError("--empty and --database exclude each other.", hint="Leave one of them out.")
    state = start(databases, sample=not databases and not empty, port=port)
    names = (
        ", ".join((*state.databases, *state.buckets)) or "nothing yet (add one: coffre local up --database NAME=URL)"
    )
    say(f"The local stack is up and protects: {names}.", style="green")
    if state.databases:
        say("Take a backup:")
        say_command(f"coffre backup database {state.databases[0]}")
    for bucket in state.buckets:
        say_command(f"coffre backup buckets {bucket}")
    if state.postgres is not None:
        server = state.postgres.server()
        say("The sample database, and a database to restore it into:")
        say_command(server.dsn(stack.SAMPLE))
        say_command(
            f"coffre restore database latest --target {stack.SAMPLE} --to {server.dsn(f'{stack.SAMPLE}_restored')}"
        )
    say("The console, with test users of each role (coffre console opens it):")
    say_command(state.outputs["ConsoleAddress"])
    say("Reach it with aws:")
    say_command('eval "$(coffre local env)"')
    say("Stop it:")
    say_command("coffre local down")


@app.command("down", short_help="Stop the stack and remove it.", epilog=examples("coffre local down"))
def down() -> None:
    """Stop the stack and remove everything that it stored, backups included."""
    from coffre_local import stack

    say("The local stack was stopped and removed." if stack.down() else "No local stack was up.")


@app.command(
    "env", short_help="Point a shell at the stack.", epilog=examples('eval "$(coffre local env)" && aws s3 ls')
)
def env() -> None:
    """Print the shell commands that point `aws` and `coffre` at the local stack.

    The template is deployed to it by `coffre local up`, again whenever it or the code changed: `sam deploy` cannot, as
    the local AWS has neither Lambda's Python nor layers.
    """
    from coffre_local import stack
    from coffre_local.aws import shell_commands

    for command in shell_commands(stack.environment()):
        print(command)


def start(
    databases: Mapping[str, str], *, sample: bool, sample_scale: float = 1.0, port: int = 0, quiet: bool = False
) -> LocalState:
    """Start the local stack with a key pair and a configuration document of its own."""
    from coffre.vault.codec import new_identity, public_key
    from coffre_local import stack
    from coffre_local.aws import session
    from coffre_local.state import read_state

    before = read_state()
    names = sorted({*databases, *([stack.SAMPLE] if sample else []), *(before.databases if before else ())})
    buckets = [stack.SAMPLE_FILES] if sample or (before is not None and before.buckets) else []
    parameters = {"SourceBuckets": ",".join(buckets), "RestoreBuckets": ",".join(buckets)}
    if before is not None and "ConfigurationDocument" in before.parameters:
        known = json.loads(before.parameters["ConfigurationDocument"])
        parameters["ConfigurationDocument"] = _document(names, buckets, known["recipients"][0])

    def prepare(environment: Mapping[str, str]) -> Mapping[str, str]:
        identity = new_identity()
        client = session(environment).client("secretsmanager", endpoint_url=environment["AWS_ENDPOINT_URL"])
        client.create_secret(Name=DEFAULT_SECRET, SecretString=identity)
        return {"ConfigurationDocument": _document(names, buckets, public_key(identity))}

    options = stack.StackOptions(
        databases=databases,
        sample=sample,
        sample_scale=sample_scale,
        console=True,
        parameters=parameters,
        prepare=prepare,
    )
    steps = (lambda _: None) if quiet else (lambda text: error_console.print(f"  {text}", style="dim"))
    return stack.up(options, port=port, on_step=steps)


def _databases(options: list[str]) -> dict[str, str]:
    """Return name -> URL of each `--database`, refused before anything is started."""
    from coffre.postgres.connection.connection_secret import parse_secret
    from coffre.postgres.connection.poolers import refuse_transaction_pooler

    databases: dict[str, str] = {}
    for text in options:
        name, equals, url = text.partition("=")
        if not equals or not name:
            raise ConfigurationError("--database takes NAME=URL.", hint=f"For example: --database {_EXAMPLE}")
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f'"{name}" cannot be the name of a target.',
                hint="Lower case letters, digits and dashes, at most 63; it need not be the database's own name.",
            )
        if name in databases:
            raise ConfigurationError(
                f"--database {name} is given twice.", hint="Each database needs a name of its own."
            )
        try:
            refuse_transaction_pooler(parse_secret(url, where=f"--database {name}", place=f"--database {name}"))
        except SecretError as error:
            raise ConfigurationError(
                f"--database {name} is not a database URL.",
                detail=error.detail,
                hint=f"For example: --database {_EXAMPLE}",
            ) from error
        databases[name] = url
    return databases


def _document(names: list[str], buckets: list[str], recipient: str) -> str:
    """Return the configuration document; without databases one target that waits for its secret."""
    from coffre_local import stack

    targets: list[dict[str, Any]] = [
        {"name": name, "secret": f"{stack.SECRET_PREFIX}{name}"} for name in names or ["main"]
    ]
    targets += [{"name": name, "kind": "bucket", "buckets": [{"name": name}]} for name in buckets]
    return json.dumps({"encryption": "age", "recipients": [recipient], "targets": targets})
