"""How the backups of a target are proven by restoring them: the choices of its owner."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from coffre.model.document import Document

_Objective = Annotated[int, Field(ge=1, le=100_000, json_schema_extra={"unit": "minutes"})]


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
