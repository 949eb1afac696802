"""Private keys in Secrets Manager: found, created, and appended without ever losing one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

from coffre.model.errors import EncryptionError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

DEFAULT_SECRET: Final = "coffre/identity/main"  # noqa: S105 (a secret's name)
# What the roles of the functions that open backups may read (template.yaml).
READABLE: Final = "coffre/identity/"
_STAGED: Final = "COFFRE_NEXT"


@dataclass(frozen=True)
class KeySecret:
    """A secret with private keys as it was read: a later change of it is noticed by its version."""

    name: str
    version: str
    text: str

    @property
    def identities(self) -> tuple[str, ...]:
        """The private keys, one a line."""
        from coffre.vault.codec import parse_identities

        return parse_identities(self.text)

    @property
    def recipients(self) -> dict[str, str]:
        """The private keys by their public keys."""
        from coffre.vault.codec import public_key

        return {public_key(identity): identity for identity in self.identities}


def refuse_unreadable(secret: str) -> None:
    """Refuse a name that the functions may not read.

    Raises
    ------
    EncryptionError
        `IDENTITY_NOT_STORED`
    """
    if not secret.startswith(READABLE):
        raise EncryptionError(
            f'"{secret}" cannot be the secret\'s name: the functions may read only those below {READABLE}.',
            code="IDENTITY_NOT_STORED",
            hint=f"For example: --secret {READABLE}second",
        )


def create(client: SecretsManagerClient, secret: str, identity: str, account: str) -> None:
    """Store a private key in a new secret.

    Raises
    ------
    EncryptionError
        `IDENTITY_EXISTS`, `IDENTITY_NOT_STORED`
    """
    with _explained(secret):
        try:
            client.create_secret(
                Name=secret, SecretString=identity, Description="Coffre: private age key of the backups"
            )
        except client.exceptions.ResourceExistsException as error:
            local = account == "the local stack"
            raise EncryptionError(
                f"The secret {secret} exists already in {account}: its key may be the only one that opens your "
                "backups.",
                code="IDENTITY_EXISTS",
                hint="It is never overwritten. Use it; for a new key of the same backups: coffre keys rotate; or give "
                "the new key another name with --secret (and the template's IdentitySecret)."
                + (" For your AWS account stop the local stack first: coffre local down" if local else ""),
            ) from error


def find(client: SecretsManagerClient, name: str) -> KeySecret | None:
    """Return a secret with private keys, or None when it does not exist.

    Raises
    ------
    EncryptionError
        `IDENTITY_UNREADABLE`
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        found = client.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")
    except client.exceptions.ResourceNotFoundException:
        return None
    except (ClientError, BotoCoreError) as error:
        raise EncryptionError(
            f"The secret {name} could not be read.",
            code="IDENTITY_UNREADABLE",
            detail=str(error)[:300],
            hint="Your AWS credentials need secretsmanager:GetSecretValue on it.",
        ) from error
    return KeySecret(name, found["VersionId"], found.get("SecretString", ""))


def append(client: SecretsManagerClient, secret: KeySecret, identity: str, today: date) -> KeySecret:
    """Add a private key after the ones that the secret has, and return what is stored now.

    The new version becomes the current one only if the version that was read still is: of two commands that append
    at the same moment one fails. The version that was read stays as AWSPREVIOUS.

    Raises
    ------
    EncryptionError
        `IDENTITY_NOT_STORED`: nothing changed, or (`IDENTITY_LOST`) the secret does not contain what was written.

    Notes
    -----
    UpdateSecretVersionStage fails when RemoveFromVersionId is not the version with the label (AWS's reference of the
    API, 2026-11): a compare-and-swap, which PutSecretValue lacks.
    """
    from coffre.vault.codec import public_key

    text = f"{secret.text.rstrip()}\n# added {today:%Y-%m-%d}: {public_key(identity)}\n{identity}\n"
    with _explained(secret.name):
        made = client.put_secret_value(SecretId=secret.name, SecretString=text, VersionStages=[_STAGED])
        client.update_secret_version_stage(
            SecretId=secret.name,
            VersionStage="AWSCURRENT",
            MoveToVersionId=made["VersionId"],
            RemoveFromVersionId=secret.version,
        )
        client.update_secret_version_stage(
            SecretId=secret.name, VersionStage=_STAGED, RemoveFromVersionId=made["VersionId"]
        )
    stored = find(client, secret.name)
    if stored is None or stored.identities != (*secret.identities, identity):
        raise EncryptionError(
            f"The secret {secret.name} does not contain what was just written to it.",
            code="IDENTITY_LOST",
            hint=f"Change nothing else. Its version {secret.version} has the earlier keys: aws secretsmanager "
            f"get-secret-value --secret-id {secret.name} --version-id {secret.version}",
        )
    return stored


@contextmanager
def _explained(secret: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise EncryptionError(
            f"The private key could not be stored in the secret {secret}.",
            code="IDENTITY_NOT_STORED",
            detail=str(error)[:300],
            hint="Check your AWS credentials and region, and whether another command changes the secret. The keys that "
            "it has are unchanged. A new key can go to a file: coffre keys new --file identity.txt",
        ) from error
