"""Why a backup was taken: its tiers, by which it lives shorter or longer."""

from __future__ import annotations

from enum import StrEnum


class Tier(StrEnum):
    """Why a backup was taken, and so how long it lives. One backup can carry several.

    `SAFETY`: it holds what a restore was about to overwrite.
    """

    DAILY = "DAILY"
    WEEKLY = "WEEKLY"
    MONTHLY = "MONTHLY"
    MANUAL = "MANUAL"
    SAFETY = "SAFETY"
