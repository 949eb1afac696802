"""Begin a restore point, while the database's snapshot is held: what do its rows refer to?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Final

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup
from coffre.model.bucket_target import BucketTarget
from coffre.model.kinds import TargetKind
from coffre.model.point_options import Point, SupabaseObjects
from coffre.model.points import PartOf, PointPart, PointRecord
from coffre.model.words import counted
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.source.object_references import Row, referenced_objects, supabase_query
from coffre.vault.points import Reference, write_references
from coffre.vault.vault import Vault

# Of other buckets, which are only named.
_BUCKETS_COUNTED: Final = 1_000


@dataclass(frozen=True)
class PointJob:
    """What is needed to begin a point.

    `parts` are the ids that the backups of the buckets will have, by their targets. `taken_at` is when the database's
    snapshot was taken.
    """

    point: Point
    part_of: PartOf
    parts: dict[str, str]
    buckets: tuple[BucketTarget, ...]
    connection: Connection
    children: Children
    vault: Vault
    catalog: Catalog
    taken_at: datetime


@dataclass
class Begun:
    """A point that was begun, and notes about it for the backup of the database."""

    record: PointRecord
    notes: list[str] = field(default_factory=list)


def begin_point(job: PointJob, backup: Backup, snapshot: str) -> Begun:
    """Ask inside the snapshot what the rows refer to, store the list, and record the point.

    Parameters
    ----------
    backup
        That of the database, which holds the snapshot.

    Raises
    ------
    CoffreError
        There is no point. The backup of the database does not depend on it.
    """
    point = job.point
    seen: Counter[str] = Counter()
    lists = None
    if point.objects is not None:
        rows = referenced_objects(
            job.connection,
            job.children,
            snapshot=snapshot,
            query=_query(point),
            timeout_seconds=point.timeout_seconds,
        )
        references = _counted(references_of(rows), seen)
        lists = write_references(job.vault.store, point.name, job.part_of.id, references)
    record = PointRecord(
        id=job.part_of.id,
        name=point.name,
        taken_at=job.taken_at,
        parts=(
            PointPart(target=backup.target, kind=TargetKind.DATABASE, backup_id=backup.id),
            *(
                PointPart(target=target, kind=TargetKind.BUCKET, backup_id=backup_id)
                for target, backup_id in job.parts.items()
            ),
        ),
        references=sum(one.count for one in lists) if lists is not None else None,
        lists=lists or (),
        listing=point.listing,
    )
    job.catalog.points.keep(record)
    return Begun(record, list(_of_other_buckets(job, seen)))


def references_of(rows: Iterable[Row]) -> Iterator[Reference]:
    """Yield a reference for each name of sorted rows; the first of those that mean different versions of it."""
    for name, same in groupby(rows, key=lambda row: row[0]):
        ways = dict.fromkeys(row[1:] for row in same)
        version, size, etag = next(iter(ways))
        yield Reference(name, version, size, etag, others=len(ways) - 1)


def _query(point: Point) -> str:
    objects = point.objects
    if isinstance(objects, SupabaseObjects):
        return supabase_query(objects.bucket, objects.tenant)
    assert objects is not None  # noqa: S101 - for mypy
    return objects.query


def _counted(references: Iterator[Reference], seen: Counter[str]) -> Iterator[Reference]:
    for reference in references:
        if reference.bucket in seen or len(seen) < _BUCKETS_COUNTED:
            seen[reference.bucket] += 1
        yield reference


def _of_other_buckets(job: PointJob, seen: Counter[str]) -> Iterator[str]:
    known = {bucket.name for target in job.buckets for bucket in target.buckets}
    others = {name: count for name, count in sorted(seen.items()) if name not in known}
    if others:
        names = ", ".join(f"{name} ({count:,})" for name, count in list(others.items())[:10])
        more = f" and {len(others) - 10:,} more" if len(others) > 10 else ""
        yield (
            f"{counted(sum(others.values()), 'object')} that rows refer to are in buckets that no target of the point "
            f"{job.point.name} backs up: {names}{more}."
        )
