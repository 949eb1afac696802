"""The configuration of confirmations (docs/confirmation.md)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from coffre.model.document import Document


class ConfirmationRules(Document):
    """What a confirmation needs. `approvals`: how many other people have to approve what replaces or deletes.

    `in_console`: whether they may do that in the console too, which knows people by their sign-in.
    """

    approvals: Literal[0, 1] = Field(
        default=0,
        description="1: another person has to approve what replaces data in use or deletes a backup.",
        examples=[1],
        json_schema_extra={"unit": "people"},
    )
    in_console: bool = Field(
        default=False,
        description="Whether a plan may be approved in the console too, and not by `coffre approve` alone.",
        examples=[True],
    )
