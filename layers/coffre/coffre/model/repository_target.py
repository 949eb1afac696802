"""Targets that are Git repositories."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from coffre.model.bucket_target import BucketSource, ObjectLimits, ObjectStore
from coffre.model.drill_options import BucketDrill
from coffre.model.kinds import TargetKind
from coffre.model.repositories import Organisation, RepositorySource
from coffre.model.schedule import Schedule
from coffre.model.target import Target


class RepositoryTarget(Target):
    """Git repositories that are backed up together (docs/repositories.md)."""

    kind: Literal[TargetKind.REPOSITORY] = Field(
        description="What the target is: repositories.", examples=["repository"]
    )
    repositories: tuple[RepositorySource, ...] = Field(
        default=(),
        max_length=1000,
        description="Repositories by their addresses.",
        examples=[[{"url": "https://github.com/acme/web.git", "secret": "coffre/repository/github"}]],
    )
    organisations: tuple[Organisation, ...] = Field(
        default=(),
        max_length=100,
        description="Organisations whose repositories are found at each backup.",
        examples=[[{"forge": "github", "name": "acme", "secret": "coffre/repository/github"}]],
    )
    lfs: bool = Field(default=True, description="Whether objects of Git LFS are backed up too.", examples=[False])
    pull_requests: bool = Field(
        default=False,
        description="Whether the forge's own refs are backed up: refs/pull, refs/merge-requests and others.",
        examples=[True],
    )
    schedule: Schedule | None = Field(
        default=Schedule.model_construct(expression="cron(0 2 * * ? *)"),
        description="When this target is backed up. null: by the template's rules for buckets.",
        examples=[{"expression": "rate(6 hours)"}],
    )
    limits: ObjectLimits = Field(
        default=ObjectLimits.model_construct(), description="What a run may use.", examples=[{"streams": 4}]
    )
    drill: BucketDrill = Field(
        default=BucketDrill.model_construct(),
        description="How backups are proven. Every repository is cloned from its bundles; objects 0: no drills.",
        examples=[{"rto_minutes": 30}],
    )

    @model_validator(mode="after")
    def _something_is_named(self) -> RepositoryTarget:
        if not self.repositories and not self.organisations:
            raise ValueError("name at least one of repositories and organisations")
        names = [one.address.name for one in self.repositories]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"each repository is named once; named twice: {', '.join(twice)}")
        return self

    # What the engine of buckets asks of a target.
    store: ClassVar[ObjectStore] = ObjectStore.model_construct()
    attributes: ClassVar[Literal["listed", "compare"]] = "listed"
    attributes_every: ClassVar[int] = 1

    @property
    def buckets(self) -> tuple[BucketSource, ...]:
        """The hosts, each as if it were a bucket."""
        hosts = {one.address.bucket for one in self.repositories}
        hosts |= {one.address_of("any").bucket for one in self.organisations}
        return tuple(BucketSource(name=host) for host in sorted(hosts))
