"""When a target is backed up, if it has a schedule of its own (docs/schedules.md)."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from coffre.model.cron import Cron, Rate, parse_expression
from coffre.model.document import Document


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name.

    Raises
    ------
    ValueError
        No such zone is known.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, not a name at all, a folder of zones
        raise ValueError("is no time zone of the IANA database; names are like Europe/Zurich, or UTC") from None


def _checked_expression(text: str) -> str:
    parse_expression(text)
    return text.strip()


def _checked_zone(name: str) -> str:
    zone(name)
    return name


class Schedule(Document):
    """When a target is backed up, in place of the template's rules.

    `policy.schedule` knows its runs. Each run has the tier DAILY, the first of a week (from Sunday) WEEKLY too, and the
    first of a month MONTHLY too.
    """

    expression: Annotated[str, AfterValidator(_checked_expression)] = Field(
        min_length=1,
        max_length=256,
        description="When: cron(minutes hours day-of-month month day-of-week year), or rate(6 hours).",
        examples=["cron(30 3 * * ? *)", "rate(1 hour)"],
    )
    time_zone: Annotated[str, AfterValidator(_checked_zone)] = Field(
        default="UTC",
        max_length=64,
        description="The IANA time zone of a cron expression's times.",
        examples=["Europe/Zurich", "America/New_York"],
    )

    @model_validator(mode="after")
    def _zone_goes_with_times(self) -> Schedule:
        if isinstance(self.parsed, Rate) and self.time_zone != "UTC":
            raise ValueError("time_zone goes with cron(...): a rate(...) has no local times")
        return self

    @property
    def parsed(self) -> Cron | Rate:
        """What the expression means."""
        return parse_expression(self.expression)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of its times."""
        return zone(self.time_zone)
