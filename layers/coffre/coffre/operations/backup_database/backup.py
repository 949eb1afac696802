"""Back up one database: plan, parts, seal.

A part reads, compresses, encrypts and stores a few slices. It can be repeated, and does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

from coffre.concurrency.memory_budget import MemoryBudget
from coffre.model.errors import ConnectTransientError, SchemaChangedError
from coffre.model.manifest import (
    EntryKind,
    Manifest,
)
from coffre.operations.backup_database.job import BackupPlan, DatabaseBackupJob
from coffre.operations.backup_database.part import file_chunks, frame_sized, open_reader, run_part
from coffre.operations.backup_database.plan import (
    LARGE_OBJECTS_PART,
    METADATA_PART,
    also_locked,
    open_snapshot_and_plan,
)
from coffre.operations.backup_database.seal import seal
from coffre.operations.runs.locked_backup import locking_vault
from coffre.operations.runs.part_recorder import PartRecorder
from coffre.operations.runs.run import Run, Spread
from coffre.operations.runs.session_pool import SessionPool
from coffre.policy.connection_counts import streams_that_fit
from coffre.policy.slicing import Part
from coffre.postgres.source.dump import ArchiveDumper
from coffre.postgres.source.present_catalog import PresentCatalog, present_catalog
from coffre.vault.entries import EntryWriter
from coffre.vault.entry_lines import write_lines
from coffre.vault.pack import budget_for, packs_for
from coffre.vault.part_records import StoredPart
from coffre.vault.vault import Committed

# A migration changes a few tables one after another. Each that was not read yet takes a new snapshot, before which it
# is locked.
_SNAPSHOTS: Final = 6


def backup_database(job: DatabaseBackupJob, run: Run) -> tuple[Manifest, Committed]:
    """Back up the database in this process, however long it takes; raises what `backup_or_spread` raises."""
    match backup_or_spread(replace(job, spreading=None), run):
        case Spread():
            raise AssertionError
        case made:
            return made


def backup_or_spread(job: DatabaseBackupJob, run: Run) -> tuple[Manifest, Committed] | Spread:
    """Back up the database and commit the manifest, or hand the work over to several functions.

    Raises
    ------
    CoffreError
        Nothing is published; a later sweep removes packs that were stored.
    """
    job = replace(job, vault=locking_vault(job.vault, job.target, run.backup, job.now()))
    recorder = PartRecorder(job.vault, job.recipients, run)
    job = replace(job, recorder=recorder)
    with recorder:
        with present_catalog(
            job.connection, job.children, patience_seconds=job.target.limits.lock_timeout_seconds
        ) as present:
            read = _read(job, run, present)
        if isinstance(read, Spread):
            return read
        run.meter.begin("seal")
        return seal(job, *read, run)


def _read(job: DatabaseBackupJob, run: Run, present: PresentCatalog) -> tuple[BackupPlan, list[StoredPart]] | Spread:
    """Plan and store all parts, or hand that over.

    If a table was changed before it was read, it begins again in a new snapshot.
    """
    # Other work that was done in the snapshot is not done again.
    snapshots = _SNAPSHOTS if job.in_snapshot is None else 1
    lock_first: Sequence[str] = ()
    for attempt in range(1, snapshots + 1):
        with ExitStack() as stack:
            holder, plan = open_snapshot_and_plan(job, run, present, stack, lock_first)
            if job.in_snapshot is not None:
                run.meter.begin("references")
                found = job.in_snapshot(run.backup, plan.snapshot, plan.taken_at or job.now())
                plan = replace(
                    plan,
                    part_of=found.part_of,
                    exceptions=(*plan.exceptions, *found.exceptions),
                    notes=(*plan.notes, *found.notes),
                )
            if plan.division is not None and job.spreading is not None:
                # Its parts have records of their own, which its seal counts.
                return job.spreading.hand_over(replace(job, recorder=None), plan, run, holder)
            total_bytes = sum(table.size_bytes for table in plan.tables)
            run.meter.begin("tables", total_bytes=total_bytes, total_tables=len(plan.tables))
            if job.recorder is not None:
                job.recorder.begin_plan(plan.history.packs)
            free = holder.free_connections()
            results = _store_parts(job, plan, run, present, free, is_last=attempt == snapshots)
            if not isinstance(results, SchemaChangedError):
                return plan, results
        lock_first = also_locked(lock_first, results)
        # Records of parts are in the vault by now, of another snapshot: no function may count them as its own.
        job = replace(job, spreading=None)
        done = run.meter.read()
        run.meter.add(size_bytes=-done.done_bytes, tables=-done.done_tables)
    raise AssertionError


def _store_parts(
    job: DatabaseBackupJob, plan: BackupPlan, run: Run, present: PresentCatalog, free_connections: int, *, is_last: bool
) -> list[StoredPart] | SchemaChangedError:
    """Store all parts: tables in several streams; everything else in parallel or, without a connection, afterwards.

    Returns the error instead, if a table was changed before it was read and this is not the last attempt.
    """
    fitting = streams_that_fit(job.streams, free_connections)
    memory = budget_for(packs_for(fitting))
    changed: list[SchemaChangedError] = []
    with SessionPool(lambda _: open_reader(job, plan, present), fitting) as readers:

        def store(part: Part | None) -> StoredPart | None:
            try:
                if changed:
                    return None
                if part is not None:
                    return run_part(job, plan, part, readers, memory, run.meter)
                return store_metadata(job, plan, memory)
            except SchemaChangedError as error:
                if is_last:
                    raise
                changed.append(error)
            except ConnectTransientError:
                if part is not None:
                    raise
            return None

        results = [result for result in job.runner(store, (None, *plan.parts)) if result is not None]
    if changed:
        return changed[0]
    if METADATA_PART not in (result.number for result in results):
        results.append(store_metadata(job, plan, memory))
    if readers.refusal is not None or fitting < job.streams:
        results[0] = _note_streams(job, results[0], min(fitting, readers.opened), len(plan.parts))
    return results


def _note_streams(job: DatabaseBackupJob, result: StoredPart, used: int, parts: int) -> StoredPart:
    """Add a note if fewer streams were used than configured, although there was work for more."""
    wanted = job.target.limits.streams
    if wanted is None or used >= min(wanted, parts):
        return result
    note = f"{used} of {wanted} streams were used (limits.streams): the server has no room for more connections."
    return replace(result, notes=(*result.notes, note))


def store_metadata(
    job: DatabaseBackupJob, plan: BackupPlan, memory: MemoryBudget, number: int = METADATA_PART
) -> StoredPart:
    """Store everything but the tables: the schema archive, roles, large objects, if these are no part of their own.

    Raises
    ------
    ConnectTransientError
        The server has no free connection. One may be free when no tables are read any more.
    """
    contents = job.target.contents

    def add(entries: EntryWriter) -> None:
        if contents.has_schema:
            entries.add("schema", EntryKind.SCHEMA, file_chunks(plan.schema_archive))
        if plan.roles is not None:
            entries.add("roles", EntryKind.ROLES, frame_sized([memoryview(plan.roles)]))
        if plan.division is None and plan.facts.has_large_objects and contents.has_rows:
            _add_large_objects(job, plan, entries)

    return _store_entries(job, plan, number, memory, add)


def store_large_objects(job: DatabaseBackupJob, plan: BackupPlan, memory: MemoryBudget) -> StoredPart:
    """Store the large objects as a part of their own; raises what `store_metadata` raises."""
    return _store_entries(job, plan, LARGE_OBJECTS_PART, memory, lambda entries: _add_large_objects(job, plan, entries))


def _add_large_objects(job: DatabaseBackupJob, plan: BackupPlan, entries: EntryWriter) -> None:
    dumper = ArchiveDumper(job.tools, job.children, job.connection, job.target)
    entries.add("large_objects", EntryKind.LARGE_OBJECTS, frame_sized(dumper.large_objects(plan.snapshot)))


def _store_entries(
    job: DatabaseBackupJob, plan: BackupPlan, number: int, memory: MemoryBudget, add: Callable[[EntryWriter], None]
) -> StoredPart:
    with job.vault.pack_writer(plan.backup.id, number, job.encoder, memory) as packs:
        entries = EntryWriter(packs, plan.history.known(number))
        if job.recorder is not None:
            job.recorder.begin(number, packs, entries)
        add(entries)
        stored = entries.close()
    file = job.scratch / f"entries-{number:06d}.jsonl"
    write_lines(stored, file)
    if job.recorder is not None:
        job.recorder.finish(number, file)
    return StoredPart(
        number=number,
        entries=file,
        packs=tuple(packs.packs),
        size_bytes=sum(entry.size for entry in stored),
    )
