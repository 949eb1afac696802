"""The sections `alerts` of the configuration document: the limits from which something is reported (docs/alerts.md)."""

from __future__ import annotations

from pydantic import Field

from coffre.model.document import Document


class TargetAlerts(Document):
    """What is reported about one target; null turns a report off."""

    size_change_percent: int | None = Field(
        default=50,
        ge=1,
        le=10_000,
        description="Sends SIZE_ANOMALY when a size or a number of rows is further off the last ten backups' mean.",
        examples=[30],
        json_schema_extra={"unit": "percent"},
    )
    duration_minutes: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Sends DURATION_EXCEEDED when a backup takes longer. null: 30 for a database, 120 for buckets.",
        examples=[15],
        json_schema_extra={"unit": "minutes"},
    )
    heartbeat_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/]\S*$",
        max_length=2000,
        description="Called (GET) after each good backup, for a service outside AWS that alerts when it is not called.",
        examples=["https://hc-ping.com/0a1b2c3d-0000-0000-0000-000000000000"],
    )


class FleetAlerts(Document):
    """What is reported about all targets together; null turns a report off."""

    success_rate_percent: float | None = Field(
        default=99,
        ge=0,
        le=100,
        description="Sends SUCCESS_RATE when a smaller share of a target's backups of the last 30 days succeeded.",
        examples=[95],
        json_schema_extra={"unit": "percent"},
    )
    key_rotation_days: int | None = Field(
        default=90,
        ge=1,
        le=36_500,
        description="Sends KEY_ROTATION_DUE when a public key has been in use for this long.",
        examples=[365],
        json_schema_extra={"unit": "days"},
    )
    contacts: bool = Field(
        default=False,
        description="Also names the contacts in the mail of the report. The page has them anyway.",
        examples=[True],
    )
