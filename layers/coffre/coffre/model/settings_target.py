"""Targets that are settings: secrets, parameters and files."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from coffre.model.bucket_target import BucketSource, ObjectLimits, ObjectStore
from coffre.model.drill_options import BucketDrill
from coffre.model.kinds import TargetKind
from coffre.model.schedule import Schedule
from coffre.model.target import Target

# A pattern of names: no control characters, no spaces. Secrets Manager and SSM allow letters, digits and `/_+=.@-`.
NamePattern = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9/_+=.@*?-]{1,512}$", description="a name, in which * ** and ? stand for others")
]


class SettingsTarget(Target):
    """Secrets, parameters and files with settings (docs/settings.md). They are always encrypted.

    In a pattern `*` stands for any characters but a slash, `**` for any, `?` for one. Files are handed in by
    `coffre backup settings --file`; each stays in later backups until another one of its name is handed in.
    """

    kind: Literal[TargetKind.SETTINGS] = Field(description="What the target is: settings.", examples=["settings"])
    secrets: tuple[NamePattern, ...] = Field(
        default=(),
        max_length=100,
        description="Patterns of names of Secrets Manager secrets. Empty: none. Never coffre/identity/.",
        examples=[["app/prod/*"]],
    )
    parameters: tuple[NamePattern, ...] = Field(
        default=(),
        max_length=100,
        description="Patterns of names of SSM parameters, SecureString too. Empty: none.",
        examples=[["/app/prod/**"]],
    )
    exclude: tuple[NamePattern, ...] = Field(
        default=(),
        max_length=100,
        description="Patterns of names of secrets and parameters that are left out.",
        examples=[["app/prod/tmp-*"]],
    )
    coffre: bool = Field(
        default=True,
        description="Whether Coffre's own configuration and the stack's parameters are backed up too.",
        examples=[False],
    )
    schedule: Schedule | None = Field(
        default=Schedule.model_construct(expression="cron(30 1 * * ? *)"),
        description="When this target is backed up. null: by the template's rules for buckets.",
        examples=[{"expression": "rate(6 hours)"}],
    )
    limits: ObjectLimits = Field(
        default=ObjectLimits.model_construct(), description="What a run may use.", examples=[{"streams": 4}]
    )
    drill: BucketDrill = Field(
        default=BucketDrill.model_construct(),
        description="How backups are proven. Every value is decrypted and nothing is written; objects 0: no drills.",
        examples=[{"rto_minutes": 30}],
    )

    # What the engine of buckets asks of a target.
    store: ClassVar[ObjectStore] = ObjectStore.model_construct()
    attributes: ClassVar[Literal["listed", "compare"]] = "listed"
    attributes_every: ClassVar[int] = 1

    @property
    def buckets(self) -> tuple[BucketSource, ...]:
        """The folders of names that a backup has, each as if it were a bucket."""
        chosen = [BucketSource(name=FILES)]
        chosen += [BucketSource(name=COFFRE)] if self.coffre else []
        for folder, patterns in ((SECRETS, self.secrets), (PARAMETERS, self.parameters)):
            if patterns:
                chosen.append(BucketSource(name=folder, include=patterns, exclude=self.exclude))
        return tuple(sorted(chosen, key=lambda one: one.name))


# The folders of settings in a backup.
FILES: Final = "files"
COFFRE: Final = "coffre"
SECRETS: Final = "secrets"
PARAMETERS: Final = "parameters"
