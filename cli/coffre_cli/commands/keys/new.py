"""`coffre keys new`: a key pair that encrypts backups, and a second one that is kept offline."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from coffre.model.errors import EncryptionError
from coffre_cli import aws
from coffre_cli.aws import asked_place
from coffre_cli.commands.keys.secrets import DEFAULT_SECRET, create, refuse_unreadable
from coffre_cli.examples import examples
from coffre_cli.screen import print_json, remark, say, say_command
from coffre_cli.stack_choice import use_local_stack
from coffre_cli.stack_options import JsonOption
from coffre_cli.vault_choice import refuse_vault

EXAMPLES = examples(
    "coffre keys new --offline ./offline.txt",
    "coffre keys new --target shop --offline ./offline-shop.txt",
    "coffre keys new --file ./identity.txt",
    "coffre keys new --json | jq -r .recipient",
)


def new(
    secret: Annotated[str, typer.Option(help="Store the private key in this Secrets Manager secret.")] = DEFAULT_SECRET,
    file: Annotated[Path | None, typer.Option(help="Write the private key to this new file instead.")] = None,
    offline: Annotated[
        Path | None,
        typer.Option(
            help="Create a second pair too, whose private key goes to this new file alone, to be kept offline."
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="The pair of one target: its secret is below the other, its key in `recipients`.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Create an age key pair: the public key encrypts backups, only the private key opens them.

    The private key goes to Secrets Manager (of the local stack when one is up, else of your AWS account), where
    only the functions that open backups (restore, drill and verify) and users with access to secrets may read it. It is
    printed once: keep a copy offline. Without it every backup is lost, and no one can recover it.

    Two pairs are advised: one for the functions, and one whose private key is never in AWS (--offline). Each of them
    opens every backup that is encrypted to both.
    """
    refuse_vault("keys new")
    from coffre.model.target import TARGET_NAME
    from coffre.runtime.identities import target_secret
    from coffre.vault.codec import new_identity, public_key

    if target is not None:
        if not re.fullmatch(TARGET_NAME, target):
            raise typer.BadParameter(f"{target!r} cannot be a target's name: lower case, digits and dashes")
        secret = target_secret(secret, target)
    refuse_unreadable(secret)
    spare = new_identity() if offline else None
    if offline and spare:
        write_file(offline, spare)
    identity = new_identity()
    recipient = public_key(identity)
    try:
        place = write_file(file, identity) if file else _write_secret(secret, identity)
    except EncryptionError:
        if offline:
            offline.unlink()  # written a moment ago: no backup is encrypted to it
        raise
    if as_json:
        also = {"offline": {"recipient": public_key(spare), "stored_in": str(offline)}} if spare else {}
        print_json({"recipient": recipient, "identity": identity, "stored_in": place, **also})
        return
    _say_keys(recipient, public_key(spare) if spare else None, identity, target)
    if file:
        say(f"It is stored in {place}. The functions restore, drill and verify need it in a secret of AWS, unless it")
        say("is the key that you keep offline:")
        say_command(f"aws secretsmanager create-secret --name {secret} --secret-string file://{place}")
    else:
        say(f"It is stored in {place} for the functions that open backups: restore, drill and verify.")
        if secret != DEFAULT_SECRET and target is None:
            say(f"Set its name in the template: parameter IdentitySecret = {secret}")
    say("")
    _say_second(offline)
    say("Without a private key no backup can ever be read.")


def _say_keys(recipient: str, spare: str | None, identity: str, target: str | None) -> None:
    say("A new key pair." if spare is None else "Two new key pairs.")
    say("")
    where = f'`recipients` of the target "{target}"' if target else "the template's parameter AgeRecipients"
    say(f"Public key{'s' if spare else ''} ({where}; not secret):")
    say(f"  {f'{recipient},{spare}' if spare else recipient}", style="bold green")
    say("")
    say("Private key (SECRET: print it or put it into your password manager NOW, away from AWS):")
    say(f"  {identity}", style="bold red")
    say("")


def _say_second(offline: Path | None) -> None:
    if offline:
        say(f"The second private key is in {offline} alone. Move it to a place without a network (a printed page, a")
        say("USB stick in a safe), try it once (coffre keys check --identity FILE), then delete the file.")
    else:
        say("This is the only key. A second one that is never in AWS is advised: then no backup is lost with this")
        say("secret. Create it, and give both public keys to the template:")
        say_command("coffre keys new --file ./offline.txt")


def write_file(file: Path, identity: str) -> str:
    """Write a private key to a new file that only its owner can read.

    Raises
    ------
    EncryptionError
        `IDENTITY_NOT_STORED`
    """
    from coffre.vault.codec import public_key

    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise EncryptionError(
            f"The key was not written: {file}: {error.strerror}.",
            code="IDENTITY_NOT_STORED",
            hint="Choose a path that does not exist yet: an old key is never overwritten.",
        ) from error
    with os.fdopen(descriptor, "w") as output:
        output.write(f"# public key: {public_key(identity)}\n{identity}\n")
    return str(file)


def _write_secret(secret: str, identity: str) -> str:
    account = "the local stack" if use_local_stack() else "your AWS account"
    remark(f"{account[0].upper()}{account[1:]} in {asked_place()}.")
    create(aws.client("secretsmanager"), secret, identity, account)
    return f"the secret {secret} of {account}"
