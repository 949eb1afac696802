"""What the secrets of destinations in Google Cloud Storage and Azure hold. Their values are never repeated."""

from __future__ import annotations

import json
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from coffre.model.document import Document, describe_validation, parse_json
from coffre.model.errors import SecretError

_GOOGLE_HINT: Final = "Store the JSON key of a service account as Google gives it (docs/destinations.md)."
_AZURE_HINT: Final = 'Store JSON: {"account_key": "..."} or {"sas_token": "..."} (docs/destinations.md).'


class _GoogleKey(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True, defer_build=True)

    type: Literal["service_account"]
    client_email: str = Field(min_length=1)
    private_key: str = Field(min_length=1, repr=False)


class AzureSecret(Document):
    """The account's key, or a SAS token: exactly one of them."""

    account_key: str | None = Field(default=None, min_length=1, repr=False)
    sas_token: str | None = Field(default=None, min_length=1, repr=False)

    @field_validator("sas_token")
    @classmethod
    def _without_question_mark(cls, token: str | None) -> str | None:
        bare = token.removeprefix("?") if token else None
        if bare and "sig=" not in bare:
            raise ValueError("sas_token has no signature (sig=...): give the token, not the address of the container")
        return bare

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.account_key is None) == (self.sas_token is None):
            raise ValueError("give either account_key or sas_token")
        return self


def parse_google_key(text: str, *, where: str) -> str:
    """Return a secret's text if it is the JSON key of a service account.

    Raises
    ------
    SecretError
        `SECRET_SHAPE`, naming the secret and the wrong field.
    """
    try:
        _GoogleKey.model_validate(parse_json(text))
    except json.JSONDecodeError:
        raise _shape(where, "it is not a JSON object", _GOOGLE_HINT) from None
    except ValidationError as error:
        raise _shape(where, "; ".join(describe_validation(error)), _GOOGLE_HINT) from None
    return text


def parse_azure_secret(text: str, *, where: str) -> AzureSecret:
    """Read a secret's text; raises what `parse_google_key` raises."""
    try:
        return AzureSecret.model_validate(parse_json(text))
    except json.JSONDecodeError:
        raise _shape(where, "it is not a JSON object", _AZURE_HINT) from None
    except ValidationError as error:
        raise _shape(where, "; ".join(describe_validation(error)), _AZURE_HINT) from None


def _shape(where: str, why: str, hint: str) -> SecretError:
    return SecretError(f"The secret {where} is no key of such a store.", code="SECRET_SHAPE", detail=why, hint=hint)
