"""Which private keys open the backups of a target: its own, then those of all targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pytest
from botocore.exceptions import ClientError

from coffre.model.errors import EncryptionError, SecretError
from coffre.runtime.identities import read_identities
from coffre.vault.codec import new_identity

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

MAIN, OWN = "coffre/identity/main", "coffre/identity/main/shop"
FIRST, SECOND = new_identity(), new_identity()


@dataclass
class Secrets:
    """Secrets Manager: a value is a text, or a code with which it refuses."""

    values: Mapping[str, str]

    def get_secret_value(self, SecretId: str) -> dict[str, str]:  # noqa: N803 (boto3's name)
        value = self.values.get(SecretId, "ResourceNotFoundException")
        if value.endswith("Exception"):
            raise ClientError({"Error": {"Code": value, "Message": "no"}}, "GetSecretValue")
        return {"SecretString": value}


def read(values: Mapping[str, str]) -> tuple[str, ...]:
    return read_identities(cast("SecretsManagerClient", Secrets(values)), MAIN, "shop")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({MAIN: FIRST}, (FIRST,)),
        ({MAIN: f"# old\n{FIRST}\n{SECOND}\n"}, (FIRST, SECOND)),
        ({MAIN: FIRST, OWN: SECOND}, (SECOND, FIRST)),
        ({OWN: SECOND}, (SECOND,)),
        ({MAIN: FIRST, OWN: "AccessDeniedException"}, (FIRST,)),
    ],
)
def test_both_secrets_are_read(values: Mapping[str, str], expected: tuple[str, ...]) -> None:
    assert read(values) == expected


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({}, "SECRET_MISSING"),
        ({MAIN: "AccessDeniedException", OWN: SECOND}, "SECRET_DENIED"),
        ({MAIN: FIRST, OWN: "InternalServiceErrorException"}, "SECRET_UNREADABLE"),
        ({MAIN: "no key", OWN: SECOND}, "IDENTITY_INVALID"),
    ],
)
def test_what_cannot_be_read_is_an_error_and_shows_no_key(values: Mapping[str, str], code: str) -> None:
    with pytest.raises((SecretError, EncryptionError)) as caught:
        read(values)

    assert caught.value.code == code
    assert "no key" not in str(caught.value)
