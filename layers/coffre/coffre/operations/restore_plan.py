"""What a restore starts from, and what of it the destination can take."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coffre.model.backup import Backup, Status
from coffre.model.errors import BackupStateError, IntegrityError
from coffre.model.manifest import DatabaseContent, Entry, EntryKind, Manifest, TableContent
from coffre.model.names import shown
from coffre.model.restore import Scope
from coffre.operations.runner import Runner
from coffre.postgres.archive import Section, TocEntry, read_archive
from coffre.postgres.connect import Connection
from coffre.postgres.destination import Destination
from coffre.postgres.live import TableName
from coffre.postgres.outside import missing_relation, relations
from coffre.postgres.selection import needing
from coffre.postgres.toc import in_unicode, is_of_database, split_toc
from coffre.postgres.tools import Children, PostgresTools
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault


@dataclass(frozen=True)
class Job:
    """What a restore needs: from where, to where, with what, and how wide. `in_order` is for drills, which compare.

    `remaining_seconds` says how much time the run has.
    """

    restore_id: str
    backup: Backup
    connection: Connection
    tools: PostgresTools
    children: Children
    vault: Vault
    decoder: FrameDecoder
    scratch: Path
    streams: int
    runner: Runner
    scope: Scope = field(default_factory=Scope)
    in_order: bool = False
    remaining_seconds: Callable[[], float] = field(default=lambda: math.inf)

    @property
    def leaves_damage_out(self) -> bool:
        """Whether damaged bytes cost only what they are of. A drill is there to find them."""
        return not (self.scope.strict or self.in_order)


@dataclass(frozen=True)
class Source:
    """A checked backup: its manifest, what opens its frames, its schema archive on disk, its table of contents.

    A backup of rows alone has no archive, and an empty table of contents.
    """

    manifest: Manifest
    decoder: FrameDecoder
    archive: Path
    large_objects: Entry | None
    toc: tuple[TocEntry, ...]

    @property
    def content(self) -> DatabaseContent:
        """What the backup holds besides its entries."""
        return self.manifest.database

    def read(self, job: Job, entry: Entry) -> Iterator[bytes]:
        """Yield the plaintext of an entry, until the run is stopped: checked when it ends without an error."""
        for chunk in job.vault.read_entry(entry, self.decoder, at_end=True):
            job.children.check()
            yield chunk


def refuse_unrestorable(backup: Backup) -> None:
    """Refuse a backup that is not COMPLETED.

    Raises
    ------
    BackupStateError
        Code `BACKUP_NOT_COMPLETED`.
    """
    if backup.status is Status.COMPLETED and backup.manifest_key and backup.manifest_sha256:
        return
    why = {
        Status.FAILED: f"it failed ({backup.failure.code}: {backup.failure.message})"
        if backup.failure
        else "it failed",
        Status.DELETED: "it was deleted",
    }.get(backup.status, "it is still running")
    raise BackupStateError(
        f"Backup {backup.id} of {backup.target} cannot be restored: {why}.",
        code="BACKUP_NOT_COMPLETED",
        hint=f"Choose a COMPLETED one: coffre list {backup.target} --status COMPLETED.",
    )


def open_source(job: Job) -> Source:
    """Check the chain from the catalog to the entries, and fetch the schema archive to disk."""
    key, sha256 = job.backup.manifest_key or "", job.backup.manifest_sha256 or ""
    manifest = job.vault.read_manifest(key, sha256=sha256)
    if (manifest.backup_id, manifest.target) != (job.backup.id, job.backup.target):
        raise IntegrityError(
            f"The manifest {key} is of backup {manifest.backup_id} of {manifest.target}, not of {job.backup.id}.",
            code="MANIFEST_SWAPPED",
            hint="Somebody changed the vault. Restore an older backup and look at who can write to the bucket.",
        )
    decoder = job.decoder.of_recipients(manifest.recipients)
    found = {entry.kind: entry for entry in job.vault.entries(manifest) if entry.kind is not EntryKind.TABLE}
    archive = job.scratch / "schema.dump"
    if not manifest.database.contents.has_schema:
        return Source(manifest, decoder, archive, found.get(EntryKind.LARGE_OBJECTS), ())
    if EntryKind.SCHEMA not in found:
        raise IntegrityError(
            f"The backup {job.backup.id} has no schema archive.",
            code="ENTRIES_DAMAGED",
            hint="This backup cannot be trusted. Restore an older one (`coffre list`).",
        )
    with archive.open("wb") as file:
        file.writelines(job.vault.read_entry(found[EntryKind.SCHEMA], decoder))
    with archive.open("rb") as file:
        toc = in_unicode(read_archive(file).entries, manifest.database.encoding)
    return Source(manifest, decoder, archive, found.get(EntryKind.LARGE_OBJECTS), toc)


def why_no_owners(roles: tuple[str, ...], destination: Destination) -> str | None:
    """Return why owners and rights cannot be restored as dumped; None when they can."""
    missing = sorted(set(roles) - destination.roles)
    if missing:
        return f"Owners and rights were not restored: the destination lacks the role(s) {', '.join(missing)}."
    foreign = sorted(set(roles) - destination.member_of)
    if foreign and not destination.capabilities.is_superuser:
        return (
            f'Owners and rights were not restored: "{destination.capabilities.role}" is not a member of '
            f"the role(s) {', '.join(foreign)}."
        )
    return None


@dataclass(frozen=True)
class Selection:
    """What is restored of a backup: entries of its archive, its tables by name, and a sentence for all that is not."""

    lines: list[TocEntry]
    tables: dict[TableName, TableContent]
    exceptions: list[str]


def select(source: Source, destination: Destination, only: frozenset[int] | None = None) -> Selection:
    """Choose what the destination can take.

    Parameters
    ----------
    only
        The dump ids of the entries that are asked for; default: all.
    """
    wanted = [entry for entry in source.toc if only is None or entry.dump_id in only]
    lost, exceptions = _lost_with_extensions(wanted, destination)
    kept, left_out = split_toc([entry for entry in wanted if entry.dump_id not in lost], destination.capabilities)
    exceptions += [f"Not restored: {item.entry.shown}: {item.reason}." for item in left_out]
    without = _without_role(source, destination)
    there = relations(source.toc)
    lines = []
    for entry in kept:
        if entry.description == "DATABASE" or is_of_database(entry):
            continue  # pg_restore sets them with --create only: see postgres/database_properties.py
        if entry.description == "SCHEMA" and entry.tag in destination.schemas:
            continue  # pg_dump writes CREATE SCHEMA public when the schema was asked for by name
        if (roles := without(entry)) is not None:
            exceptions.append(f"Not restored: {entry.shown}: the destination lacks {roles}.")
        elif (missing := missing_relation(entry, there, source.content.encoding)) is not None:
            exceptions.append(f"Not restored: {entry.shown}: the backup does not have {missing}.")
        else:
            lines.append(entry)
    lost_oids = {entry.oid for entry in wanted if entry.dump_id in lost and entry.description == "TABLE"}
    tables = {
        (table.schema_name, table.table_name): table for table in source.content.tables if table.oid not in lost_oids
    }
    if tablespaces := sorted({line.tablespace for line in lines if line.tablespace}):
        exceptions.append(f"Not restored: tablespaces ({', '.join(tablespaces)}). All is in the database's own.")
    if empty := [shown(*name) for name, table in tables.items() if table.rows_excluded]:
        exceptions.append(f"The backup has no rows of {', '.join(empty)}: the configuration leaves them out.")
    return Selection(lines, tables, exceptions)


def _lost_with_extensions(entries: Sequence[TocEntry], destination: Destination) -> tuple[set[int], list[str]]:
    """Return what cannot be there without the extensions that the destination lacks, and a sentence for each."""
    lost: set[int] = set()
    exceptions = []
    for extension in entries:
        if extension.description == "EXTENSION" and extension.tag not in destination.extensions_available:
            found = needing(entries, [extension])
            lost |= {entry.dump_id for entry in found}
            names = [entry.shown for entry in found if entry.section is Section.PRE_DATA and entry != extension]
            more = f", and {len(names) - 20} more" if len(names) > 20 else ""
            exceptions.append(
                f"The destination lacks the extension {extension.tag}. Not restored, because they need it: "
                f"{'; '.join(names[:20]) or 'nothing else'}{more}."
            )
    return lost, exceptions


def _without_role(source: Source, destination: Destination) -> Callable[[TocEntry], str | None]:
    """Return a function that tells which roles an entry names that the destination lacks."""
    absent = set(source.content.roles) - destination.roles
    policy_roles = source.content.policy_roles

    def missing(entry: TocEntry) -> str | None:
        if entry.description == "USER MAPPING":
            return _user_of(entry, absent)
        roles = policy_roles.get(entry.oid, ()) if entry.description == "POLICY" else ()
        return ", ".join(sorted(set(roles) - destination.roles)) or None

    return missing


def _user_of(mapping: TocEntry, roles: set[str]) -> str | None:
    """Return which of the roles a user mapping is for: its tag is `USER MAPPING <role> SERVER <server>`."""
    return next((role for role in sorted(roles) if mapping.tag.startswith(f"USER MAPPING {role} SERVER ")), None)
