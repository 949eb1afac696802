"""How large a spread backup may be: memory and time of its plan and its seal, and the time of a whole run, calculated.

    python -m benchmarks.spread_size [TABLES SLICES]

The plan and the seal are the real ones, over a vault in a directory; the parts' records are made up as a database of
1 TB would leave them. Whole runs are calculated from the times that these took, what a part costs in CPU seconds
(docs/benchmarks.md), what a function is said to need to start, and the prices of `policy/prices.toml`. The last lines
say what ends first when the database grows.
"""

from __future__ import annotations

import resource
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from coffre.model.backup import Backup, Status, Tier
from coffre.model.database_target import DatabaseTarget, Limits
from coffre.model.manifest import Entry, EntryKind, Frame, PackReference, RelationName
from coffre.model.times import parse_span
from coffre.operations.backup_database.job import BackupPlan, DatabaseBackupJob
from coffre.operations.backup_database.spread.plan_files import SpreadHeader, read_header, write_plan
from coffre.operations.backup_database.spread.seal import seal_spread
from coffre.operations.runs.heartbeat import DEADLINE_RESERVE_SECONDS, Watch
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.run import Run
from coffre.policy.prices import prices_of
from coffre.policy.slicing import LARGEST_PART_BYTES, Part, TableExtent, plan_parts
from coffre.policy.spread import Earlier, Read, grouped, shape
from coffre.postgres.connection.server_facts import ServerFacts
from coffre.postgres.source.snapshot_identity import Identity
from coffre.runtime.state_machine import TRANSITIONS
from coffre.stores.directory import DirectoryStore
from coffre.vault.codec import FrameEncoder
from coffre.vault.entry_lines import write_lines
from coffre.vault.history import NO_HISTORY
from coffre.vault.part_records import StoredPart, write_part
from coffre.vault.vault import Vault

_ID: Final = "01K9X000000000000000000000"
_SLICE_BYTES: Final = 256 * 8192
_LARGE_TABLES: Final = 100
_PACK_BYTES: Final = 16 * 1024 * 1024
_RATIO: Final = 3  # text of rows, compressed
_SERVER_BYTES_PER_SECOND: Final = 300_000_000
# Assumed: to start, connect, import, and read the plan; to begin the run, with pg_dump, and to end it.
_INVOCATION_SECONDS: Final = 2.0
_ENDS_SECONDS: Final = 20.0
# Measured: what a GB takes in a worker (docs/benchmarks.md, the backup of a 1 GB database).
_CPU_SECONDS_A_GB: Final = 6.7
_MEMORY_MB: Final = 3008  # as the template has it; Lambda gives a core for each 1,769 MB
_CORE_MB: Final = 1769
_LIFE_SECONDS: Final = 900.0
_MANIFEST_LIMIT_BYTES: Final = 64 * 1024 * 1024  # of which a reader takes no more (vault/manifests.py)
_HOLDER_SECONDS: Final = 700.0
_PRICES: Final = prices_of("us-east-1")


@dataclass(frozen=True)
class Costs:
    """What plan and seal took: the first is for each slice; the second has to fit into one function."""

    plan_seconds: float
    seal_seconds: float
    slices: int
    manifest_bytes: int


def main(arguments: list[str]) -> None:
    """Measure plan and seal, then calculate whole runs."""
    tables, slices = (int(arguments[0]), int(arguments[1])) if arguments else (100_000, 500_000)
    with tempfile.TemporaryDirectory() as directory:
        costs = _measure(Path(directory), tables, slices)
    for total in (100_000_000_000, 1_000_000_000_000):
        print(_calculated(total, costs))
    print(_limits(costs))


def _measure(directory: Path, tables: int, slices: int) -> Costs:
    job, backup = _job(directory), _backup()
    (extents, planned), planning = _timed("plan", lambda: _planned(tables, slices))
    total = sum(table.size_bytes for table in extents)
    divided = shape(total, _rate(4), streams=4, connections=16)
    plan = _plan(backup, extents, planned)
    header = _header(backup, total, len(extents), planned)
    stored, writing = _timed(
        "write the plan", lambda: write_plan(job.vault, header, plan, grouped(planned, divided.group_bytes))
    )
    known = _records(job, planned)
    print(f"{len(planned):,} parts are recorded")
    read = read_header(job.vault, backup.target, backup.id, stored.sha256)
    (manifest, _), sealing = _timed("seal", lambda: seal_spread(job, read, _run(backup), lambda: known))
    body = len(manifest.model_dump_json(indent=1))
    print(f"{len(manifest.entries)} lists of entries, {len(manifest.packs):,} packs, manifest {body / 1e6:.1f} MB")
    return Costs(planning + writing, sealing, slices, body)


def _timed[T](what: str, work: Callable[[], T]) -> tuple[T, float]:
    began = time.monotonic()
    made = work()
    took = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what}: {took:.1f} s, peak of the process {peak:,.0f} MB")
    return made, took


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


def _calculated(total_bytes: int, costs: Costs) -> str:
    """Return the time and the cost of a run at 16 connections of a server that gives 300 MB/s."""
    divided = shape(total_bytes, _rate(4), streams=4, connections=16)
    groups = round(total_bytes / divided.group_bytes)
    rounds = -(-groups // divided.width)
    reading = total_bytes / _SERVER_BYTES_PER_SECOND
    share = total_bytes / _SLICE_BYTES / costs.slices
    seconds = reading + rounds * _INVOCATION_SECONDS + _ENDS_SECONDS + share * (costs.plan_seconds + costs.seal_seconds)
    gb_seconds = (divided.width + 2) * seconds * _MEMORY_MB / 1024
    functions = gb_seconds * float(_PRICES.x86_gb_second)
    holders = 2 * (seconds / _HOLDER_SECONDS + 1)
    transitions = (
        TRANSITIONS["begin"] + groups * TRANSITIONS["work"] + holders * TRANSITIONS["hold"] + TRANSITIONS["seal"]
    )
    states = transitions * float(_PRICES.transition)
    puts = (total_bytes / _RATIO / _PACK_BYTES + total_bytes / LARGEST_PART_BYTES) * float(_PRICES.write)
    return (
        f"{total_bytes / 1e9:,.0f} GB: {groups} groups, {seconds / 60:.1f} min (reading {reading / 60:.1f}), "
        f"${functions + states + puts:.2f} (functions {functions:.2f}, transitions {states:.4f}, requests {puts:.2f})"
    )


def _limits(costs: Costs) -> str:
    """Return what one worker is asked for, and where plan, seal and manifest end."""
    cores = _MEMORY_MB / _CORE_MB
    can = cores / _CPU_SECONDS_A_GB * 1000
    seal = (_LIFE_SECONDS - DEADLINE_RESERVE_SECONDS) / costs.seal_seconds * costs.slices * _SLICE_BYTES
    age = parse_span(Limits().snapshot_age).total_seconds() * _SERVER_BYTES_PER_SECOND
    return "\n".join(
        (
            f"1 TB in an hour: the server has to give {1e6 / (3600 - _ENDS_SECONDS - costs.seal_seconds):,.0f} MB/s",
            f"a worker: {_SERVER_BYTES_PER_SECOND / 4e6:.0f} MB/s are asked of it, {can:.0f} are what its CPU can do",
            f"snapshot_age of {Limits().snapshot_age}: {age / 1e12:.1f} TB at 300 MB/s",
            f"the seal in one function: {seal / 1e12:.1f} TB on these cores",
            f"the manifest: {_MANIFEST_LIMIT_BYTES / costs.manifest_bytes:.1f} times as many tables and packs",
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
