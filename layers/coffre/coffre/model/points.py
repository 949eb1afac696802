"""Restore points that were taken: a database and its buckets, backed up together (docs/points.md)."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from coffre.model.document import FrozenModel
from coffre.model.kinds import TargetKind


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
