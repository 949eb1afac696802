"""What a secret of a repository holds: a token, or a deploy key with the host's keys."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coffre.model.document import describe_validation, parse_json
from coffre.model.errors import SecretError

# GitHub takes any user name with a token, GitLab takes this one with tokens of users, groups and projects.
_USER: Final = "oauth2"


@dataclass(frozen=True)
class Credentials:
    """A token, or a deploy key; with neither the repository is public. `place` names the secret in errors."""

    token: str | None = field(default=None, repr=False)
    username: str = _USER
    private_key: str | None = field(default=None, repr=False)
    known_hosts: str = field(default="", repr=False)
    place: str = "no secret"

    @property
    def basic(self) -> dict[str, str]:
        """The header that a Git server takes."""
        if self.token is None:
            return {}
        return {"Authorization": f"Basic {b64encode(f'{self.username}:{self.token}'.encode()).decode()}"}

    @property
    def bearer(self) -> dict[str, str]:
        """The header that an API takes."""
        return {"Authorization": f"Bearer {self.token}"} if self.token is not None else {}


class _Secret(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    token: str | None = Field(default=None, pattern=r"^[\x21-\x7e]{1,4000}$")
    username: str = Field(default=_USER, pattern=r"^[\x21-\x39\x3b-\x7e]{1,200}$")
    private_key: str | None = Field(default=None, min_length=1)
    known_hosts: str | None = Field(default=None, min_length=1)


def parse_credentials(text: str, *, where: str) -> Credentials:
    """Return what a secret holds.

    Raises
    ------
    SecretError
        `SECRET_SHAPE`; no value of it is in the message.
    """
    try:
        found = _Secret.model_validate(parse_json(text))
    except ValidationError as error:
        raise _shape(where, "; ".join(describe_validation(error))) from None
    except ValueError:
        raise _shape(where, "It is no JSON.") from None
    if (found.token is None) == (found.private_key is None):
        raise _shape(where, "It needs either token or private_key.")
    if found.private_key is not None and found.known_hosts is None:
        raise _shape(where, "With private_key it needs known_hosts: the output of ssh-keyscan, checked by a person.")
    return Credentials(found.token, found.username, found.private_key, found.known_hosts or "", where)


def _shape(where: str, detail: str) -> SecretError:
    return SecretError(
        f"The secret {where} is not as repositories need it.",
        code="SECRET_SHAPE",
        detail=detail,
        hint='Store {"token": "..."}, or {"private_key": "...", "known_hosts": "..."} (docs/repositories.md).',
    )
