"""`coffre keys rotate`: a new key for new backups, while every old one stays for the old backups."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from coffre.model.audit import NO_TARGET
from coffre.model.errors import EncryptionError, TargetUnknownError
from coffre_cli.commands.keys.key_inventory import secrets_of, short
from coffre_cli.commands.keys.new import write_file
from coffre_cli.commands.keys.secrets import KeySecret, append, find
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.screen import print_json, say, say_command
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption
from coffre_cli.vault_choice import refuse_vault

EXAMPLES = examples(
    "coffre keys rotate --dry-run",
    "coffre keys rotate",
    "coffre keys rotate --offline ./offline-2027.txt",
    "coffre keys rotate --target shop",
)


@dataclass(frozen=True)
class Rotation:
    """Which public keys new backups get. `waiting` is a key of an earlier rotation that is not deployed yet."""

    secret: KeySecret
    replaced: tuple[str, ...]
    kept: tuple[str, ...]
    waiting: str | None


def rotate(
    target: Annotated[
        str | None, typer.Option(help="Rotate the key of this target, which has keys of its own.")
    ] = None,
    offline: Annotated[
        Path | None, typer.Option(help="Replace the offline key too: the new one goes to this new file alone.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a new key pair for new backups. No backup is encrypted again, and no private key is removed.

    The new private key is appended to the secret; the old ones stay there for the backups that need them. The stack's
    configuration is not changed: this command prints the parameter to deploy, since a change behind CloudFormation's
    back would be reverted by the next deployment. Until then backups use the old key, and running this command again
    prints the same key.
    """
    refuse_vault("keys rotate")
    deployed = find_stack(stack)
    planned = _plan(deployed, target)
    if dry_run:
        _show_plan(planned, offline, as_json=as_json)
        return
    spare = _new_offline(offline) if offline else None
    created = planned.waiting or _append(deployed, planned, target, spare, offline)
    wanted = (created, *((spare,) if spare else planned.kept))
    if as_json:
        print_json(
            {
                "recipient": created,
                "recipients": wanted,
                "replaced": planned.replaced + (planned.kept if spare else ()),
                "secret": planned.secret.name,
                "is_new": planned.waiting is None,
            }
        )
        return
    if planned.waiting:
        say(f"An earlier rotation has created {created}. It is not deployed yet; no further key was created.")
    else:
        say(f"A new private key is in the secret {planned.secret.name}, after {len(planned.secret.identities)} older.")
    if spare:
        say(f"The new offline key is in {offline} alone. Move it to a place without a network, then delete the file.")
    _say_next(deployed, wanted, target)


def _plan(deployed: DeployedStack, target: str | None) -> Rotation:
    from coffre.model.database_target import FoundDatabase

    configuration = deployed.configuration
    if configuration.encryption == "none":
        raise EncryptionError(
            "The configuration says encryption none: backups have no key to rotate.",
            code="ENCRYPTION_OFF",
            hint="docs/runbooks/ENCRYPTION_OFF.md says how to turn encryption on.",
        )
    if target is not None and isinstance(found := configuration.target(target), FoundDatabase):
        raise TargetUnknownError(
            f'"{target}" is a database of the server "{found.server}", whose keys it has.',
            hint=f"coffre keys rotate --target {found.server}",
        )
    own = configuration.target(target).recipients if target is not None else configuration.recipients
    if not own:
        raise EncryptionError(
            f'"{target}" has no keys of its own: its backups use those of the whole document.'
            if target
            else "The document has no keys of its own: each target has some.",
            code="RECIPIENT_UNKNOWN",
            hint="coffre keys rotate" if target else "coffre keys rotate --target NAME",
        )
    name = secrets_of(deployed, [target] if target else [])[-1]
    secret = find(deployed.secrets, name)
    keys = secret.recipients if secret else {}
    replaced = tuple(key for key in own if key in keys)
    if secret is None or not replaced:
        raise EncryptionError(
            f"The secret {name} has the private key of none of these recipients: {', '.join(map(short, own))}.",
            code="IDENTITY_MISSING",
            hint="Store the private key that opens today's backups there first (docs/keys.md), so that the functions "
            "restore, drill and verify have it.",
        )
    kept = tuple(key for key in own if key not in keys)
    return Rotation(secret, replaced, kept, _waiting(deployed, target, keys))


def _waiting(deployed: DeployedStack, target: str | None, keys: Iterable[str]) -> str | None:
    """Return the newest of these keys that a rotation has created and no backup has, if there is one.

    The audit has to know of the rotation: after the loss of the catalog, a key that was replaced, or has leaked, is
    one of which nothing is known.
    """
    used, catalog = {*deployed.configuration.all_recipients}, deployed.catalog
    unknown = [key for key in keys if key not in used and catalog.recipients.first_used(key) is None]
    if not unknown:
        return None
    created = {event.subject for event in catalog.audit.of_action(target or NO_TARGET, "key.rotated")}
    return next((key for key in reversed(unknown) if key in created), None)


def _show_plan(planned: Rotation, offline: Path | None, *, as_json: bool) -> None:
    replaced = planned.replaced + (planned.kept if offline else ())
    kept = () if offline else planned.kept
    if as_json:
        print_json({"replaced": replaced, "kept": kept, "waiting": planned.waiting, "secret": planned.secret.name})
        return
    say("Nothing was changed. The rotation would")
    if planned.waiting:
        say(f"- use {planned.waiting}, which an earlier rotation has created;")
    else:
        count = len(planned.secret.identities)
        say(f"- append a new private key to the secret {planned.secret.name}, which has {count};")
    if offline:
        say(f"- write a new offline key to {offline};")
    say(f"- replace for new backups: {', '.join(map(short, replaced))} (private keys stay);")
    say(f"- keep for new backups: {', '.join(map(short, kept)) or 'no other key'};")
    say("- print the parameter to deploy. No backup would be encrypted again.")


def _new_offline(file: Path) -> str:
    from coffre.vault.codec import new_identity, public_key

    identity = new_identity()
    write_file(file, identity)
    return public_key(identity)


def _append(
    deployed: DeployedStack, planned: Rotation, target: str | None, spare: str | None, offline: Path | None
) -> str:
    """Append a new private key to the secret and return its public key."""
    from coffre.vault.codec import new_identity, public_key

    now, identity = datetime.now(UTC), new_identity()
    recipient = public_key(identity)
    replaced = planned.replaced + (planned.kept if spare else ())
    detail = f"replaces {', '.join(map(short, replaced))} in {planned.secret.name}; to be deployed"
    recorded = deployed.catalog.audit.recorded(now, deployed.caller, "key.rotated", target, recipient, detail)
    with _removed_after_failure(offline), recorded:
        append(deployed.secrets, planned.secret, identity, now.date())
    return recipient


@contextmanager
def _removed_after_failure(file: Path | None) -> Iterator[None]:
    """Remove a key file that was written a moment ago: no backup is encrypted to its key."""
    try:
        yield
    except Exception:
        if file:
            file.unlink()
        raise


def _say_next(deployed: DeployedStack, wanted: Sequence[str], target: str | None) -> None:
    say("")
    say("Now put the public keys in effect; new backups are encrypted to them from the next run on.")
    recipients = f'"recipients": {json.dumps(list(wanted))}'
    if deployed.current_configuration.version is not None:
        where = f'the target "{target}" of the configuration' if target else "the configuration"
        say(f"This goes into {where}, which is not the template's any more: coffre config edit")
        say_command(recipients)
    elif target is None:
        say("The stack was deployed without ConfigurationDocument:")
        say_command(f"sam deploy --stack-name {deployed.name} --parameter-overrides AgeRecipients={','.join(wanted)}")
        say("With ConfigurationDocument, this goes into the document, which is then deployed:")
        say_command(recipients)
    else:
        say(f'This goes into the target "{target}" of ConfigurationDocument, which is then deployed:')
        say_command(recipients)
    say("")
    say("Then take a full backup, so that nothing new points at what the old key opens, and try all keys:")
    say_command(f"coffre backup database {target or ''}".rstrip() + " --full")
    say_command("coffre keys check")
    say("The old private keys stay in the secret until `coffre keys list` reports that no backup needs them. Write the")
    say("recovery kit again: coffre keys recovery-kit.")
