"""`coffre keys`: the key pair that encrypts backups."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from coffre.model.errors import EncryptionError
from coffre_cli.deployed import JsonOption, asked_place, use_local_stack
from coffre_cli.examples import examples
from coffre_cli.screen import print_json, remark, say, say_command

DEFAULT_SECRET = "coffre/identity/main"  # noqa: S105 (a secret's name)
# What the roles of the functions that open backups may read (template.yaml).
_READABLE = "coffre/identity/"

app = typer.Typer(
    help="Create the key pair that encrypts backups.",
    epilog=examples("coffre keys new"),
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def keys() -> None:
    """Create the key pair that encrypts backups."""


@app.command(
    "new",
    short_help="Create a key pair and store the private key.",
    epilog=examples(
        "coffre keys new", "coffre keys new --file ./identity.txt", "coffre keys new --json | jq -r .recipient"
    ),
)
def new(
    secret: Annotated[str, typer.Option(help="Store the private key in this Secrets Manager secret.")] = DEFAULT_SECRET,
    file: Annotated[Path | None, typer.Option(help="Write the private key to this new file instead.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Create an age key pair: the public key encrypts backups, only the private key opens them.

    The private key goes to Secrets Manager (of the local stack when one is up, else of your AWS account), where
    only the functions that open backups (restore, drill and verify) and users with access to secrets may read it. It is
    printed once: keep a copy offline. Without it every backup is lost, and no one can recover it.
    """
    from coffre.vault.codec import new_identity, public_key

    if not secret.startswith(_READABLE):
        raise EncryptionError(
            f'"{secret}" cannot be the secret\'s name: the functions may read only those below {_READABLE}.',
            code="IDENTITY_NOT_STORED",
            hint=f"For example: --secret {_READABLE}second",
        )
    identity = new_identity()
    recipient = public_key(identity)
    place = _write_file(file, identity, recipient) if file else _write_secret(secret, identity)
    if as_json:
        print_json({"recipient": recipient, "identity": identity, "stored_in": place})
        return
    say("A new key pair.")
    say("")
    say("Public key (the template's parameter AgeRecipients; not secret):")
    say(f"  {recipient}", style="bold green")
    say("")
    say("Private key (SECRET: print it or put it into your password manager NOW, away from AWS):")
    say(f"  {identity}", style="bold red")
    say("")
    if file:
        say(f"It is stored in {place}. The functions restore, drill and verify need it in a secret of AWS:")
        say_command(f"aws secretsmanager create-secret --name {secret} --secret-string file://{place}")
    else:
        say(f"It is stored in {place} for the functions that open backups: restore, drill and verify.")
        if secret != DEFAULT_SECRET:
            say(f"Set its name in the template: parameter IdentitySecret = {secret}")
    say("Without the private key no backup can ever be read.")


def _write_file(file: Path, identity: str, recipient: str) -> str:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise EncryptionError(
            f"The key was not written: {file}: {error.strerror}.",
            code="IDENTITY_NOT_STORED",
            hint="Choose a path that does not exist yet: an old key is never overwritten.",
        ) from error
    with os.fdopen(descriptor, "w") as output:
        output.write(f"# public key: {recipient}\n{identity}\n")
    return str(file)


def _write_secret(secret: str, identity: str) -> str:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    local = use_local_stack()
    account = "the local stack" if local else "your AWS account"
    remark(f"{account[0].upper()}{account[1:]} in {asked_place()}.")
    client = boto3.client("secretsmanager")
    try:
        client.create_secret(Name=secret, SecretString=identity, Description="Coffre: private age key of the backups")
    except client.exceptions.ResourceExistsException as error:
        raise EncryptionError(
            f"The secret {secret} exists already in {account}: its key may be the only one that opens your backups.",
            code="IDENTITY_EXISTS",
            hint="It is never overwritten. Use it, or give the new key another name with --secret (and the template's "
            "IdentitySecret)."
            + (" For your AWS account stop the local stack first: coffre local down" if local else ""),
        ) from error
    except (ClientError, BotoCoreError) as error:
        raise EncryptionError(
            f"The private key could not be stored in the secret {secret}.",
            code="IDENTITY_NOT_STORED",
            detail=str(error)[:300],
            hint="Check your AWS credentials and region, or write it to a file: --file identity.txt",
        ) from error
    return f"the secret {secret} of {account}"
