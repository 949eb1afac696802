"""How a setting is stored: one line of JSON about it, then its value, byte for byte (docs/format/settings.md).

The line holds 32 random bytes, so that the SHA-256 in the readable entries says nothing about a short value: a guess of
the value would have to guess those bytes too, and they are stored nowhere but in the encrypted frame.
"""

from __future__ import annotations

import json
import secrets
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coffre.model.document import FrozenModel
from coffre.model.errors import IntegrityError

_SALT_BYTES: Final = 32
# Of a file that is handed in: parts between slashes, each of harmless characters that are not all dots.
_PART: Final = r"[A-Za-z0-9._@+=-]*[A-Za-z0-9_@+=-][A-Za-z0-9._@+=-]*"
SETTING_FILE_NAME: Final = rf"^{_PART}(/{_PART}){{0,9}}$"
SettingFileName = Annotated[str, Field(max_length=200, pattern=SETTING_FILE_NAME)]
# Of a value that was handed in; a record of more is forged.
MOST_SEALED_BYTES: Final = 4 * 1024 * 1024


class Sealed(FrozenModel):
    """A value that was encrypted before it was handed in: `size` and `sha256` are of the line and value inside."""

    size: int = Field(ge=0, le=MOST_SEALED_BYTES)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class SettingFacts(BaseModel):
    """What is known of a setting besides its value; what its place does not know is empty.

    `type` is `text` or `binary` (Secrets Manager, files), or `String`, `StringList`, `SecureString` (SSM).
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, defer_build=True)

    type: str = "binary"
    description: str = ""
    kms_key: str = ""
    tags: dict[str, str] = {}
    tier: str = ""
    data_type: str = ""
    sealed: Sealed | None = None


class Setting(BaseModel):
    """A value and what is known of it. Neither is shown by `repr`."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, defer_build=True)

    value: bytes
    facts: SettingFacts

    def __repr__(self) -> str:
        return f"Setting({len(self.value)} bytes)"

    __str__ = __repr__


def wrapped(value: bytes, facts: SettingFacts) -> bytes:
    """Return the stored bytes of a value: different ones each time."""
    line = {"salt": secrets.token_hex(_SALT_BYTES), **facts.model_dump(exclude_defaults=True)}
    return json.dumps(line).encode() + b"\n" + value


def unwrapped(stored: bytes) -> Setting:
    """Return the setting that `wrapped` made; one that is `sealed` is opened by `vault.sealed_settings`.

    Raises
    ------
    IntegrityError
        `SETTING_DAMAGED`
    """
    line, separator, value = stored.partition(b"\n")
    try:
        facts = SettingFacts.model_validate_json(line)
    except ValidationError:
        facts = None
    if facts is None or not separator:
        raise IntegrityError(
            "A stored setting is damaged: it does not begin as settings do.",
            code="SETTING_DAMAGED",
            hint="This backup cannot be trusted. Restore an older one (`coffre list`) and keep the vault as it is.",
        )
    return Setting(value=value, facts=facts)
