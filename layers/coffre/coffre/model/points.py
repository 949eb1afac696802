"""Restore points: a database and its buckets, backed up together (docs/points.md).

`Point` is the configuration of one, `PointRecord` what is known of one that was taken.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, model_validator

from coffre.model.document import Document, FrozenModel
from coffre.model.kinds import TargetKind

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


class PartOf(FrozenModel):
    """Which point a backup is a part of: the point's name and its id, a ULID."""

    name: str
    id: str


class PointCounts(FrozenModel):
    """What a backup of buckets found of the references of its point.

    `references` are objects that rows refer to, in the buckets of the target. Of those, `dangling` ones are not in the
    backup as the rows mean them: not at all, or (`replaced`) in another version. `orphans` are objects that no row
    refers to.
    """

    references: int = Field(default=0, ge=0)
    dangling: int = Field(default=0, ge=0)
    replaced: int = Field(default=0, ge=0)
    orphans: int = Field(default=0, ge=0)


class ManifestPoint(PartOf):
    """The same in a manifest. `counts` are those of a backup of buckets; None: the references were not known."""

    counts: PointCounts | None = None


class ReferenceList(FrozenModel):
    """A file of references in the vault: as a file of entries (`EntriesFile`)."""

    key: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    length: int
    count: int
    first: str = ""


class PointPart(FrozenModel):
    """One backup of a point."""

    target: str
    kind: TargetKind
    backup_id: str
    manifest_sha256: str | None = None
    counts: PointCounts | None = None


class PointRecord(FrozenModel):
    """One point: begun when the database's snapshot was taken, sealed when all its parts are COMPLETED.

    `taken_at` is the time of the snapshot by the function's clock. `references` is the number of objects that its rows
    refer to, in `lists` sorted by name; None: it is not known. In the vault only sealed ones are kept.
    """

    format: Literal[1] = 1
    id: str
    name: str
    taken_at: datetime
    parts: tuple[PointPart, ...]
    references: int | None = None
    lists: tuple[ReferenceList, ...] = ()
    listing: Literal["bucket", "rows"] = "bucket"
    sealed_at: datetime | None = None

    @property
    def database(self) -> PointPart:
        """The part that is the database's backup."""
        return next(part for part in self.parts if part.kind is TargetKind.DATABASE)

    @property
    def buckets(self) -> tuple[PointPart, ...]:
        """The parts that are backups of buckets."""
        return tuple(part for part in self.parts if part.kind is not TargetKind.DATABASE)

    def part(self, target: str) -> PointPart | None:
        """Return the part of a target, if it has one."""
        return next((part for part in self.parts if part.target == target), None)

    @property
    def dangling(self) -> int:
        """How many references lead to no object of the point, or to another version of it."""
        return sum(part.counts.dangling for part in self.parts if part.counts)

    @property
    def orphans(self) -> int:
        """How many objects no row refers to."""
        return sum(part.counts.orphans for part in self.parts if part.counts)
