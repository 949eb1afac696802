"""The plan of a database backup: the snapshot, the tables cut into parts, and what is stored already."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from coffre.model.backup import NO_ROLES, Backup
from coffre.model.errors import CoffreError, DumpError, IntegrityError, SchemaChangedError, StoreError, TransientError
from coffre.model.manifest import JournalBase, Manifest
from coffre.operations.backup_database.job import BackupPlan, DatabaseBackupJob, Division
from coffre.operations.backup_database.lock_yield import yielding_locks
from coffre.operations.runs.run import Run
from coffre.operations.runs.unfinished_runs import read_runs
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.policy.profiles import fits
from coffre.policy.slicing import Part, TableExtent, plan_parts
from coffre.postgres.archive.reader import TocEntry, read_archive
from coffre.postgres.connection.minors import note_of_newer_minor
from coffre.postgres.connection.roles import filter_roles
from coffre.postgres.journal.fingerprint import base_or_why
from coffre.postgres.source.dump import ArchiveDumper
from coffre.postgres.source.locks import locked_first
from coffre.postgres.source.present_catalog import PresentCatalog
from coffre.postgres.source.snapshot import Holder, hold_snapshot
from coffre.postgres.source.table_sizes import table_sizes
from coffre.postgres.source.unstored import Kind, Unstored, exceptions_for, notes_for
from coffre.vault.history import NO_HISTORY, History, open_history

# The part that holds everything but tables: its entries' names sort before `tables/`.
METADATA_PART: Final = 0
# Of a spread backup: large objects, which sort first, are a part of their own.
LARGE_OBJECTS_PART: Final = 0
SPREAD_METADATA_PART: Final = 1
# After a held lock, or a table that vanished between snapshot and lock, a new snapshot usually works.
_PLAN_ATTEMPTS: Final = 3
_ROLES_ATTEMPTS: Final = 2
_OF_MEMBERS: Final = frozenset({Kind.MEMBER, Kind.SEQUENCE})


def open_snapshot_and_plan(
    job: DatabaseBackupJob, run: Run, present: PresentCatalog, stack: ExitStack, lock_first: Sequence[str] = ()
) -> tuple[Holder, BackupPlan]:
    """Open the holder, which stays open until the stack is closed, and plan; if necessary with a new snapshot.

    `lock_first` are tables that were changed before they were read in an earlier snapshot: locked before there is
    another one, they cannot be changed in between.
    """
    attempt = 1
    while True:
        run.watch.check()
        run.meter.begin("snapshot")
        with ExitStack() as holding:
            try:
                holding.enter_context(locked_first(job.connection, job.children, lock_first, present))
                holder = holding.enter_context(
                    hold_snapshot(
                        job.connection,
                        job.children,
                        lock_timeout_seconds=present.patience_seconds,
                        for_journal=_is_base(job),
                    )
                )
                taken_at = job.now()
                holding.enter_context(yielding_locks(present, run.watch, keep_alive=holder.keep_alive))
                plan = replace(make_plan(job, run.backup, holder, present), taken_at=taken_at)
                holder.end_planning()
            except TransientError as error:
                if attempt == _PLAN_ATTEMPTS:
                    raise
                attempt += 1
                lock_first = also_locked(lock_first, error)
                continue
            stack.push(holding.pop_all())
            return holder, plan


def also_locked(lock_first: Sequence[str], error: Exception) -> Sequence[str]:
    """Return what to lock before the next snapshot: what was locked before the last one, and what has changed since."""
    return tuple(dict.fromkeys((*lock_first, *(error.tables if isinstance(error, SchemaChangedError) else ()))))


def make_plan(job: DatabaseBackupJob, backup: Backup, holder: Holder, present: PresentCatalog) -> BackupPlan:
    """Look at the database through the holder and decide what to read."""
    facts = holder.facts()
    job.tools.refuse_newer_server(job.connection, facts.version_number)
    dumper = ArchiveDumper(job.tools, job.children, job.connection, job.target)
    archive = job.scratch / "schema.dump"
    with ThreadPoolExecutor(3, "plan") as pool:
        roles = pool.submit(_read_roles, job, dumper)
        catalog = pool.submit(holder.remember_schema)
        sizes = pool.submit(table_sizes, job.connection, job.children)
        dumper.schema(holder.snapshot, archive)
        catalog.result()
    whole = _toc_of(archive)
    toc, without_rows = _divide_by_rows(job, dumper, holder.snapshot, whole)
    members, unused = holder.members(job.target.tables.include_members if job.target.contents.has_rows else ())
    tables = holder.tables(present, toc, members, sizes.result())
    tables_without_rows = holder.tables_without_rows(without_rows)
    unstored = _unstored(job, holder, whole, (*tables, *tables_without_rows))
    division = _divide(job, tables, holder)
    parts = plan_parts(
        tables,
        by_block=facts.reads_by_block,
        streams=job.streams,
        first_number=1 + (SPREAD_METADATA_PART if division else METADATA_PART),
        part_bytes=division.shape.part_bytes if division else None,
    )
    history, notes = (NO_HISTORY, ()) if division else open_history_of(job, parts)
    newer = note_of_newer_minor(facts.version_number, facts.version, job.tools.version())
    roles_file, roles_exceptions = roles.result()
    journal, no_base = _base_of_a_journal(job, holder)
    return BackupPlan(
        backup=backup,
        snapshot=holder.snapshot,
        facts=facts,
        client_version=".".join(str(number) for number in job.tools.version()),
        tables=tuple(tables),
        tables_without_rows=tuple(tables_without_rows),
        roots=holder.roots(tables),
        sequences=holder.sequences(toc, members),
        materialized_views=holder.materialized_views(toc),
        schema_archive=archive,
        roles=roles_file,
        parts=tuple(parts),
        history=history,
        exceptions=(*roles_exceptions, *exceptions_for(unstored, unused), *_unread(job, holder, whole)),
        notes=(*notes, *notes_for(unstored), *([newer] if newer else []), *no_base),
        division=division,
        journal=journal,
    )


def _is_base(job: DatabaseBackupJob) -> bool:
    """Return whether the backup is to be a base of a journal, which needs both definitions and rows."""
    return job.target.journal is not None and job.target.contents.has_schema and job.target.contents.has_rows


def _base_of_a_journal(job: DatabaseBackupJob, holder: Holder) -> tuple[JournalBase | None, tuple[str, ...]]:
    """Return what makes the backup a base, and a note if it is to be one and cannot: it is a good backup either way."""
    wal_text = holder.wal_text
    if not _is_base(job):
        return None, ()
    why = "the server does not say where its log is (wal_level is not logical, or it is a standby)"
    found = why if wal_text is None else holder.ask(lambda session: base_or_why(session, wal_text))
    if isinstance(found, JournalBase):
        return found, ()
    return None, (f"The journal cannot continue from this backup: {found}.",)


def _divide(job: DatabaseBackupJob, tables: Sequence[TableExtent], holder: Holder) -> Division | None:
    if job.spreading is None:
        return None
    return job.spreading.divide(sum(table.size_bytes for table in tables), holder.free_connections())


def _unstored(
    job: DatabaseBackupJob, holder: Holder, toc: Sequence[TocEntry], tables: Sequence[TableExtent]
) -> list[Unstored]:
    """Compare the tables of the snapshot with those that will be stored; a backup without rows compares nothing."""
    target = job.target
    if not target.contents.has_rows:
        return []
    patterns = (target.schemas.include, target.schemas.exclude, target.tables.include, target.tables.exclude)
    transient = holder.profile(target.provider).rows.transient_members
    return [
        replace(one, kind=Kind.TRANSIENT)
        if one.kind in _OF_MEMBERS and fits(f"{one.schema}.{one.name}", transient)
        else one
        for one in holder.unstored(toc, tables, is_chosen=any(patterns))
    ]


def _unread(job: DatabaseBackupJob, holder: Holder, toc: Sequence[TocEntry]) -> tuple[str, ...]:
    return holder.unread_definitions(toc) if job.target.contents.has_schema else ()


def _read_roles(job: DatabaseBackupJob, dumper: ArchiveDumper) -> tuple[bytes | None, tuple[str, ...]]:
    """Return the statements that create the roles, or an exception with the reason why they are missing.

    A backup without roles is valid. A second attempt helps if the program was killed or its connection was cut.
    """
    if not job.target.contents.has_schema:
        return None, ()
    for attempt in range(1, _ROLES_ATTEMPTS + 1):
        job.children.check()
        try:
            script = dumper.roles().decode("utf-8", "surrogateescape")
            return filter_roles(script).encode("utf-8", "surrogateescape"), ()
        except CoffreError as error:
            if attempt == _ROLES_ATTEMPTS:
                return None, (f"{NO_ROLES} {error.message} ({error.code})",)
    raise AssertionError


def _toc_of(archive: Path) -> Sequence[TocEntry]:
    try:
        with archive.open("rb") as file:
            return read_archive(file).entries
    except IntegrityError as error:
        raise DumpError(
            "pg_dump reported success, but its output is not a complete archive.",
            code="TOOL_FAILED",
            detail=error.detail,
            hint="Nothing was published and older backups are untouched. Run it again; if it fails again, report it.",
        ) from error


def _divide_by_rows(
    job: DatabaseBackupJob, dumper: ArchiveDumper, snapshot: str, toc: Sequence[TocEntry]
) -> tuple[Sequence[TocEntry], Sequence[TocEntry]]:
    """Divide a table of contents into the entries with data in the backup, and the tables whose rows are left out."""
    if not job.target.contents.has_rows:
        return (), toc
    if not job.target.tables.exclude_data:
        return toc, ()
    archive = job.scratch / "schema-with-rows.dump"
    dumper.schema_with_rows(snapshot, archive)
    with_rows = {entry.oid for entry in _toc_of(archive) if entry.description == "TABLE"}
    archive.unlink()
    kept: list[TocEntry] = []
    left_out: list[TocEntry] = []
    for entry in toc:
        (kept if entry.description != "TABLE" or entry.oid in with_rows else left_out).append(entry)
    return kept, left_out


def open_history_of(
    job: DatabaseBackupJob,
    parts: Sequence[Part],
    others: Sequence[tuple[int, str]] = ((METADATA_PART, ""),),
    end: str | None = None,
) -> tuple[History, tuple[str, ...]]:
    """Return what earlier runs stored. What cannot be used is stored again, and a note says why.

    Parameters
    ----------
    others
        Number and first name of parts before those.
    end
        Of names from this one on nothing is needed.
    """
    firsts = [*others, *((part.number, part.slices[0].name) for part in parts)]
    unfinished, notes = read_runs(job.vault, job.unfinished, job.recipients, job.scratch)
    try:
        manifest, changed = _previous_manifest(job)
        history = open_history(job.vault, manifest, firsts, job.scratch, end, unfinished=unfinished)
        return history, (*changed, *notes)
    except (IntegrityError, StoreError) as error:
        damaged = (
            f"The previous backup {job.previous.id if job.previous else '-'} is damaged, everything was stored again: "
            f"{error.message}"
        )
    try:
        return open_history(job.vault, None, firsts, job.scratch, end, unfinished=unfinished), (damaged, *notes)
    except StoreError:
        return NO_HISTORY, (damaged,)


def _previous_manifest(job: DatabaseBackupJob) -> tuple[Manifest | None, tuple[str, ...]]:
    previous = job.previous
    if previous is None or previous.manifest_key is None or previous.manifest_sha256 is None:
        return None, ()
    manifest = manifest_of(job.vault, previous)
    if set(manifest.recipients) != set(job.recipients):
        return None, ("The recipients changed: everything was stored again.",)
    return manifest, ()
