"""Why a backup was taken: its tiers, by which it lives shorter or longer."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Tier(StrEnum):
    """Why a backup was taken, and so how long it lives. One backup can carry several.

    `SAFETY`: it holds what a restore was about to overwrite.
    """

    DAILY = "DAILY"
    WEEKLY = "WEEKLY"
    MONTHLY = "MONTHLY"
    MANUAL = "MANUAL"
    SAFETY = "SAFETY"

    @property
    def word(self) -> str:
        """Its name in sentences, and before `_days` and `_count` in a configuration."""
        return self.value.lower()

    @property
    def is_rare(self) -> bool:
        """Whether its scheduled runs are a week or more apart, so that one that is skipped is missed."""
        return self in (Tier.WEEKLY, Tier.MONTHLY)


KEPT_BY_RETENTION: Final = tuple(tier for tier in Tier if tier is not Tier.MANUAL)
"""The tiers that a target's `Retention` has an end for; who takes a backup by hand may give it one of its own."""
