"""What a restore starts from, and what of it the destination can take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from coffre.model.backup import Backup, Status
from coffre.model.errors import BackupStateError, DestinationError, IntegrityError
from coffre.model.manifest import Entry, EntryKind, Manifest
from coffre.operations.runner import Runner
from coffre.postgres.archive import TocEntry, read_archive
from coffre.postgres.connect import Connection
from coffre.postgres.destination import Destination
from coffre.postgres.toc import is_of_database, split_toc
from coffre.postgres.tools import Children, PostgresTools
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault


@dataclass(frozen=True)
class Job:
    """What a restore needs: from where, to where, with what, and how wide."""

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


@dataclass(frozen=True)
class Source:
    """A checked backup: its manifest, what opens its frames, its schema archive on disk, its table of contents."""

    manifest: Manifest
    decoder: FrameDecoder
    archive: Path
    large_objects: Entry | None
    toc: tuple[TocEntry, ...]

    def read(self, job: Job, entry: Entry) -> Iterator[bytes]:
        """Yield the checked plaintext of an entry, until the run is stopped."""
        for chunk in job.vault.read_entry(entry, self.decoder):
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
    if EntryKind.SCHEMA not in found:
        raise IntegrityError(
            f"The backup {job.backup.id} has no schema archive.",
            code="ENTRIES_DAMAGED",
            hint="This backup cannot be trusted. Restore an older one (`coffre list`).",
        )
    archive = job.scratch / "schema.dump"
    with archive.open("wb") as file:
        file.writelines(job.vault.read_entry(found[EntryKind.SCHEMA], decoder))
    with archive.open("rb") as file:
        toc = read_archive(file).entries
    return Source(manifest, decoder, archive, found.get(EntryKind.LARGE_OBJECTS), toc)


def refuse_missing_extensions(source: Source, destination: Destination) -> None:
    wanted = {entry.tag for entry in source.toc if entry.description == "EXTENSION"}
    missing = sorted(wanted - destination.extensions_available)
    if missing:
        raise DestinationError(
            f"The destination {destination.connection} lacks the extension(s) {', '.join(missing)}.",
            code="EXTENSION_MISSING",
            hint="Install them at the destination's server, or restore to a server that has them.",
        )


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


def choose_lines(source: Source, destination: Destination) -> tuple[list[TocEntry], list[str]]:
    """Return the lines to restore, and a sentence for each that is left out."""
    kept, left_out = split_toc(source.toc, destination.capabilities)
    exceptions = [f"Not restored: {item.entry.shown}: {item.reason}." for item in left_out]
    if any(is_of_database(entry) for entry in kept):
        # They would come with `pg_restore --create` only, which also gives the database its old name.
        exceptions.append(
            "Not restored: settings (ALTER DATABASE ... SET), comment and rights of the database itself. "
            "The backup has them: docs/format tells how to read its schema archive."
        )
    absent = set(source.manifest.content.roles) - destination.roles
    chosen = []
    for entry in kept:
        if entry.description == "DATABASE" or is_of_database(entry):
            continue
        roles = source.manifest.content.policy_roles.get(entry.oid, ()) if entry.description == "POLICY" else ()
        missing = sorted(set(roles) - destination.roles)
        if missing:
            exceptions.append(f"Not restored: {entry.shown}: the destination lacks {', '.join(missing)}.")
        elif entry.description == "SCHEMA" and entry.tag in destination.schemas:
            continue  # pg_dump writes CREATE SCHEMA public when the schema was asked for by name
        elif entry.description == "USER MAPPING" and (user := _user_of(entry, absent)) is not None:
            exceptions.append(f"Not restored: {entry.shown}: the destination lacks {user}.")
        else:
            chosen.append(entry)
    return chosen, exceptions


def _user_of(mapping: TocEntry, roles: set[str]) -> str | None:
    """Return which of the roles a user mapping is for: its tag is `USER MAPPING <role> SERVER <server>`."""
    return next((role for role in sorted(roles) if mapping.tag.startswith(f"USER MAPPING {role} SERVER ")), None)
