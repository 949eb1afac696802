"""After each round of a spread backup of buckets: divide what is not stored yet, or seal what is stored as a whole."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from coffre.model.manifest import Manifest, PackReference
from coffre.operations.backup_buckets.backup import seal_ranges
from coffre.operations.backup_buckets.job import BucketBackupJob
from coffre.operations.backup_buckets.remaining_objects import Names
from coffre.operations.backup_buckets.spread.plan_files import RangesHeader, StoredFile, write_ranges
from coffre.operations.backup_buckets.spread.records import merged, read_record
from coffre.operations.backup_buckets.stored_before import open_previous
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.run import Run
from coffre.policy.ranges import Mark, NameRange, PlannedRange, cover, divide, marks_of
from coffre.vault.bucket_progress import BucketProgress, Counts, RangeRecord
from coffre.vault.part_records import HISTORY_FROM
from coffre.vault.vault import Committed

# Of listing in one invocation. What is not listed by then is divided by the previous backup's names, or left whole.
LISTING_SECONDS: Final = 240.0


@dataclass(frozen=True)
class Gathered:
    """What the records of a run amount to: the chosen ones in the order of the names, and what is not stored yet."""

    records: tuple[RangeRecord, ...]
    rests: tuple[tuple[NameRange, int | None], ...]
    packs: Mapping[str, PackReference]

    def objects_before(self, name: str) -> int:
        """Return how many objects are stored of the ranges that begin before a name."""
        files = (file for record in self.records if record.after < name for file in record.progress.entries)
        return sum(file.count for file in files)


def gather(job: BucketBackupJob, backup_id: str, known: Mapping[int, str]) -> Gathered:
    """Read the records of a run; raises what `read_record` raises.

    Parameters
    ----------
    known
        The SHA-256 of each record, by its number. Others in the vault do not count: an identity that may add objects
        there could have put them.
    """
    ranges = sorted(number for number in known if number < HISTORY_FROM)
    records = {number: read_record(job, backup_id, number, known[number]) for number in ranges}
    chosen, rests = cover([(number, record.names) for number, record in records.items()])
    begun = {record.names.end: number for number, record in records.items() if record.progress.begun}
    needed = {*chosen, *begun.values()}
    packs = {pack.key: pack for number in sorted(needed) for pack in records[number].progress.packs}
    return Gathered(
        tuple(records[number] for number in chosen), tuple((rest, begun.get(rest.after)) for rest in rests), packs
    )


def plan_round(
    job: BucketBackupJob,
    header: RangesHeader,
    gathered: Gathered,
    *,
    after_round: int,
    meter: Meter,
    seconds: float = LISTING_SECONDS,
) -> StoredFile:
    """Divide what is not stored into ranges, and store their list for the next round of workers.

    Raises
    ------
    StoreError
        `LISTING_UNSORTED`, and what listing raises.
    """
    until = time.monotonic() + min(seconds, max(0.0, job.remaining_seconds() / 3))
    ranges: list[tuple[PlannedRange, int | None]] = []
    known, planned = _known_names(job), 0
    for rest, begun in gathered.rests:
        marks, listed_to = _listed(job, header, rest, meter, until)
        if listed_to is not None:
            marks += [Mark(name, count, 0) for name, count in known if listed_to < name]
        before = gathered.objects_before(rest.after) + planned
        for one in divide(rest, marks, header.width, header.range_objects):
            ranges.append((replace(one, before=before), begun))
            before, planned = before + one.objects, planned + one.objects
    return write_ranges(job.vault, header, after_round, ranges)


def seal_gathered(
    job: BucketBackupJob, header: RangesHeader, gathered: Gathered, run: Run
) -> tuple[Manifest, Committed]:
    """Write the manifest of a run whose names are all stored; raises what `seal_ranges` raises."""
    begun = merged(gathered.records, gathered.packs, header.source)
    return seal_ranges(replace(job, begun=begun), run, header.notes)


def _listed(
    job: BucketBackupJob, header: RangesHeader, rest: NameRange, meter: Meter, until: float
) -> tuple[list[Mark], str | None]:
    """Return marks of a range, and the name up to which they are listed, if the time was over before its end."""
    job = replace(job, begun=_position(header, rest.after), end=rest.end, is_range=True)
    marks: list[Mark] = []
    with closing(_sizes(job, meter)) as sizes:
        for mark in marks_of(sizes, header.range_objects):
            marks.append(mark)
            if time.monotonic() > until:
                return marks, mark.name
    return marks, None


def _sizes(job: BucketBackupJob, meter: Meter) -> Generator[tuple[str, int]]:
    for found in Names(job, meter, set()).found():
        yield found.name, found.listed.size


def _known_names(job: BucketBackupJob) -> list[tuple[str, int]]:
    """Return names of the previous backup, some 2,500 to 35,000 objects from one to the next, and that number."""
    manifest = open_previous(job).manifest
    if manifest is None:
        return []
    files = manifest.entries
    return [(file.first, before.count) for before, file in pairwise(files) if file.first]


def _position(header: RangesHeader, after: str) -> BucketProgress:
    return BucketProgress(
        invocations=0,
        position=after,
        parts=0,
        previous=header.previous,
        entries=(),
        packs=(),
        live_bytes={},
        counts=Counts(),
        source=header.source,
    )
