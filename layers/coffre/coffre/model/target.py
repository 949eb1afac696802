"""What every target has, whatever its kind: a name, and how its backups are kept, watched and proven."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from coffre.model.age_recipient import AgeRecipient
from coffre.model.alert_rules import TargetAlerts
from coffre.model.confirmation_rules import ConfirmationRules
from coffre.model.document import Document
from coffre.model.drill_options import BucketDrill, Drill
from coffre.model.freshness_limits import Freshness
from coffre.model.kinds import TargetKind
from coffre.model.objectives import Objective
from coffre.model.retention import Retention
from coffre.model.schedule import Schedule

TARGET_NAME: Final = r"^[a-z0-9][a-z0-9-]{0,62}$"
TargetName = Annotated[str, Field(pattern=TARGET_NAME, description="lower case, digits and dashes")]


class Target(Document):
    """What every kind of target has.

    `recipients` are the target's own public keys (docs/keys.md); none: those of the document.
    """

    name: TargetName = Field(
        description="Names the target in commands, alerts and the vault. Another name is another target.",
        examples=["shop", "files"],
    )
    kind: TargetKind
    recipients: tuple[AgeRecipient, ...] = Field(
        default=(),
        description="age public keys of this target alone. Empty: those of the document.",
        examples=[["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"]],
    )
    schedule: Schedule | None = Field(
        default=None,
        description="When this target is backed up, in place of the template's rules. null: by the template's rules.",
        examples=[{"expression": "cron(30 3 * * ? *)", "time_zone": "Europe/Zurich"}],
    )
    retention: Retention = Field(
        default=Retention.model_construct(), description="How long backups are kept.", examples=[{"daily_days": 30}]
    )
    freshness: Freshness = Field(
        default=Freshness.model_construct(),
        description="When a missing backup is reported.",
        examples=[{"late_hours": 2}],
    )
    objectives: Objective = Field(
        default=Objective.model_construct(),
        description="How much may be lost and how long a restore may take. null: as the document says.",
        examples=[{"rpo_minutes": 60}],
    )
    alerts: TargetAlerts = Field(
        default=TargetAlerts.model_construct(),
        description="What counts as unusual.",
        examples=[{"duration_minutes": 15}],
    )
    drill: Drill | BucketDrill
    confirmation: ConfirmationRules | None = Field(
        default=None,
        description="What a confirmation of what replaces or deletes needs. null: as the document says.",
        examples=[{"approvals": 1}],
    )

    @model_validator(mode="after")
    def _objectives_agree(self) -> Self:
        own, of_drill = self.objectives.rto_minutes, self.drill.rto_minutes
        if None not in (own, of_drill) and own != of_drill:
            raise ValueError(f"objectives.rto_minutes is {own} and drill.rto_minutes is {of_drill}: say one of them")
        return self
