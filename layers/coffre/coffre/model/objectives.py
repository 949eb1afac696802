"""What may be lost and how long a restore may take (RPO, RTO), by component; and whom to call."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from coffre.model.document import Document
from coffre.model.kinds import TargetKind


class Objective(Document):
    """The objectives of one component, or of one target."""

    rpo_minutes: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="How much may be lost: the longest time between two good backups. null: not measured.",
        examples=[60],
        json_schema_extra={"unit": "minutes"},
    )
    rto_minutes: int | None = Field(
        default=None,
        ge=0,
        le=1_000_000,
        description="How long a restore may take; 0: less than a minute. null: as drill.rto_minutes says.",
        examples=[15],
        json_schema_extra={"unit": "minutes"},
    )


class Objectives(Document):
    """The objectives of each component; a target's own come first (docs/report.md)."""

    database: Objective = Field(
        default=Objective.model_construct(),
        description="Of databases.",
        examples=[{"rpo_minutes": 60, "rto_minutes": 15}],
    )
    files: Objective = Field(
        default=Objective.model_construct(),
        description="Of buckets.",
        examples=[{"rpo_minutes": 120, "rto_minutes": 60}],
    )
    settings: Objective = Field(
        default=Objective.model_construct(),
        description="Of settings and secrets.",
        examples=[{"rpo_minutes": 30, "rto_minutes": 0}],
    )
    code: Objective = Field(
        default=Objective.model_construct(),
        description="Of git repositories.",
        examples=[{"rpo_minutes": 15, "rto_minutes": 0}],
    )

    def of_kind(self, kind: TargetKind) -> Objective:
        """Return the objectives of the component that targets of a kind belong to."""
        found: Objective = getattr(self, COMPONENTS[kind.value])
        return found


COMPONENTS: Final = {"database": "database", "bucket": "files", "settings": "settings", "repository": "code"}
"""The component by the kind of its targets."""

_Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Contact(Document):
    """A person to call. Personal data: in the report's page and the recovery kit, never in logs or metrics."""

    name: _Line = Field(description="The person, or the team.", examples=["Ada Lovelace"])
    role: _Line = Field(description="What to call them for.", examples=["database owner"])
    mail: _Line | None = Field(default=None, description="The mail address.", examples=["ada@example.org"])
    phone: _Line | None = Field(default=None, description="The phone number.", examples=["+41 44 000 00 00"])
