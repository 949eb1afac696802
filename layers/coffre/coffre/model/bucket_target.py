"""Targets that are buckets of one object store."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from coffre.model.document import Document
from coffre.model.drill_options import BucketDrill
from coffre.model.kinds import TargetKind
from coffre.model.target import Target

# As S3 names buckets, and more widely: Supabase takes spaces, upper case and others too. Never a slash: it ends the
# bucket's in the name of an entry.
BucketName = Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f\x7f]{1,255}$", description="a bucket's name")]


class BucketSource(Document):
    """One bucket, or some of its objects.

    `prefixes` are starts of keys (none: all objects). `include` and `exclude` are patterns of whole keys: `*` stands
    for any characters but a slash, `**` for any, `?` for one character; an object is taken when it matches one of
    `include` (or `include` is empty) and none of `exclude`.
    """

    name: BucketName = Field(description="The bucket; unique in the list.", examples=["avatars"])
    prefixes: tuple[str, ...] = Field(
        default=(),
        description="Only keys that start with one of these are listed. Empty: all.",
        examples=[["invoices/"]],
    )
    include: tuple[str, ...] = Field(
        default=(), description="Patterns of whole keys that are backed up. Empty: all.", examples=[["**.pdf"]]
    )
    exclude: tuple[str, ...] = Field(
        default=(), description="Patterns of whole keys that are left out.", examples=[["**.tmp"]]
    )


class ObjectStore(Document):
    """Where buckets are, and how to get in: AWS's own S3 with the function's role when nothing is said.

    `secret` names a Secrets Manager secret with `access_key_id`, `secret_access_key` and perhaps `session_token`.
    """

    endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://[^/?#@\s]+(/[^?#@\s]*)?$",
        description="Address of a store that is not AWS. null: AWS S3.",
        examples=["https://account.r2.cloudflarestorage.com"],
    )
    region: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9-]+$",
        description="The region that requests are signed for. null: the stack's, or the one that fits the store.",
        examples=["eu-central-1"],
    )
    addressing: Literal["auto", "path", "virtual"] = Field(
        default="auto",
        description="Where the bucket's name stands in an address. auto: in the path if an endpoint is given.",
        examples=["path"],
    )
    secret: str | None = Field(
        default=None,
        min_length=1,
        description="Name of the secret with the access key, below coffre/storage/. null: the function's role.",
        examples=["coffre/storage/r2"],
    )


class ObjectLimits(Document):
    """What a run may use. `streams` is the number of connections that read objects in parallel.

    A backup that does not fit into one invocation continues in the next one, `invocations` at most.
    """

    streams: int = Field(
        default=16,
        ge=1,
        le=64,
        description="Number of connections that read objects in parallel.",
        examples=[32],
        json_schema_extra={"unit": "connections"},
    )
    compression_level: int = Field(
        default=3,
        ge=1,
        le=19,
        description="The zstd level; data that is compressed already is stored at level 1.",
        examples=[6],
        json_schema_extra={"unit": "zstd level"},
    )
    invocations: int = Field(
        default=24,
        ge=1,
        le=200,
        description="Maximum number of invocations of the function for one backup.",
        examples=[48],
        json_schema_extra={"unit": "invocations"},
    )


class BucketLimits(ObjectLimits):
    """What a backup of buckets may use: what one function cannot do may also be divided among several.

    Each of `functions` reads with `streams` connections (docs/large-databases.md).
    """

    spread: Literal["auto", "never", "always"] = Field(
        default="auto",
        description="Whether several functions read ranges of names. auto: what one has not enough time for.",
        examples=["never"],
    )
    functions: int = Field(
        default=8,
        ge=1,
        le=64,
        description="Number of functions that read ranges of names together, each with `streams` connections.",
        examples=[16],
        json_schema_extra={"unit": "functions"},
    )


class BucketTarget(Target):
    """Buckets of one object store that are backed up together.

    `attributes` says how changes of tags and grants alone, which a listing does not show, are found: `listed` does not
    look for them, `compare` reads the tags (and grants) of unchanged objects too. `attributes_every` spreads that over
    this number of backups, each comparing its share.
    """

    kind: Literal[TargetKind.BUCKET] = Field(description="What the target is: buckets.", examples=["bucket"])
    store: ObjectStore = Field(
        default=ObjectStore.model_construct(),
        description="Where the buckets are, and how to get in.",
        examples=[{"endpoint": "https://account.r2.cloudflarestorage.com", "secret": "coffre/storage/r2"}],
    )
    buckets: tuple[BucketSource, ...] = Field(
        min_length=1, description="The buckets that are backed up together.", examples=[[{"name": "avatars"}]]
    )
    attributes: Literal["listed", "compare"] = Field(
        default="listed",
        description="How changes are found: by the listing alone, or by reading tags and grants too.",
        examples=["compare"],
    )
    attributes_every: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="With compare: each unchanged object is compared in one of this number of backups.",
        examples=[7],
        json_schema_extra={"unit": "backups"},
    )
    limits: BucketLimits = Field(
        default=BucketLimits.model_construct(), description="What a run may use.", examples=[{"streams": 32}]
    )
    drill: BucketDrill = Field(
        default=BucketDrill.model_construct(),
        description="How backups are proven by restoring objects.",
        examples=[{"objects": 500}],
    )

    @model_validator(mode="after")
    def _buckets_are_unique(self) -> BucketTarget:
        names = [bucket.name for bucket in self.buckets]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"each bucket is named once, with all its prefixes; named twice: {', '.join(twice)}")
        return self
