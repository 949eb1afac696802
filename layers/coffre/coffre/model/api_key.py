"""Keys of the console's API: what a key may do, how it is written, and what is kept of it (docs/console.md)."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Self

from pydantic import AwareDatetime, Field

from coffre.model.document import Document
from coffre.model.target import TARGET_NAME

LONGEST_LIFE: Final = timedelta(days=366)
OVERLAP: Final = timedelta(hours=24)
"""How long the secret before a rotation still opens: machines get the new one meanwhile."""
MOST_SCOPES: Final = 50
LONGEST_LABEL: Final = 100
_KEY: Final = re.compile(r"coffre_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


class ApiScope(StrEnum):
    """What a key can be made for. Nothing that restores, deletes, or makes keys is here, and nothing will be."""

    READ = "backup:read"
    METRICS = "metrics:read"
    BACKUP = "backup:run"
    VERIFY = "verify:run"


@dataclass(frozen=True, slots=True)
class KeyScope:
    """One scope of a key; `target` None: for every target. Written `backup:run`, or `backup:run:shop`."""

    scope: ApiScope
    target: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a scope; raises ValueError that names the known ones."""
        words = text.split(":")
        name, target = ":".join(words[:2]), ":".join(words[2:]) or None
        known = ", ".join(ApiScope)
        if name not in set(ApiScope) or (len(words) > 2 and target is None):
            raise ValueError(f"should be one of {known}, perhaps with a target: backup:run:shop")
        if target is not None and not re.fullmatch(TARGET_NAME, target):
            raise ValueError(f"{name}: should be followed by a target's name")
        return cls(ApiScope(name), target)

    def __str__(self) -> str:
        return self.scope if self.target is None else f"{self.scope}:{self.target}"


class ApiKey(Document):
    """What is kept of a key: never its secret, which has 256 random bits, but the SHA-256 of it.

    A rotated key has two secrets for a day: the one before is known by `previous_sha256` until `previous_until`.
    """

    id: str
    label: str
    scopes: tuple[str, ...] = Field(min_length=1)
    made_by: str
    made_at: AwareDatetime
    expires_at: AwareDatetime
    sha256: str = Field(repr=False)
    previous_sha256: str | None = Field(default=None, repr=False)
    previous_until: AwareDatetime | None = None
    rotated_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None
    revoked_by: str | None = None
    last_used_at: AwareDatetime | None = None

    def is_opened_by(self, secret_sha256: str, now: datetime) -> bool:
        """Return whether a secret with this hash opens the key now; takes as long for each answer."""
        current = hmac.compare_digest(self.sha256, secret_sha256)
        previous = hmac.compare_digest(self.previous_sha256 or _NO_HASH, secret_sha256)
        in_overlap = self.previous_until is not None and now < self.previous_until
        return (current or (previous and in_overlap)) and self.state(now) == "valid"

    def state(self, now: datetime) -> str:
        """Return `valid`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "valid" if now < self.expires_at else "expired"


_NO_HASH: Final = "-" * 64


def new_key() -> tuple[str, str]:
    """Return a new key as its owner has it, and its id; it is shown once and kept nowhere."""
    key_id = secrets.token_hex(8)
    return renewed(key_id), key_id


def renewed(key_id: str) -> str:
    """Return a key of the same id with a new secret."""
    return f"coffre_{key_id}_{secrets.token_urlsafe(32)}"


def read_key(text: str) -> tuple[str, str] | None:
    """Return the id of a key and the SHA-256 of its secret; None: it is no key."""
    found = _KEY.fullmatch(text)
    return (found[1], hashlib.sha256(found[2].encode()).hexdigest()) if found else None


def hash_of(text: str) -> str:
    """Return the SHA-256 of a key's secret; raises ValueError for what is no key."""
    known = read_key(text)
    if known is None:
        raise ValueError("it is no key of the API")
    return known[1]


def checked_scopes(texts: Iterable[str]) -> tuple[str, ...]:
    """Return scopes as they are kept: each once, sorted; raises ValueError as `KeyScope.parse` does."""
    return tuple(sorted({str(KeyScope.parse(text)) for text in texts}))
