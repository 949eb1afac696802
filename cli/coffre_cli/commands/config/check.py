"""`coffre config check`: is a document valid, and do the secrets exist that it names?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from coffre.model.words import counted
from coffre_cli.commands.config.documents import any_document, in_effect, remark_template
from coffre_cli.commands.journal.price import undrained
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.screen import print_json, say
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption
from coffre_cli.vault_choice import refuse_vault

if TYPE_CHECKING:
    from coffre.model.configuration import Configuration

EXAMPLES = examples(
    "coffre config check",
    "coffre config check configuration.json",
    "coffre config check configuration.json --live",
)
_EXISTS, _MISSING = "exists", "does not exist"


def check(
    document: Annotated[
        str | None,
        typer.Argument(metavar="[FILE]", help="A file, - for stdin, a version's number, template, or vault."),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Also ask AWS whether the secrets exist that it names.")] = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for mistakes in a document; by default in the one in effect. Each is named by its line and its field.

    --live asks with your own AWS credentials; whether the functions may read a secret is seen by coffre doctor.
    """
    from coffre.model.configuration_mistakes import read_new_document
    from coffre.policy.objectives import unreachable

    refuse_vault("config")
    deployed = find_stack(stack)
    current = deployed.current_configuration
    found = in_effect(current) if document is None else any_document(deployed, document)
    configuration = read_new_document(found.text, where=found.label)
    secrets = {name: _state(deployed, name) for name in sorted(set(_secrets(configuration)))} if live else {}
    wrong = {name: state for name, state in secrets.items() if state != _EXISTS}
    slow = unreachable(configuration, datetime.now(UTC))
    idle = undrained(deployed, [one.name for one in configuration.databases if one.journal is not None])
    if as_json:
        warnings = [*slow.values(), *idle]
        print_json({"document": found.label, "valid": True, "secrets": secrets, "warnings": warnings})
    else:
        remark_template(current)
        targets = counted(len(configuration.targets), "target")
        say(f"No mistake in {found.label}: {targets}, encryption {configuration.encryption}.")
        if configuration.encryption == "none":
            say("Backups are NOT encrypted by Coffre.", style="yellow")
        for sentence in slow.values():
            say(f"{sentence} Back it up more often (schedule), or promise less.", style="yellow")
        for sentence in idle:
            say(f"{sentence} Deploy it with Journal=on (docs/point-in-time.md).", style="yellow")
        for name, state in secrets.items():
            say(f"The secret {name}: {state}.", style="red" if name in wrong else "")
    if wrong:
        raise typer.Exit(Exit.FAILED)


def _secrets(configuration: Configuration) -> Iterator[str]:
    """Yield the names of the secrets that a document refers to."""
    for database in configuration.databases:
        yield database.secret
        if database.tls.ca and database.tls.ca.startswith("secret:"):
            yield database.tls.ca.removeprefix("secret:")
    stores: tuple[object, ...] = (
        *(one.store for one in configuration.buckets),
        *(one.store for one in configuration.copies),
    )
    named = [getattr(one, "secret", None) for one in stores]
    for target in configuration.repositories:
        named += [one.secret for one in target.repositories] + [one.secret for one in target.organisations]
    named += [configuration.console.client_secret if configuration.console else None]
    yield from filter(None, named)


def _state(deployed: DeployedStack, name: str) -> str:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        deployed.secrets.describe_secret(SecretId=name)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        return _MISSING if code == "ResourceNotFoundException" else f"could not be looked up ({code})"
    except BotoCoreError as error:
        return f"could not be looked up ({type(error).__name__})"
    return _EXISTS
