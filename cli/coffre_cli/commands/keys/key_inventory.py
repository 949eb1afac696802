"""What is known of keys: which backups are encrypted to which, and where private keys are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from coffre.model.errors import CoffreError, EncryptionError
from coffre_cli.deployed import DeployedStack
from coffre_cli.place import Place
from coffre_cli.screen import remark
from coffre_cli.standalone import given_identities

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.model.manifest import Manifest

# Threads that read manifests: each takes a request of some 20 ms.
READERS: Final = 8
# An --identity that begins like this is the name of a secret.
_SECRET: Final = "coffre/"  # noqa: S105

IdentitiesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--identity",
        metavar="FILE|env:NAME|SECRET",
        help="A private key besides those of the stack's secrets, such as the offline one; repeatable. A file may be "
        "encrypted by a passphrase.",
    ),
]


@dataclass(frozen=True)
class KnownKey:
    """A private key that can be tried, and where it is kept."""

    recipient: str
    place: str
    identity: str = field(repr=False)


@dataclass(frozen=True)
class EncryptedBackup:
    """A completed backup and what it is encrypted to; `recipients` is None when its manifest cannot be read."""

    id: str
    target: str
    created_at: datetime
    recipients: tuple[str, ...] | None


def targets_of(place: Place, wanted: Sequence[str] = ()) -> list[str]:
    """Return the named targets, else all that are configured or have backups; raises what naming them raises."""
    if wanted:
        return [place.known_target(name) for name in wanted]
    if isinstance(place, DeployedStack):
        configured = [target.name for target in place.configuration.targets]
        return sorted({*configured, *(backup.target for backup in _completed(place))})
    return place.catalog.targets


def new_recipients(place: Place, target: str) -> tuple[str, ...]:
    """Return what the next backup of a target is encrypted to; empty when nothing says so."""
    if not isinstance(place, DeployedStack):
        return ()
    configured = place.configuration
    known = any(one.name == target for one in configured.targets)
    return configured.recipients_of(target) if known else ()


def manifest_of(place: Place, backup: Backup) -> Manifest:
    """Return a backup's manifest; raises what reading it raises."""
    from coffre.operations.stored_backup.open_backup import manifest_of as read

    return read(place.vault, backup)


def encrypted_backups(place: Place, targets: Iterable[str]) -> list[EncryptedBackup]:
    """Return the completed backups of the targets, the newest first."""
    wanted = set(targets)

    def described(backup: Backup) -> EncryptedBackup:
        try:
            recipients = manifest_of(place, backup).recipients
        except CoffreError as error:
            remark(f"The keys of backup {backup.id} of {backup.target} are unknown: {error.message}")
            return EncryptedBackup(backup.id, backup.target, backup.created_at, None)
        return EncryptedBackup(backup.id, backup.target, backup.created_at, recipients)

    with ThreadPoolExecutor(READERS, thread_name_prefix="manifest") as pool:
        return list(pool.map(described, (one for one in _completed(place) if one.target in wanted)))


def _completed(place: Place) -> Iterator[Backup]:
    from coffre.model.backup import Status

    return place.catalog.backups(status=Status.COMPLETED)


def known_keys(place: Place, targets: Iterable[str], given: Sequence[str] = ()) -> list[KnownKey]:
    """Return the private keys of the stack's secrets and those that were given.

    Raises
    ------
    EncryptionError
        One that was given cannot be read.
    """
    found: list[KnownKey] = []
    if isinstance(place, DeployedStack):
        errors: list[EncryptionError] = []
        for name in secrets_of(place, targets):
            try:
                found += _in_secret(place, name)
            except EncryptionError as error:
                errors.append(error)
        if errors:
            more = f" Nor could {len(errors) - 1} more." if len(errors) > 1 else ""
            remark(f"{errors[0].message}{more} {errors[0].detail or ''}".rstrip())
    else:
        found += _keys(place.identities, "--identity before the command")
    for one in given:
        if one.startswith(_SECRET) and isinstance(place, DeployedStack):
            keys = _in_secret(place, one)
            if not keys:
                raise EncryptionError(
                    f"The secret {one} does not exist, or has no private key.", code="IDENTITY_MISSING"
                )
            found += keys
        else:
            place_of_it = f"the variable {one.removeprefix('env:')}" if one.startswith("env:") else f"the file {one}"
            found += _keys(given_identities(one), place_of_it)
    return found


def secrets_of(stack: DeployedStack, targets: Iterable[str]) -> list[str]:
    """Return the names of the secrets that may have private keys of these targets; those of single targets may not
    exist. Those of a server come before those of its databases, also if it is not configured any more."""
    from coffre.runtime.identities import target_secret
    from coffre.runtime.server_databases import key_names

    main, wanted = stack.outputs.get("IdentitySecret"), list(targets)
    if not main:
        return []
    servers = sorted({server for name in wanted for server in key_names(stack.catalog, name)[1:]})
    return [main, *(target_secret(main, name) for name in dict.fromkeys([*servers, *wanted]))]


def _in_secret(stack: DeployedStack, name: str) -> list[KnownKey]:
    from coffre_cli.commands.keys.secrets import find

    found = find(stack.secrets, name)
    return _keys(found.identities, f"the secret {name}") if found else []


def _keys(identities: Iterable[str], place: str) -> list[KnownKey]:
    from coffre.vault.codec import public_key

    return [KnownKey(public_key(identity), place, identity) for identity in identities]


def short(recipient: str) -> str:
    """Return a public key as people compare it."""
    return f"{recipient[:12]}...{recipient[-6:]}"
