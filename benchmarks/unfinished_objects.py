"""What records of buckets cost: written by a run that does not finish, read by the next one, and by one of its workers.

Run as `python -m benchmarks.unfinished_objects [OBJECTS]`. Entries are made up, of objects of 20 KB, in records as a
function writes them that stores 1,600 objects a second; no bucket is read.
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, cast

from benchmarks.unfinished import timed
from coffre.model.backup import Backup, Status, Tier
from coffre.model.manifest import Entry, EntryKind, Frame, ObjectFacts, PackReference
from coffre.operations.backup_buckets.part_files import PartLines
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.part_recorder import PartRecorder
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.run import Run
from coffre.stores.directory import DirectoryStore
from coffre.vault.entries import EntryWriter
from coffre.vault.entry_lines import read_lines
from coffre.vault.history import newest_usable, usable_packs
from coffre.vault.pack import PackWriter
from coffre.vault.part_records import HISTORY_FROM
from coffre.vault.unfinished import read_unfinished
from coffre.vault.vault import Vault

_RUN: Final = "01K9X0000000000000000000AB"
_THEN: Final = datetime(2026, 11, 29, tzinfo=UTC)
_OBJECT_BYTES: Final = 20_000
_OBJECTS_A_FRAME: Final = 50
_OBJECTS_A_PART: Final = 1000
# Ten seconds at 1,600 objects a second.
_PARTS_A_RECORD: Final = 16
_OBJECTS_A_RANGE: Final = 50_000
_PACK: Final = bytes(100 * _OBJECTS_A_PART // _OBJECTS_A_FRAME)
_SHA256: Final = hashlib.sha256(_PACK).hexdigest()


@dataclass
class _Packs:
    """What the recorder looks at of a writer of packs."""

    packs: list[PackReference] = field(default_factory=list)


def main(objects: str = "1000000") -> None:
    """Record and read; print how long each took, of this process's time too."""
    report: dict[str, object] = {"objects": int(objects)}
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for name in ("vault", "run", "next", "worker"):
            (root / name).mkdir()
        vault = Vault(DirectoryStore(root / "vault"))
        known = _record(vault, root / "run", int(objects), report)
        stored = [info.size for info in vault.store.list("v1/backups/")]
        report |= {"records": len(stored), "bytes": sum(stored), "largest": max(stored)}
        report["peak_mb_written"] = _peak_mb()
        with timed(report, "read"):
            read = read_unfinished(vault, "files", _RUN, known, (), root / "next")
        report["disk_bytes"] = read.run.entries.stat().st_size
        with timed(report, "packs"):
            packs, _ = usable_packs(vault, None, [read.run])
        with timed(report, "compare"):
            report["usable"] = sum(1 for _ in newest_usable([read_lines(read.run.entries)], packs, ""))
        report["peak_mb"] = _peak_mb()
        last = _name(min(int(objects), _OBJECTS_A_RANGE) - 1)
        of_range = {number: known[number] for number, (first, _) in read.run.names.items() if first <= last}
        with timed(report, "read_by_a_worker"):
            read_unfinished(vault, "files", _RUN, of_range, (), root / "worker")
        print(json.dumps(report))


def _record(vault: Vault, scratch: Path, objects: int, report: dict[str, object]) -> dict[int, str]:
    known: dict[int, str] = {}
    now = datetime.now(UTC)
    backup = Backup(id=_RUN, target="files", tiers=(Tier.MANUAL,), status=Status.IN_PROGRESS, created_at=now)
    meter = Meter()
    watch = Watch(meter, beat=lambda _: None, remaining_seconds=lambda: 900.0, stop=lambda: None)
    run = Run(backup, meter, watch, lambda: (), lambda _: None, known.__setitem__)
    recorder = PartRecorder(vault, (), run, first_number=HISTORY_FROM)
    for number, entries in enumerate(_parts(objects)):
        packs = _Packs()
        recorder.begin(number, cast(PackWriter, packs), cast(EntryWriter, None))
        key = entries[0].frames[0].pack
        made = [entry.model_dump_json(exclude_defaults=True).encode() + b"\n" for entry in entries]
        lines = PartLines(made, made, {key}, entries[0].name, entries[-1].name)
        file = scratch / "part.zst"
        lines.write(file)  # as every run does
        with timed(report, "record"):
            packed = lines.write_new(scratch / f"new-{number:06d}.zst")
        file.unlink()
        vault.store.put(key, _PACK, sha256=_SHA256)
        packs.packs.append(PackReference(key=key, length=len(_PACK), sha256=_SHA256, live_bytes=len(_PACK)))
        recorder.finish_packed(number, packed)
        if number % _PARTS_A_RECORD == 0:
            with timed(report, "record"):
                recorder.flush()
    with timed(report, "record"):
        recorder.flush()
    return known


def _parts(objects: int) -> Iterator[list[Entry]]:
    for first in range(0, objects, _OBJECTS_A_PART):
        yield [_entry(number, first) for number in range(first, min(objects, first + _OBJECTS_A_PART))]


def _entry(number: int, first: int) -> Entry:
    sha256 = hashlib.sha256(str(number).encode()).hexdigest()
    place, index = divmod(number - first, _OBJECTS_A_FRAME)
    frame = Frame(
        pack=f"v1/packs/{_RUN}/{first // _OBJECTS_A_PART:06d}-00000000-0000",
        offset=place * 100,
        length=100,
        size=_OBJECT_BYTES * _OBJECTS_A_FRAME,
        sha256=hashlib.sha256(str(number - index).encode()).hexdigest(),
    )
    return Entry(
        name=_name(number),
        kind=EntryKind.OBJECT,
        size=_OBJECT_BYTES,
        sha256=sha256,
        object=ObjectFacts(
            etag=sha256[:32], last_modified=datetime(2026, 11, 29, tzinfo=UTC), content_type="image/jpeg"
        ),
        frames=(frame,),
        start=index * _OBJECT_BYTES,
    )


def _name(number: int) -> str:
    return f"uploads/2026/11/29/{number:09d}.jpg"


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
