"""How large a spread backup may be: memory and time of its plan and its seal, and the time of a whole run, calculated.

    python -m benchmarks.spread_size [TABLES SLICES]

The plan and the seal are the real ones, over a vault in a directory; the parts' records are made up as a database of
1 TB would leave them. The time of a whole run is calculated from measured costs, which the output names.
"""

from __future__ import annotations

import resource
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from coffre.model.backup import Backup, Status, Tier
from coffre.model.database_target import DatabaseTarget
from coffre.model.manifest import Entry, EntryKind, Frame, PackReference, RelationName
from coffre.operations.backup_database.plan import BackupPlan, DatabaseBackupJob
from coffre.operations.backup_database.spread.plan_files import SpreadHeader, read_header, write_plan
from coffre.operations.backup_database.spread.seal import seal_spread
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.run import Run
from coffre.operations.runs.watchdog import Watch
from coffre.policy.slicing import Part, TableExtent, plan_parts
from coffre.policy.spread import Earlier, Read, grouped, shape
from coffre.postgres.connection.server_facts import ServerFacts
from coffre.postgres.source.identity import Identity
from coffre.stores.directory import DirectoryStore
from coffre.vault.codec import FrameEncoder
from coffre.vault.entries import write_lines
from coffre.vault.history import NO_HISTORY
from coffre.vault.part_records import StoredPart, write_part
from coffre.vault.vault import Vault

_ID: Final = "01K9X000000000000000000000"
_SLICE_BYTES: Final = 256 * 8192
_LARGE_TABLES: Final = 100
_PACK_BYTES: Final = 16 * 1024 * 1024
_RATIO: Final = 3  # text of rows, compressed
_SERVER_BYTES_PER_SECOND: Final = 300_000_000
# Measured or published; docs/benchmarks.md says where.
_INVOCATION_SECONDS: Final = 2.0  # start, connect, import, read the plan
_TRANSITION_DOLLARS: Final = 25 / 1_000_000
_TRANSITIONS_A_GROUP: Final = 3
_GB_SECOND_DOLLARS: Final = 0.0000133334
_PUT_DOLLARS: Final = 5 / 1_000_000
_MEMORY_GB: Final = 2.0


def main(arguments: list[str]) -> None:
    """Measure plan and seal, then calculate whole runs."""
    tables, slices = (int(arguments[0]), int(arguments[1])) if arguments else (100_000, 500_000)
    with tempfile.TemporaryDirectory() as directory:
        _measure(Path(directory), tables, slices)
    for total in (100_000_000_000, 1_000_000_000_000):
        print(_calculated(total))


def _measure(directory: Path, tables: int, slices: int) -> None:
    job, backup = _job(directory), _backup()
    extents, planned = _timed("plan", lambda: _planned(tables, slices))
    total = sum(table.size_bytes for table in extents)
    divided = shape(total, _rate(4), streams=4, connections=16)
    plan = _plan(backup, extents, planned)
    header = _header(backup, total, len(extents), planned)
    stored = _timed(
        "write the plan", lambda: write_plan(job.vault, header, plan, grouped(planned, divided.group_bytes))
    )
    known = _records(job, planned)
    print(f"{len(planned):,} parts are recorded")
    read = read_header(job.vault, backup.target, backup.id, stored.sha256)
    manifest, _ = _timed("seal", lambda: seal_spread(job, read, _run(backup), lambda: known))
    body = len(manifest.model_dump_json(indent=1))
    print(f"{len(manifest.entries)} lists of entries, {len(manifest.packs):,} packs, manifest {body / 1e6:.1f} MB")


def _timed[T](what: str, work: Callable[[], T]) -> T:
    began = time.monotonic()
    made = work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what}: {time.monotonic() - began:.1f} s, peak of the process {peak:,.0f} MB")
    return made


def _planned(tables: int, slices: int) -> tuple[list[TableExtent], list[Part]]:
    each = (slices - (tables - _LARGE_TABLES)) // _LARGE_TABLES
    columns = tuple(f"column_{number}" for number in range(8))
    large = [
        TableExtent(16400 + number, "public", f"large_{number:06d}", columns, each * 256, each * _SLICE_BYTES)
        for number in range(_LARGE_TABLES)
    ]
    small = [
        TableExtent(20000 + number, "app", f"small_{number:06d}", columns, 2, 16384)
        for number in range(tables - _LARGE_TABLES)
    ]
    extents = [*large, *small]
    return extents, plan_parts(extents, by_block=True, streams=4, first_number=2, part_bytes=256 * 1024 * 1024)


def _records(job: DatabaseBackupJob, parts: list[Part]) -> dict[int, str]:
    file = job.scratch / "record.jsonl"
    write_lines((), file)
    known = {1: write_part(job.vault, job.target.name, _ID, StoredPart(1, file, ()), job.recipients) or ""}
    for part in parts:
        packs, counts = _packs_of(part), {piece.table.oid: (1000, piece.size_bytes) for piece in part.slices}
        write_lines(_entries(part, packs), file)
        stored = StoredPart(part.number, file, tuple(packs), part.size_bytes, counts)
        known[part.number] = write_part(job.vault, job.target.name, _ID, stored, job.recipients) or ""
    return known


def _packs_of(part: Part) -> list[PackReference]:
    count = max(1, part.size_bytes // _RATIO // _PACK_BYTES)
    return [
        PackReference(
            key=f"v1/packs/{_ID}/{part.number:06d}-{secrets.token_hex(4)}-{number:04d}",
            length=_PACK_BYTES,
            sha256=secrets.token_hex(32),
            live_bytes=_PACK_BYTES,
        )
        for number in range(count)
    ]


def _entries(part: Part, packs: list[PackReference]) -> Iterator[Entry]:
    for index, piece in enumerate(part.slices):
        size = max(1, piece.size_bytes)
        digest = secrets.token_hex(32)
        pack = packs[index * len(packs) // len(part.slices)].key
        frame = Frame(pack=pack, offset=0, length=max(1, size // _RATIO), size=size, sha256=digest)
        yield Entry(
            name=piece.name,
            kind=EntryKind.TABLE,
            size=size,
            sha256=digest,
            rows=1000,
            relation=RelationName(schema_name=piece.table.schema, relation_name=piece.table.name),
            frames=(frame,),
        )


def _job(directory: Path) -> DatabaseBackupJob:
    for name in ("vault", "scratch"):
        (directory / name).mkdir()
    unused = cast("Any", None)
    return DatabaseBackupJob(
        target=DatabaseTarget(name="bench", secret="coffre/database/bench"),
        connection=unused,
        tools=unused,
        children=unused,
        vault=Vault(DirectoryStore(directory / "vault")),
        encoder=FrameEncoder(()),
        recipients=(),
        scratch=directory / "scratch",
        streams=4,
        runner=unused,
        now=lambda: datetime.now(UTC),
    )


def _backup() -> Backup:
    now = datetime.now(UTC)
    return Backup(id=_ID, target="bench", tiers=(Tier.MANUAL,), status=Status.IN_PROGRESS, created_at=now)


def _run(backup: Backup) -> Run:
    watch = Watch(Meter(), beat=lambda _: None, remaining_seconds=lambda: 900.0, stop=lambda: None)
    return Run(backup, Meter(), watch, lambda: backup.tiers, lambda _: None)


_FACTS: Final = ServerFacts("18.6", 180006, "bench", "UTF8", "C", "libc", None, (), (), {}, (), False)


def _plan(backup: Backup, extents: list[TableExtent], parts: list[Part]) -> BackupPlan:
    return BackupPlan(
        backup=backup,
        snapshot="1",
        facts=_FACTS,
        client_version="18.6",
        tables=tuple(extents),
        tables_without_rows=(),
        roots={},
        sequences=(),
        materialized_views=(),
        schema_archive=Path(),
        roles=None,
        parts=tuple(parts),
        history=NO_HISTORY,
    )


def _header(backup: Backup, total: int, tables: int, parts: list[Part]) -> SpreadHeader:
    return SpreadHeader(
        backup_id=backup.id,
        target=backup.target,
        taken_at=backup.created_at,
        identity=Identity("1", "bench", "1:1:"),
        facts=_FACTS,
        total_bytes=total,
        total_tables=tables,
        previous=None,
        streams=4,
        width=4,
        parts=(1, parts[-1].number),
        groups=(),
        tables_sha256="",
        why="a benchmark",
    )


def _rate(workers: int) -> Earlier:
    return Earlier((Read(_SERVER_BYTES_PER_SECOND * 1000, 1000.0, workers),))


def _calculated(total_bytes: int) -> str:
    """Return the time and the cost of a run at 16 connections of a server that gives 300 MB/s."""
    divided = shape(total_bytes, _rate(4), streams=4, connections=16)
    groups = -(-total_bytes // divided.group_bytes)
    rounds = -(-groups // divided.width)
    reading = total_bytes / _SERVER_BYTES_PER_SECOND
    idle = rounds * _INVOCATION_SECONDS
    slices = total_bytes / _SLICE_BYTES
    ends = 20 + slices * 2 * 0.00012  # planning and sealing, as measured above
    seconds = reading + idle + ends
    functions = (divided.width + 2) * seconds * _MEMORY_GB * _GB_SECOND_DOLLARS
    transitions = groups * _TRANSITIONS_A_GROUP * _TRANSITION_DOLLARS
    puts = total_bytes / _RATIO / _PACK_BYTES * _PUT_DOLLARS
    return (
        f"{total_bytes / 1e9:,.0f} GB: {groups} groups, {seconds / 60:.1f} min (reading {reading / 60:.1f}), "
        f"${functions + transitions + puts:.2f} (functions {functions:.2f}, transitions {transitions:.4f}, "
        f"requests {puts:.2f})"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
