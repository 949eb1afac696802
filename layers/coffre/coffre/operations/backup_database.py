"""Back up one database: plan, parts, seal.

`plan` opens nothing itself: it looks through the holder. `run_part` reads, compresses, encrypts and stores one part and
can be repeated. `seal` checks that nothing is missing, and commits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from coffre.model.backup import Backup
from coffre.model.errors import CoffreError, IntegrityError, StoreError, TransientError
from coffre.model.manifest import (
    DatabaseContent,
    EntryKind,
    Manifest,
    PackReference,
    RelationName,
    SequenceValue,
    TableContent,
)
from coffre.model.target import DatabaseTarget
from coffre.operations.lifecycle import Run
from coffre.operations.progress import Meter
from coffre.operations.runner import Runner
from coffre.operations.streams import Streams
from coffre.policy.slicing import Part, TableExtent, plan_parts
from coffre.postgres.connect import Connection
from coffre.postgres.dump import ArchiveDumper, SliceReader, list_archive
from coffre.postgres.roles import filter_roles
from coffre.postgres.snapshot import Holder, ServerFacts, hold_snapshot
from coffre.postgres.toc import parse_toc
from coffre.postgres.tools import Children, PostgresTools
from coffre.vault.codec import FrameEncoder, Plaintext
from coffre.vault.entries import FRAME_SIZE_BYTES, EntryWriter, write_lines
from coffre.vault.history import NO_HISTORY, History, open_history
from coffre.vault.vault import Committed, Vault

# The part that holds everything but tables: its entries' names sort before `tables/`.
_METADATA_PART: Final = 0
# A lock that somebody holds, a table that vanished between snapshot and lock: a new snapshot usually works.
_PLAN_ATTEMPTS: Final = 3


@dataclass(frozen=True)
class Job:
    """What a run needs: where to read, where to write, with what, and how wide."""

    target: DatabaseTarget
    connection: Connection
    tools: PostgresTools
    children: Children
    vault: Vault
    encoder: FrameEncoder
    recipients: tuple[str, ...]
    scratch: Path
    streams: int
    runner: Runner
    now: Callable[[], datetime]
    previous: Backup | None = None


@dataclass(frozen=True)
class Plan:
    """What will be read, in which snapshot, and what of it may be stored already."""

    backup: Backup
    snapshot: str
    facts: ServerFacts
    client_version: str
    tables: tuple[TableExtent, ...]
    sequences: tuple[SequenceValue, ...]
    materialized_views: tuple[RelationName, ...]
    schema_archive: Path
    parts: tuple[Part, ...]
    history: History
    exceptions: tuple[str, ...] = ()


@dataclass(frozen=True)
class PartResult:
    """What a part stored: `entries` is a file of JSON lines, sorted by name; `counts` are rows and bytes by table."""

    number: int
    entries: Path
    packs: tuple[PackReference, ...]
    size_bytes: int = 0
    counts: dict[int, tuple[int, int]] = field(default_factory=dict)
    exceptions: tuple[str, ...] = ()


def backup_database(job: Job, run: Run) -> tuple[Manifest, Committed]:
    """Back up the database and commit the manifest.

    Raises
    ------
    CoffreError
        Nothing is published then; packs that were stored are swept later.
    """
    with ExitStack() as stack:
        holder, plan = _open_snapshot_and_plan(job, run, stack)
        total_bytes = sum(table.size_bytes for table in plan.tables)
        run.meter.begin("tables", total_bytes=total_bytes, total_tables=len(plan.tables))
        results = [store_metadata(job, plan)]
        with Streams(lambda number: _open_reader(job, plan, number)) as readers:
            results += job.runner(lambda part: run_part(job, plan, part, readers, run.meter), plan.parts)
        holder.require_alive()
    run.meter.begin("seal")
    return seal(job, plan, results, run)


def _open_snapshot_and_plan(job: Job, run: Run, stack: ExitStack) -> tuple[Holder, Plan]:
    """Open the holder, which stays open until the stack is left, and plan; with a new snapshot if need be."""
    attempt = 1
    while True:
        run.watch.check()
        run.meter.begin("snapshot")
        with ExitStack() as holding:
            try:
                limit = job.target.limits.lock_timeout_seconds
                holder = holding.enter_context(hold_snapshot(job.connection, job.children, lock_timeout_seconds=limit))
                plan = make_plan(job, run.backup, holder)
            except TransientError:
                if attempt == _PLAN_ATTEMPTS:
                    raise
                attempt += 1
                continue
            stack.push(holding.pop_all())
            return holder, plan


def make_plan(job: Job, backup: Backup, holder: Holder) -> Plan:
    """Look at the database through the holder and decide what to read; locks the tables."""
    facts = holder.facts()
    job.tools.refuse_newer_server(job.connection, facts.version_number)
    dumper = ArchiveDumper(job.tools, job.children, job.connection, job.target)
    archive = job.scratch / "schema.dump"
    dumper.schema(holder.snapshot, archive)
    toc = list(parse_toc(list_archive(job.tools, job.children, archive)))
    tables = holder.tables(toc)
    parts = plan_parts(tables, by_block=facts.reads_by_block, streams=job.streams, first_number=_METADATA_PART + 1)
    history, exceptions = _open_history(job, parts)
    return Plan(
        backup=backup,
        snapshot=holder.snapshot,
        facts=facts,
        client_version=".".join(str(number) for number in job.tools.version()),
        tables=tuple(tables),
        sequences=holder.sequences(toc),
        materialized_views=holder.materialized_views(toc),
        schema_archive=archive,
        parts=tuple(parts),
        history=history,
        exceptions=exceptions,
    )


def _open_history(job: Job, parts: Sequence[Part]) -> tuple[History, tuple[str, ...]]:
    """Return what the previous backup stored. If that cannot be used, all is stored anew, and it is said why."""
    previous = job.previous
    if previous is None or previous.manifest_key is None or previous.manifest_sha256 is None:
        return NO_HISTORY, ()
    try:
        manifest = job.vault.read_manifest(previous.manifest_key, sha256=previous.manifest_sha256)
        if set(manifest.recipients) != set(job.recipients):
            return NO_HISTORY, ("The recipients changed: everything was stored anew.",)
        firsts = [(_METADATA_PART, ""), *((part.number, part.slices[0].name) for part in parts)]
        return open_history(job.vault, manifest, firsts, job.scratch), ()
    except (IntegrityError, StoreError) as error:
        return NO_HISTORY, (
            f"The previous backup {previous.id} is damaged, everything was stored anew: {error.message}",
        )


def store_metadata(job: Job, plan: Plan) -> PartResult:
    """Store everything but the tables: the schema archive, roles, large objects."""
    dumper = ArchiveDumper(job.tools, job.children, job.connection, job.target)
    exceptions: list[str] = []
    with job.vault.pack_writer(plan.backup.id, _METADATA_PART, job.encoder) as packs:
        entries = EntryWriter(packs, plan.history.known(_METADATA_PART))
        entries.add("schema", EntryKind.SCHEMA, _file_chunks(plan.schema_archive))
        try:
            roles = filter_roles(dumper.roles().decode("utf-8", "replace")).encode()
            entries.add("roles", EntryKind.ROLES, _chunks([memoryview(roles)]))
        except CoffreError as error:
            exceptions.append(f"Roles were not backed up: {error.message} ({error.code})")
        if plan.facts.has_large_objects:
            entries.add("large_objects", EntryKind.LARGE_OBJECTS, _chunks(dumper.large_objects(plan.snapshot)))
        stored = entries.close()
    file = job.scratch / f"entries-{_METADATA_PART:06d}.jsonl"
    write_lines(stored, file)
    return PartResult(
        number=_METADATA_PART,
        entries=file,
        packs=tuple(packs.packs),
        size_bytes=sum(entry.size for entry in stored),
        exceptions=tuple(exceptions),
    )


def run_part(job: Job, plan: Plan, part: Part, readers: Streams[SliceReader], meter: Meter) -> PartResult:
    """Read, compress, encrypt and store the slices of one part. Safe to repeat; knows nothing of other parts."""
    counts: dict[int, tuple[int, int]] = {}
    with readers.borrow() as reader, job.vault.pack_writer(plan.backup.id, part.number, job.encoder) as packs:
        entries = EntryWriter(packs, plan.history.known(part.number))
        for piece in part.slices:
            table = piece.table
            entry = entries.add(
                piece.name,
                EntryKind.TABLE,
                reader.read(piece),
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


def seal(job: Job, plan: Plan, results: Sequence[PartResult], run: Run) -> tuple[Manifest, Committed]:
    """Check completeness, write the entries file, then the manifest, which commits the backup.

    Raises
    ------
    IntegrityError
        Code `PART_MISSING` when not exactly the planned parts are there.
    """
    results = sorted(results, key=lambda result: result.number)
    _check_complete(plan, results)
    backup = plan.backup
    files = [result.entries for result in results]
    entries, live_bytes = job.vault.write_entries(backup.target, backup.id, files, job.scratch)
    stored = {pack.key: pack for result in results for pack in result.packs}
    packs = _referenced(live_bytes, {**plan.history.packs, **stored})
    content = _content(plan, results)
    exceptions = (*plan.exceptions, *(text for result in results for text in result.exceptions))
    manifest = Manifest(
        backup_id=backup.id,
        target=backup.target,
        kind=backup.kind,
        tiers=run.ready_to_commit(),
        created_at=backup.created_at,
        completed_at=job.now(),
        encryption="age" if job.encoder.encrypts else "none",
        recipients=job.recipients,
        entries=entries,
        packs=packs,
        plaintext_bytes=sum(result.size_bytes for result in results),
        stored_bytes=sum(pack.length for pack in stored.values()) + entries.length,
        rows=sum(table.rows for table in content.tables),
        content=content,
        exceptions=exceptions,
    )
    return manifest, job.vault.commit(manifest, run.announce)


def _referenced(live_bytes: Mapping[str, int], packs: Mapping[str, PackReference]) -> tuple[PackReference, ...]:
    """Return the packs that the entries point at, with what they use of each."""
    return tuple(
        packs[key].model_copy(update={"live_bytes": min(live, packs[key].length)})
        for key, live in sorted(live_bytes.items())
    )


def _check_complete(plan: Plan, results: Sequence[PartResult]) -> None:
    wanted = [_METADATA_PART, *(part.number for part in plan.parts)]
    found = [result.number for result in results]
    if found != wanted:
        raise IntegrityError(
            "Not every part of the backup was stored; nothing was published.",
            code="PART_MISSING",
            detail=f"missing: {sorted(set(wanted) - set(found))}, unexpected: {sorted(set(found) - set(wanted))}",
            hint="Run the backup again. If it happens again, please report it.",
        )


def _content(plan: Plan, results: Sequence[PartResult]) -> DatabaseContent:
    counts: dict[int, tuple[int, int]] = {table.oid: (0, 0) for table in plan.tables}
    for result in results:
        for oid, (rows, size) in result.counts.items():
            counts[oid] = (counts[oid][0] + rows, counts[oid][1] + size)
    return DatabaseContent(
        database=plan.facts.database,
        encoding=plan.facts.encoding,
        locale=plan.facts.locale,
        locale_provider=plan.facts.locale_provider,
        provider_locale=plan.facts.provider_locale,
        server_version=plan.facts.version,
        server_version_number=plan.facts.version_number,
        client_version=plan.client_version,
        snapshot=plan.snapshot,
        tables=tuple(
            TableContent(
                schema_name=table.schema,
                table_name=table.name,
                columns=table.columns,
                rows=counts[table.oid][0],
                size=counts[table.oid][1],
                of_extension=table.of_extension,
            )
            for table in sorted(plan.tables, key=lambda table: (table.schema, table.name))
        ),
        sequences=plan.sequences,
        materialized_views=plan.materialized_views,
        extensions=plan.facts.extensions,
        roles=plan.facts.roles,
        policy_roles=plan.facts.policy_roles,
    )


def _open_reader(job: Job, plan: Plan, number: int) -> SliceReader:
    scratch = job.scratch / f"stream-{number}"
    scratch.mkdir()
    return SliceReader(
        job.tools,
        job.children,
        job.connection,
        snapshot=plan.snapshot,
        version_number=plan.facts.version_number,
        encoding=plan.facts.encoding,
        scratch=scratch,
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
