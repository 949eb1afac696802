"""How long the backups of a target are kept: the choices of its owner."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from coffre.model.document import Document
from coffre.model.tier import KEPT_BY_RETENTION, Tier

_Days = Annotated[int, Field(ge=1, le=36_500, json_schema_extra={"unit": "days"})]
_Count = Annotated[int, Field(ge=1, le=100_000, json_schema_extra={"unit": "backups"})]


class Retention(Document):
    """How long backups are kept (docs/retention.md).

    A backup stays while it is younger than its tier's `days`, or one of the newest `count` of its tier: whichever keeps
    it. Of a target at least the newest `minimum_kept` stay, and nothing goes unless `minimum_verified` verified ones
    stay, one of them newer than what goes; 0 says explicitly that verification is not waited for.
    Beyond `maximum_bytes` the oldest go first.
    """

    daily_days: _Days | None = Field(
        default=7, description="Keep daily backups this long. null: only daily_count decides.", examples=[30]
    )
    daily_count: _Count | None = Field(
        default=None, description="Also keep this number of the newest daily backups.", examples=[10]
    )
    weekly_days: _Days | None = Field(
        default=28, description="Keep weekly backups this long. null: only weekly_count decides.", examples=[90]
    )
    weekly_count: _Count | None = Field(
        default=None, description="Also keep this number of the newest weekly backups.", examples=[8]
    )
    monthly_days: _Days | None = Field(
        default=365, description="Keep monthly backups this long. null: only monthly_count decides.", examples=[730]
    )
    monthly_count: _Count | None = Field(
        default=None, description="Also keep this number of the newest monthly backups.", examples=[24]
    )
    safety_days: _Days | None = Field(
        default=7, description="Keep SAFETY backups, which hold what a restore overwrote, this long.", examples=[14]
    )
    safety_count: _Count | None = Field(
        default=None, description="Also keep this number of the newest SAFETY backups.", examples=[3]
    )
    minimum_kept: int = Field(
        default=2,
        ge=1,
        description="The newest backups that always stay, whatever their age or size.",
        examples=[3],
        json_schema_extra={"unit": "backups"},
    )
    minimum_verified: int = Field(
        default=2,
        ge=0,
        description="Nothing is deleted unless this number of verified backups stay, one newer than what is deleted.",
        examples=[1],
        json_schema_extra={"unit": "backups"},
    )
    maximum_bytes: int | None = Field(
        default=None,
        ge=1,
        description="While the target's backups are larger together, the oldest are deleted. null: no limit.",
        examples=[500_000_000_000],
        json_schema_extra={"unit": "bytes"},
    )

    @model_validator(mode="after")
    def _every_tier_has_an_end(self) -> Retention:
        for tier in KEPT_BY_RETENTION:
            if self.days(tier) is None and self.count(tier) is None:
                raise ValueError(f"{tier.word}_days and {tier.word}_count are both null: give one of them a number")
        return self

    def days(self, tier: Tier) -> int | None:
        """Return for how many days backups of a tier are kept; None: it has no end by age."""
        days: int | None = getattr(self, f"{tier.word}_days", None)
        return days

    def count(self, tier: Tier) -> int | None:
        """Return how many of the newest backups of a tier are kept; None: their number does not matter."""
        count: int | None = getattr(self, f"{tier.word}_count", None)
        return count
