"""How targets are protected, for databases and buckets alike: retention, freshness, drills."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from coffre.model.document import Document

_Days = Annotated[int, Field(ge=1, le=36_500, json_schema_extra={"unit": "days"})]
_Count = Annotated[int, Field(ge=1, le=100_000, json_schema_extra={"unit": "backups"})]
_Objective = Annotated[int, Field(ge=1, le=100_000, json_schema_extra={"unit": "minutes"})]


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
        for tier in ("daily", "weekly", "monthly", "safety"):
            if getattr(self, f"{tier}_days") is None and getattr(self, f"{tier}_count") is None:
                raise ValueError(f"{tier}_days and {tier}_count are both null: give one of them a number")
        return self


class Freshness(Document):
    """How old the newest backup may be before an alert is sent (docs/verification.md).

    A backup is expected every `every_hours`, and `late_hours` later it is overdue. By default one is expected at each
    time of the target's own schedule; without a schedule every 24 hours for a database, every 168 for buckets. Once
    anything of the target was verified, the newest verified backup may be `verified_hours` old.
    """

    every_hours: float | None = Field(
        default=None,
        gt=0,
        le=100_000,
        description="How often a backup is expected. null: by the schedule; else 24 for a database, 168 for buckets.",
        examples=[24],
        json_schema_extra={"unit": "hours"},
    )
    late_hours: float = Field(
        default=4,
        ge=0,
        le=10_000,
        description="How much later than every_hours the newest backup counts as overdue.",
        examples=[2],
        json_schema_extra={"unit": "hours"},
    )
    verified_hours: float = Field(
        default=192,
        gt=0,
        le=100_000,
        description="How old the newest verified backup may be, once the target has one.",
        examples=[192],
        json_schema_extra={"unit": "hours"},
    )


class DrillCheck(Document):
    """A question of the owner's that a restored database has to answer right: one row with one value.

    `expect` is what JSON makes of that value; anything but numbers, booleans and NULL is compared as text.
    """

    name: str = Field(
        min_length=1,
        max_length=100,
        description="Names the check in reports and alerts; unique in the list.",
        examples=["orders of yesterday"],
    )
    query: str = Field(
        min_length=1,
        max_length=10_000,
        description="One SQL query that returns one row with one value.",
        examples=["SELECT count(*) > 1000 FROM orders"],
    )
    expect: StrictBool | StrictInt | StrictFloat | StrictStr | None = Field(
        description="The value that the query has to return.", examples=[True]
    )


class Drill(Document):
    """How a backup is proven by restoring it (docs/drills.md)."""

    checks: tuple[DrillCheck, ...] = Field(
        default=(),
        max_length=100,
        description="Questions that a restored database has to answer right. Reports hold them unencrypted.",
        examples=[[{"name": "orders", "query": "SELECT count(*) > 1000 FROM orders", "expect": True}]],
    )
    check_timeout_seconds: int = Field(
        default=30,
        ge=1,
        le=600,
        description="How long each check may take.",
        examples=[60],
        json_schema_extra={"unit": "seconds"},
    )
    rto_minutes: _Objective | None = Field(
        default=None,
        description="Sends RTO_EXCEEDED when the drill's restore takes longer. null: never.",
        examples=[60],
    )

    @model_validator(mode="after")
    def _names_of_checks_are_unique(self) -> Drill:
        names = [check.name for check in self.checks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"each check needs its own name; used twice: {', '.join(twice)}")
        return self


class BucketDrill(Document):
    """How a backup of buckets is proven by restoring some of its objects (docs/drills.md)."""

    objects: int = Field(
        default=100,
        ge=0,
        le=1000,
        description="How many objects a drill restores at most. 0: this target is never drilled.",
        examples=[500],
        json_schema_extra={"unit": "objects"},
    )
    rto_minutes: _Objective | None = Field(
        default=None,
        description="Sends RTO_EXCEEDED when the drill's restore takes longer. null: never.",
        examples=[60],
    )
