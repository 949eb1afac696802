"""What records of finished parts cost: written by a run that does not finish, and read by the next one.

Run as `python -m benchmarks.unfinished [GIGABYTES]`. Entries are made up, one frame of 2 MiB each; no database is read.
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time
from typing import Final, cast

from coffre.model.backup import Backup, Status, Tier
from coffre.model.manifest import Entry, EntryKind, Frame, PackReference, RelationName
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.part_recorder import PartRecorder
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.run import Run
from coffre.stores.directory import DirectoryStore
from coffre.vault.entries import EntryWriter
from coffre.vault.entry_lines import write_lines
from coffre.vault.history import open_history
from coffre.vault.pack import PackWriter
from coffre.vault.unfinished import read_unfinished
from coffre.vault.vault import Vault

_RUN: Final = "01K9X0000000000000000000AB"
_SLICE_BYTES: Final = 2 * 1024 * 1024
# So that a disk holds them; how long a frame is makes no difference here.
_STORED_BYTES: Final = 100
_FRAMES_A_PACK: Final = 25
_SLICES_A_PART: Final = 128
# A record every ten seconds at 100 MB/s.
_SLICES_A_RECORD: Final = 500


@dataclass
class _Packs:
    """What the recorder looks at of a writer of packs."""

    packs: list[PackReference] = field(default_factory=list)


def main(gigabytes: str = "90") -> None:
    """Record, read and divide; print how long each took, of this process's time too."""
    slices = int(gigabytes) * 10**9 // _SLICE_BYTES
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for name in ("vault", "run", "next"):
            (root / name).mkdir()
        vault, known = Vault(DirectoryStore(root / "vault")), {}
        report: dict[str, object] = {"slices": slices}
        known = _record(vault, root / "run", slices, report)
        stored = [info.size for info in vault.store.list("v1/backups/")]
        report |= {"records": len(stored), "bytes": sum(stored), "largest": max(stored)}
        with timed(report, "read"):
            read = read_unfinished(vault, "shop", _RUN, known, (), root / "next")
        firsts = [(number + 1, _name(number * 100)) for number in range(slices // 100)]
        with timed(report, "divide"):
            history = open_history(vault, None, [(0, ""), *firsts], root / "next", unfinished=[read.run])
        report |= {"ignored": len(read.ignored), "known": sum(len(history.known(number)) for number in history.files)}
        report["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps(report))


def _record(vault: Vault, scratch: Path, slices: int, report: dict[str, object]) -> dict[int, str]:
    known: dict[int, str] = {}
    now = datetime.now(UTC)
    backup = Backup(id=_RUN, target="shop", tiers=(Tier.MANUAL,), status=Status.IN_PROGRESS, created_at=now)
    meter = Meter()
    watch = Watch(meter, beat=lambda _: None, remaining_seconds=lambda: 900.0, stop=lambda: None)
    run = Run(backup, meter, watch, lambda: (), lambda _: None, known.__setitem__)
    recorder = PartRecorder(vault, (), run)
    for number, entries in enumerate(_parts(slices)):
        packs = _Packs()
        recorder.begin(number, cast(PackWriter, packs), cast(EntryWriter, None))
        file = scratch / f"entries-{number:06d}.jsonl"
        write_lines(entries, file)
        for key in sorted({frame.pack for entry in entries for frame in entry.frames}):
            vault.store.put(key, _PACK, sha256=_SHA256)
            packs.packs.append(PackReference(key=key, length=len(_PACK), sha256=_SHA256, live_bytes=len(_PACK)))
        recorder.finish(number, file)
        if number % (_SLICES_A_RECORD // _SLICES_A_PART) == 0:
            with timed(report, "record"):
                recorder._record()
    with timed(report, "record"):
        recorder._record()
    return known


_PACK: Final = bytes(_STORED_BYTES * _FRAMES_A_PACK)
_SHA256: Final = hashlib.sha256(_PACK).hexdigest()


def _parts(slices: int) -> Iterator[list[Entry]]:
    for first in range(0, slices, _SLICES_A_PART):
        yield [_entry(number, first) for number in range(first, min(slices, first + _SLICES_A_PART))]


def _entry(number: int, first: int) -> Entry:
    sha256 = hashlib.sha256(str(number).encode()).hexdigest()
    place, index = divmod(number - first, _FRAMES_A_PACK)
    key = f"v1/packs/{_RUN}/{first // _SLICES_A_PART:06d}-00000000-{place:04d}"
    frame = Frame(pack=key, offset=index * _STORED_BYTES, length=_STORED_BYTES, size=_SLICE_BYTES, sha256=sha256)
    relation = RelationName(schema_name="public", relation_name="measurements")
    return Entry(
        name=_name(number),
        kind=EntryKind.TABLE,
        size=_SLICE_BYTES,
        sha256=sha256,
        rows=20_000,
        relation=relation,
        frames=(frame,),
    )


def _name(number: int) -> str:
    return f"tables/public.measurements/{number:06d}"


@contextmanager
def timed(report: dict[str, object], what: str) -> Iterator[None]:
    """Add the seconds of a step, and those of this process, to a report."""
    wall, own = perf_counter(), process_time()
    yield
    for unit, spent in (("seconds", perf_counter() - wall), ("cpu", process_time() - own)):
        before = float(str(report.get(f"{what}_{unit}", 0)))
        report[f"{what}_{unit}"] = round(before + spent, 2)


if __name__ == "__main__":
    main(*sys.argv[1:])
