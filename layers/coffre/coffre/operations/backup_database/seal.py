"""The seal of a database backup: check that all parts are stored, then write the entries and the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from coffre.model.errors import IntegrityError
from coffre.model.manifest import (
    DatabaseContent,
    EntriesFile,
    Manifest,
    PackReference,
    RelationName,
    SearchPath,
    TableContent,
)
from coffre.model.points import ManifestPoint
from coffre.operations.backup_database.job import BackupPlan, DatabaseBackupJob
from coffre.operations.backup_database.plan import METADATA_PART
from coffre.operations.runs.locked_backup import secure
from coffre.operations.runs.run import Run
from coffre.operations.runs.unfinished_runs import stored_before
from coffre.policy.slicing import TableExtent
from coffre.vault.entries import referenced
from coffre.vault.entry_files import lists_apart
from coffre.vault.part_records import StoredPart
from coffre.vault.vault import Committed


@dataclass(frozen=True)
class Sealed:
    """What the parts amount to: lists of entries, what they use of each pack, and rows and bytes by table.

    `packs` has every pack that they point at, `stored_bytes` is the length of those that this run stored. `unfinished`
    are those of runs that did not finish, with the run's id.
    """

    entries: tuple[EntriesFile, ...]
    live_bytes: Mapping[str, int]
    packs: Mapping[str, PackReference]
    stored_bytes: int
    size_bytes: int
    counts: Mapping[int, tuple[int, int]]
    notes: tuple[str, ...]
    unfinished: Mapping[str, str]


def seal(
    job: DatabaseBackupJob, plan: BackupPlan, results: Sequence[StoredPart], run: Run
) -> tuple[Manifest, Committed]:
    """Check completeness, write the entries file, then the manifest, which commits the backup.

    Raises
    ------
    IntegrityError
        Code `PART_MISSING`: the stored parts are not exactly the planned ones.
    """
    results = sorted(results, key=lambda result: result.number)
    check_complete([METADATA_PART, *(part.number for part in plan.parts)], [result.number for result in results])
    backup = plan.backup
    files = [result.entries for result in results]
    entries, live_bytes = job.vault.write_entries(backup.target, backup.id, files, job.scratch)
    stored = {pack.key: pack for result in results for pack in result.packs}
    counts: dict[int, tuple[int, int]] = {}
    for result in results:
        add_counts(counts, result.counts)
    sealed = Sealed(
        entries=(entries,),
        live_bytes=live_bytes,
        packs={**plan.history.packs, **stored},
        stored_bytes=sum(pack.length for pack in stored.values()),
        size_bytes=sum(result.size_bytes for result in results),
        counts=counts,
        notes=tuple(text for result in results for text in result.notes),
        unfinished=plan.history.unfinished,
    )
    return commit(job, plan, sealed, run)


def commit(job: DatabaseBackupJob, plan: BackupPlan, sealed: Sealed, run: Run) -> tuple[Manifest, Committed]:
    """Write the manifest of a backup whose parts and lists of entries are stored."""
    backup = plan.backup
    packs = referenced(sealed.live_bytes, sealed.packs)
    content = _content(job, plan, sealed.counts)
    apart = lists_apart(sealed.entries)
    secured = secure(job.vault, job.target, run, apart, packs, job.now())
    manifest = Manifest(
        backup_id=backup.id,
        target=backup.target,
        kind=backup.kind,
        tiers=secured.tiers,
        created_at=backup.created_at,
        expires_at=backup.expires_at,
        completed_at=job.now(),
        encryption="age" if job.encoder.encrypts else "none",
        recipients=job.recipients,
        entries=sealed.entries,
        packs=secured.packs,
        plaintext_bytes=sealed.size_bytes,
        stored_bytes=sealed.stored_bytes + sum(file.length for file in apart),
        rows=sum(table.rows for table in content.tables),
        content=content,
        locked_until=secured.locked_until,
        exceptions=plan.exceptions,
        notes=(*stored_before(job.unfinished, sealed.live_bytes, sealed.unfinished), *plan.notes, *sealed.notes),
        point=ManifestPoint(name=plan.part_of.name, id=plan.part_of.id) if plan.part_of else None,
    )
    return manifest, job.vault.commit(manifest, run.announce)


def add_counts(counts: dict[int, tuple[int, int]], more: Mapping[int, tuple[int, int]]) -> None:
    """Add rows and bytes by table."""
    for oid, (rows, size) in more.items():
        had_rows, had_size = counts.get(oid, (0, 0))
        counts[oid] = (had_rows + rows, had_size + size)


def check_complete(wanted: Sequence[int], found: Sequence[int]) -> None:
    """Raise `PART_MISSING` if the numbers of stored parts are not exactly the planned ones, each once, in order."""
    if list(found) != list(wanted):
        raise IntegrityError(
            "Not all parts of the backup were stored; nothing was published.",
            code="PART_MISSING",
            detail=f"missing: {sorted(set(wanted) - set(found))}, unexpected: {sorted(set(found) - set(wanted))}",
            hint="Run the backup again. If it happens again, please report it.",
        )


def _content(job: DatabaseBackupJob, plan: BackupPlan, counted: Mapping[int, tuple[int, int]]) -> DatabaseContent:
    counts = {table.oid: counted.get(table.oid, (0, 0)) for table in plan.tables}
    return DatabaseContent(
        contents=job.target.contents,
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
            _table(table, counts.get(table.oid), plan.roots.get(table.oid))
            for table in sorted((*plan.tables, *plan.tables_without_rows), key=lambda table: (table.schema, table.name))
        ),
        sequences=plan.sequences,
        materialized_views=plan.materialized_views,
        extensions=plan.facts.extensions,
        roles=plan.facts.roles,
        policy_roles=plan.facts.policy_roles,
        search_paths=tuple(SearchPath(role=role, path=path) for role, path in plan.facts.search_paths),
        knows_roots=True,
        journal=plan.journal,
    )


def _table(table: TableExtent, count: tuple[int, int] | None, root: RelationName | None) -> TableContent:
    rows, size = count or (0, 0)
    return TableContent(
        oid=table.oid,
        schema_name=table.schema,
        table_name=table.name,
        columns=table.columns,
        rows=rows,
        size=size,
        of_extension=table.of_extension,
        is_member=table.is_member,
        after=table.after,
        rows_excluded=count is None,
        through=root,
    )
