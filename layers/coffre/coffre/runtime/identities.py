"""Which private keys open the backups of a target: those in its own secret, and those in the secret of all targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coffre.model.errors import SecretError
from coffre.runtime.sources import read_secret
from coffre.vault.codec import parse_identities

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


def target_secret(secret: str, target: str) -> str:
    """Return the name of the secret with the private keys of one target alone, below the one of all targets."""
    return f"{secret}/{target}"


def read_identities(client: SecretsManagerClient, secret: str, *targets: str) -> tuple[str, ...]:
    """Return the private keys that may open a target's backups: its own ones if it has a secret, and those of all.

    Older backups may need the latter. `targets` are the target and, if it is a database of a server, that server.

    Raises
    ------
    SecretError
        What `read_secret` raises about `secret`, unless it is missing and the target has a secret of its own.
    EncryptionError
        `IDENTITY_INVALID`
    """
    own: tuple[str, ...] = ()
    for target in targets:
        try:
            own += parse_identities(read_secret(client, target_secret(secret, target)))
        except SecretError as error:
            # Most targets have none. A person may be denied it: then the error of opening names the missing key.
            if error.code not in ("SECRET_MISSING", "SECRET_DENIED"):
                raise
    try:
        return own + parse_identities(read_secret(client, secret))
    except SecretError as error:
        if own and error.code == "SECRET_MISSING":
            return own
        raise
