"""The sections `alerts` of the configuration document: the limits from which something is reported (docs/alerts.md)."""

from __future__ import annotations

from pydantic import Field

from coffre.model.document import Document


class TargetAlerts(Document):
    """What is reported about one target.

    `size_change_percent` is how far a size may be off the mean of the last comparable backups (null: any), and
    `duration_minutes` how long a backup may take (null: 30 for a database, 120 for buckets). `heartbeat_url` is called
    after each good backup, for a service outside AWS that alerts when it is not called.
    """

    size_change_percent: int | None = Field(default=50, ge=1, le=10_000)
    duration_minutes: int | None = Field(default=None, ge=1, le=100_000)
    heartbeat_url: str | None = Field(default=None, pattern=r"^https?://[^\s/]\S*$", max_length=2000)


class FleetAlerts(Document):
    """What is reported about all targets together; null turns a report off.

    `success_rate_percent` of each target's backups of the last 30 days have to succeed, and keys have to be younger
    than `key_rotation_days`.
    """

    success_rate_percent: float | None = Field(default=99, ge=0, le=100)
    key_rotation_days: int | None = Field(default=90, ge=1, le=36_500)
