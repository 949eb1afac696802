"""What the functions of a spread backup of buckets have stored: a record for each range, and what they amount to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError

from coffre.model.errors import IntegrityError
from coffre.model.manifest import EntriesFile, PackReference
from coffre.operations.backup_buckets.job import BucketBackupJob
from coffre.operations.backup_buckets.unread import Unread
from coffre.vault.bucket_progress import BucketProgress, Counts, RangeRecord
from coffre.vault.part_records import StoredPart, read_part, write_part

# The progress of the first function, when it hands its rest over.
FIRST_RECORD = 0


def write_record(job: BucketBackupJob, backup_id: str, number: int, record: RangeRecord) -> str | None:
    """Record what is stored of a range; None: another attempt has recorded it before, and that one counts."""
    file = job.scratch / f"range-{number:06d}.json"
    progress = record.progress.model_copy(update={"packs": ()})
    file.write_bytes(record.model_copy(update={"progress": progress}).model_dump_json().encode() + b"\n")
    part = StoredPart(number, file, record.progress.packs, size_bytes=sum(progress.counts.sizes.values()))
    sha256 = write_part(job.vault, job.target.name, backup_id, part, job.recipients)
    file.unlink()
    return sha256


def read_record(job: BucketBackupJob, backup_id: str, number: int, sha256: str) -> RangeRecord:
    """Return a record.

    Raises
    ------
    IntegrityError
        `PART_MISSING`, `PART_SWAPPED`, or `PART_DAMAGED`: it cannot be read, or was stored for other recipients.
    """
    part, recipients = read_part(job.vault, job.target.name, backup_id, number, job.scratch, sha256=sha256)
    if recipients != job.recipients:
        raise _damaged(number, "was stored for other recipients than the configuration names now")
    try:
        record = RangeRecord.model_validate_json(part.entries.read_bytes())
    except ValidationError as error:
        raise _damaged(number, "cannot be read") from error
    finally:
        _remove(part.entries)
    return record.model_copy(update={"progress": record.progress.model_copy(update={"packs": part.packs})})


def merged(records: Iterable[RangeRecord], packs: Mapping[str, PackReference], source: str) -> BucketProgress:
    """Return what records amount to, which follow one another without a gap, as if one function had stored all.

    Raises
    ------
    IntegrityError
        `PART_DAMAGED`: the files of entries are not in the order of the names.
    """
    files: list[EntriesFile] = []
    live, unread = Counter[str](), Unread()
    sums: dict[str, int | Counter[str]] = {}
    invocations = parts = 0
    position, last = "", ""
    unsorted = set[str]()
    previous: str | None = None
    for record in records:
        progress = record.progress
        for file in progress.entries:
            if files and file.first <= last:
                raise _damaged(parts, f"has entries that do not come after {last!a}")
            last = file.first
            files.append(file)
        live.update(progress.live_bytes)
        unread.take(Unread(progress.unread))
        unsorted.update(progress.unsorted)
        for name in Counts.model_fields:
            _add(sums, name, getattr(progress.counts, name))
        invocations, parts = invocations + progress.invocations, parts + 1
        position, previous = max(position, progress.position), progress.previous
    return BucketProgress(
        invocations=invocations,
        position=position,
        parts=parts,
        previous=previous,
        entries=tuple(files),
        packs=tuple(packs.values()),
        live_bytes=dict(live),
        counts=Counts.model_validate(sums),
        unread=unread.groups,
        source=source,
        unsorted=tuple(sorted(unsorted)),
    )


def _add(sums: dict[str, int | Counter[str]], name: str, value: int | dict[str, int]) -> None:
    known = sums.get(name)
    if isinstance(value, int):
        sums[name] = value + (known if isinstance(known, int) else 0)
    else:
        sums[name] = Counter(value) + (known if isinstance(known, Counter) else Counter())


def _remove(file: Path) -> None:
    file.unlink(missing_ok=True)


def _damaged(number: int, why: str) -> IntegrityError:
    return IntegrityError(
        f"The record of range {number} of the backup {why}.",
        code="PART_DAMAGED",
        hint="Nothing was published. Take the backup again.",
    )
