"""Back up one database: plan, parts, seal.

A part reads, compresses, encrypts and stores a few slices; it can be repeated, and knows nothing of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from coffre.model.errors import CoffreError
from coffre.model.manifest import (
    EntryKind,
    Manifest,
    RelationName,
)
from coffre.operations.backup_plan import METADATA_PART, Job, PartResult, Plan, open_snapshot_and_plan
from coffre.operations.backup_seal import seal
from coffre.operations.lifecycle import Run
from coffre.operations.progress import Meter
from coffre.operations.streams import Streams
from coffre.policy.slicing import Part
from coffre.postgres.dump import ArchiveDumper, SliceReader
from coffre.postgres.roles import filter_roles
from coffre.vault.codec import Plaintext
from coffre.vault.entries import FRAME_SIZE_BYTES, EntryWriter, write_lines
from coffre.vault.vault import Committed


def backup_database(job: Job, run: Run) -> tuple[Manifest, Committed]:
    """Back up the database and commit the manifest.

    Raises
    ------
    CoffreError
        Nothing is published then; packs that were stored are swept later.
    """
    with ExitStack() as stack:
        holder, plan = open_snapshot_and_plan(job, run, stack)
        total_bytes = sum(table.size_bytes for table in plan.tables)
        run.meter.begin("tables", total_bytes=total_bytes, total_tables=len(plan.tables))
        results = [store_metadata(job, plan)]
        with Streams(lambda _: _open_reader(job, plan), job.streams) as readers:
            results += job.runner(lambda part: run_part(job, plan, part, readers, run.meter), plan.parts)
        holder.require_valid()
    run.meter.begin("seal")
    return seal(job, plan, results, run)


def store_metadata(job: Job, plan: Plan) -> PartResult:
    """Store everything but the tables: the schema archive, roles, large objects."""
    dumper = ArchiveDumper(job.tools, job.children, job.connection, job.target)
    contents, exceptions = job.target.contents, list[str]()
    with job.vault.pack_writer(plan.backup.id, METADATA_PART, job.encoder) as packs:
        entries = EntryWriter(packs, plan.history.known(METADATA_PART))
        if contents.has_schema:
            entries.add("schema", EntryKind.SCHEMA, _file_chunks(plan.schema_archive))
            try:
                roles = filter_roles(dumper.roles().decode("utf-8", "replace")).encode()
                entries.add("roles", EntryKind.ROLES, _chunks([memoryview(roles)]))
            except CoffreError as error:
                exceptions.append(f"Roles were not backed up: {error.message} ({error.code})")
        if plan.facts.has_large_objects and contents.has_rows:
            entries.add("large_objects", EntryKind.LARGE_OBJECTS, _chunks(dumper.large_objects(plan.snapshot)))
        stored = entries.close()
    file = job.scratch / f"entries-{METADATA_PART:06d}.jsonl"
    write_lines(stored, file)
    return PartResult(
        number=METADATA_PART,
        entries=file,
        packs=tuple(packs.packs),
        size_bytes=sum(entry.size for entry in stored),
        exceptions=tuple(exceptions),
    )


def run_part(job: Job, plan: Plan, part: Part, readers: Streams[SliceReader], meter: Meter) -> PartResult:
    """Read, compress, encrypt and store the slices of one part. Safe to repeat; knows nothing of other parts."""
    counts: dict[int, tuple[int, int]] = {}
    with job.vault.pack_writer(plan.backup.id, part.number, job.encoder) as packs:
        entries = EntryWriter(packs, plan.history.known(part.number))
        # The reader goes to the next part before this part's last pack is stored.
        with readers.borrow() as reader:
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
                meter.add(size_bytes=piece.size_bytes, tables=int(piece.number == 0), current=table.shown_name)
        stored = entries.close()
    file = job.scratch / f"entries-{part.number:06d}.jsonl"
    write_lines(stored, file)
    return PartResult(
        number=part.number,
        entries=file,
        packs=tuple(packs.packs),
        size_bytes=sum(entry.size for entry in stored),
        counts=counts,
    )


def _open_reader(job: Job, plan: Plan) -> SliceReader:
    return SliceReader(
        job.connection,
        job.children,
        snapshot=plan.snapshot,
        encoding=plan.facts.encoding,
        buffer_bytes=FRAME_SIZE_BYTES,
    )


def _file_chunks(path: Path) -> Iterator[Plaintext]:
    with path.open("rb") as file:
        while chunk := file.read(FRAME_SIZE_BYTES):
            yield chunk


def _chunks(blocks: Iterable[memoryview]) -> Iterator[Plaintext]:
    """Gather blocks into pieces of a frame's size, so that only the last one is small."""
    gathered = bytearray()
    for block in blocks:
        if len(gathered) + len(block) > FRAME_SIZE_BYTES:
            yield gathered
            gathered = bytearray()
        gathered += block
    if gathered:
        yield gathered
