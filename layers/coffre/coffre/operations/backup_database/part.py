"""One part of a database backup: its rows into entries, again when only its session was lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from coffre.concurrency.memory_budget import MemoryBudget
from coffre.model.errors import LockYieldedError
from coffre.model.manifest import (
    EntryKind,
    RelationName,
)
from coffre.operations.backup_database.job import BackupPlan, DatabaseBackupJob
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.session_pool import SessionPool
from coffre.policy.slicing import Part
from coffre.postgres.source.dump import SliceReader
from coffre.postgres.source.present_catalog import PresentCatalog
from coffre.vault.codec import Plaintext
from coffre.vault.entries import FRAME_SIZE_BYTES, EntryWriter
from coffre.vault.entry_lines import write_lines
from coffre.vault.part_records import StoredPart

# How often a part is read for which others wait.
_READINGS: Final = 4


def run_part(
    job: DatabaseBackupJob,
    plan: BackupPlan,
    part: Part,
    readers: SessionPool[SliceReader],
    memory: MemoryBudget,
    meter: Meter,
) -> StoredPart:
    """Read, compress, encrypt and store the slices of one part. It can be repeated.

    Raises
    ------
    SchemaChangedError
        A table was changed before it was read: nothing can be read in this snapshot.
    LockYieldedError
        Other sessions waited for its locks again and again.
    """
    for attempt in range(1, _READINGS + 1):
        done = Meter()
        try:
            return _run_part_once(job, plan, part, readers, memory, (meter, done))
        except LockYieldedError:
            if attempt == _READINGS:
                raise
            read = done.read()
            meter.add(size_bytes=-read.done_bytes, tables=-read.done_tables)
    raise AssertionError


def _run_part_once(
    job: DatabaseBackupJob,
    plan: BackupPlan,
    part: Part,
    readers: SessionPool[SliceReader],
    memory: MemoryBudget,
    meters: Sequence[Meter],
) -> StoredPart:
    counts: dict[int, tuple[int, int]] = {}
    with job.vault.pack_writer(plan.backup.id, part.number, job.encoder, memory) as packs:
        entries = EntryWriter(packs, plan.history.known(part.number))
        if job.recorder is not None:
            job.recorder.begin(part.number, packs, entries)
        yielded: LockYieldedError | None = None
        # The reader goes to the next part before this part's last pack is stored.
        with readers.borrow() as reader:
            try:
                for piece, chunks in reader.read(part.slices):
                    table = piece.table
                    entry = entries.add(
                        piece.name,
                        EntryKind.TABLE,
                        chunks,
                        relation=RelationName(schema_name=table.schema, relation_name=table.name),
                        rows=lambda: reader.rows,
                    )
                    rows, size = counts.get(table.oid, (0, 0))
                    counts[table.oid] = (rows + reader.rows, size + entry.size)
                    for meter in meters:
                        meter.add(size_bytes=piece.size_bytes, tables=int(piece.number == 0), current=table.shown_name)
            except LockYieldedError as error:  # the reader is as good as before: the pool must not see it
                yielded = error
        if yielded is not None:
            raise yielded
        stored = entries.close()
    file = job.scratch / f"entries-{part.number:06d}.jsonl"
    write_lines(stored, file)
    if job.recorder is not None:
        job.recorder.finish(part.number, file)
    return StoredPart(
        number=part.number,
        entries=file,
        packs=tuple(packs.packs),
        size_bytes=sum(entry.size for entry in stored),
        counts=counts,
    )


def open_reader(job: DatabaseBackupJob, plan: BackupPlan, present: PresentCatalog) -> SliceReader:
    """Return a reader of slices in the plan's snapshot."""
    return SliceReader(
        job.connection,
        job.children,
        snapshot=plan.snapshot,
        encoding=plan.facts.encoding,
        buffer_bytes=FRAME_SIZE_BYTES,
        present=present,
    )


def file_chunks(path: Path) -> Iterator[Plaintext]:
    """Read a file in pieces of a frame's size."""
    with path.open("rb") as file:
        while chunk := file.read(FRAME_SIZE_BYTES):
            yield chunk


def frame_sized(blocks: Iterable[memoryview]) -> Iterator[Plaintext]:
    """Join blocks into pieces of a frame's size, so that only the last one is small."""
    gathered = bytearray()
    for block in blocks:
        if len(gathered) + len(block) > FRAME_SIZE_BYTES:
            yield gathered
            gathered = bytearray()
        gathered += block
    if gathered:
        yield gathered
