"""How old the newest backup of a target may be: the choices of its owner."""

from __future__ import annotations

from pydantic import Field

from coffre.model.document import Document


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
