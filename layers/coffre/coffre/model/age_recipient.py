"""The form of a public key that backups are encrypted for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

AgeRecipient = Annotated[str, Field(pattern=r"^age1[02-9ac-hj-np-z]{58}$", description="an age X25519 public key")]
