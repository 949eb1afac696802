"""The seal of a backup of buckets that several functions have stored: its memory and time, by the number of objects.

Run as `python -m benchmarks.ranges_seal [OBJECTS] [OBJECT_KB]`. The records are made up, as workers write them; no
bucket is read. Memory is this process's, before and after the records are read and the manifest is written.
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.integration.capture_scene import Scene
from tests.memory_store import MemoryStore

from benchmarks.unfinished import timed
from coffre.model.backup import Backup
from coffre.model.manifest import EntriesFile, PackReference
from coffre.operations.backup_buckets.assemble import source_of
from coffre.operations.backup_buckets.job import BucketBackupJob
from coffre.operations.backup_buckets.spread.gather import gather, seal_gathered
from coffre.operations.backup_buckets.spread.plan_files import RangesHeader
from coffre.operations.backup_buckets.spread.records import write_record
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.run import Run
from coffre.vault.bucket_progress import BucketProgress, Counts, RangeRecord
from coffre.vault.pack import PACK_SIZE_BYTES

# As `policy/ranges.py` divides.
_RANGE_OBJECTS: Final = 50_000
_RANGE_BYTES: Final = 4 * 1024**3
_SHA256: Final = hashlib.sha256(b"").hexdigest()
_FIRST_GROUP: Final = 100_000


def main(objects: str = "200000", object_kb: str = "20") -> None:
    """Write records, then gather and seal them; print how long that took, and at what peak."""
    count, size = int(objects), int(object_kb) * 1000
    in_a_range = max(1, min(_RANGE_OBJECTS, _RANGE_BYTES // size))
    report: dict[str, object] = {"objects": count, "bytes": count * size, "ranges": -(-count // in_a_range)}
    with tempfile.TemporaryDirectory() as root:
        store = MemoryStore()
        store.buckets["photos"] = {}
        scene = Scene(Path(root), store)
        backup, job = scene.begin(), scene.job()
        known = _write(job, backup, count, size, in_a_range)
        header = RangesHeader(
            backup_id=backup.id, target="files", source=source_of(job), previous=None, width=8, why="measured"
        )
        report["peak_mb_before"] = _peak_mb()
        with timed(report, "gather"):
            gathered = gather(job, backup.id, known)
        meter = Meter()
        watch = Watch(meter, beat=lambda _: None, remaining_seconds=lambda: 900.0, stop=lambda: None)
        run = Run(backup, meter, watch, lambda: backup.tiers, lambda _: None)
        with watch, timed(report, "seal"):
            manifest, committed = seal_gathered(job, header, gathered, run)
        if manifest.storage.objects != count or gathered.rests:
            raise SystemExit(f"{manifest.storage.objects} objects instead of {count}")
        report |= {"packs": len(manifest.packs), "manifest_bytes": scene.vault.store.head(committed.key).size}
        print(json.dumps({**report, "peak_mb": _peak_mb()}))


def _write(job: BucketBackupJob, backup: Backup, count: int, size: int, in_a_range: int) -> dict[int, str]:
    known: dict[int, str] = {}
    after = ""
    for place, first in enumerate(range(0, count, in_a_range)):
        number, objects = _FIRST_GROUP + place, min(in_a_range, count - first)
        is_last = first + objects == count
        end = None if is_last else f"photos/{first + objects:09d}"
        progress = _progress(job, backup, number, first, objects, size)
        sha256 = write_record(
            job, backup.id, number, RangeRecord(after=after, end=end, is_over=True, progress=progress)
        )
        known[number], after = sha256 or "", end or ""
    return known


def _progress(job: BucketBackupJob, backup: Backup, number: int, first: int, objects: int, size: int) -> BucketProgress:
    packs = tuple(
        PackReference(
            key=f"v1/packs/{backup.id}/{number:06d}-00000000-{place:04d}",
            length=PACK_SIZE_BYTES,
            sha256=_SHA256,
            live_bytes=PACK_SIZE_BYTES,
        )
        for place in range(-(-objects * size // PACK_SIZE_BYTES))
    )
    entries = EntriesFile(
        key=f"v1/backups/files/{backup.id}/entries-{number:06d}.jsonl.zst",
        sha256=_SHA256,
        length=8_000_000,
        count=objects,
        first=f"photos/{first:09d}-",
    )
    return BucketProgress(
        invocations=1,
        position=f"photos/{first + objects:09d}",
        parts=number,
        previous=None,
        entries=(entries,),
        packs=packs,
        live_bytes={pack.key: pack.length for pack in packs},
        counts=Counts(objects={"photos": objects}, sizes={"photos": objects * size}, added=objects),
        source=source_of(job),
    )


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
