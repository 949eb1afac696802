"""The configuration of restore points: a database and its buckets, backed up together (docs/points.md)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from coffre.model.document import Document

POINT_NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
_Name = Annotated[str, Field(pattern=POINT_NAME, description="lower case, digits and dashes")]


class SupabaseObjects(Document):
    """Supabase Storage: each row of `storage.objects` refers to an object.

    With `bucket` the target is the bucket in which Storage itself keeps everything, below `tenant`: one object for each
    version. Without it the target is Supabase's S3 endpoint, which has the newest version alone.
    """

    type: Literal["supabase"] = Field(
        description="Where the references are: storage.objects of Supabase.", examples=["supabase"]
    )
    bucket: str | None = Field(
        default=None,
        pattern=r"^[^/\\\x00-\x1f\x7f]{1,255}$",
        description="The bucket behind a self-hosted Storage. null: the target is Supabase's S3 endpoint.",
        examples=["supabase-storage"],
    )
    tenant: str = Field(
        default="stub",
        pattern=r"^[A-Za-z0-9._-]{1,255}$",
        description="With bucket: the folder of the project in it (Storage's TENANT_ID).",
        examples=["stub"],
    )


class QueryObjects(Document):
    """The owner's query: a row for each reference, with `bucket` and `key`, and maybe `version`, `etag` and `size`."""

    type: Literal["query"] = Field(description="Where the references are: the rows of a query.", examples=["query"])
    query: str = Field(
        min_length=1,
        max_length=20_000,
        description="One SELECT with the columns bucket and key, and maybe version, etag, size.",
        examples=["SELECT 'acme-files' AS bucket, path AS key, etag, bytes AS size FROM public.documents"],
    )


Objects = Annotated[SupabaseObjects | QueryObjects, Field(discriminator="type")]


class Point(Document):
    """Targets that belong together: `database` is backed up first, then `buckets` as the rows of that moment say."""

    name: _Name = Field(description="Names the point in commands and alerts.", examples=["shop"])
    database: _Name = Field(description="The target with the rows.", examples=["shop"])
    buckets: tuple[_Name, ...] = Field(
        min_length=1, max_length=20, description="The targets of buckets with the objects.", examples=[["files"]]
    )
    objects: Objects | None = Field(
        default=None,
        description="Which objects the rows refer to. null: unknown, the buckets are backed up as they are.",
        examples=[{"type": "supabase"}],
    )
    listing: Literal["bucket", "rows"] = Field(
        default="bucket",
        description="Where the buckets' objects are listed: by the store, or (for stores whose listing is broken) by "
        "the rows alone.",
        examples=["rows"],
    )
    timeout_seconds: int = Field(
        default=300,
        ge=1,
        le=800,
        description="How long the query for the references may take.",
        examples=[600],
        json_schema_extra={"unit": "seconds"},
    )

    @model_validator(mode="after")
    def _rows_are_known(self) -> Point:
        if self.listing == "rows" and self.objects is None:
            raise ValueError('listing "rows" needs objects: without them no row refers to anything')
        return self

    @model_validator(mode="after")
    def _each_target_once(self) -> Point:
        names = (self.database, *self.buckets)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"a point names each target once; named twice: {', '.join(twice)}")
        return self

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of all its targets, the database first."""
        return (self.database, *self.buckets)
