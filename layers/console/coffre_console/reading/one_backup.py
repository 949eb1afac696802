"""One backup: what is in it, where it is, when it was verified, and which drills it went through."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from ulid import ULID

from coffre.model.backup import Backup
from coffre.model.copies import Copy
from coffre.model.drill_report import DrillReport
from coffre.model.errors import CoffreError
from coffre.model.kinds import Status
from coffre.model.manifest import Manifest
from coffre.model.usage import Usage
from coffre.operations.stored_backup.read_copies import as_read
from coffre.policy.cost import estimated_usage
from coffre.stores.with_copies import VAULT
from coffre.vault.layout import marks_prefix, reports_prefix
from coffre_console.reading.source import Source

PARTS: Final = 1_000
_THREADS: Final = 6
_DRILLS: Final = 10
_ID: Final = r"([0-7][0-9A-HJKMNP-TV-Z]{25})"
_MARK: Final = re.compile(rf"/marks/verified-{_ID}\.json$")
_DRILL: Final = re.compile(rf"/reports/drill-{_ID}\.json$")
_FINDING: Final = re.compile(rf"/reports/damage-{_ID}\.json$")


@dataclass(frozen=True)
class Part:
    """A table, a bucket, a repository or a settings' source: its name as a person reads it. Bytes are plaintext."""

    name: str
    rows: int | None
    objects: int | None
    size_bytes: int


@dataclass(frozen=True)
class Event:
    """Something that happened to a backup: `verified`, `drilled` or `damage` (a finding, perhaps healed since)."""

    at: datetime
    what: str
    id: str


@dataclass(frozen=True)
class OneBackup:
    """Everything that is known of one backup.

    `parts` are the largest first, at most `PARTS`, of `parts_in_all`. `unread` says what could not be read, in
    sentences: a damaged manifest does not hide the record.
    """

    backup: Backup
    manifest: Manifest | None
    parts: tuple[Part, ...]
    parts_in_all: int
    history: tuple[Event, ...]
    drills: tuple[DrillReport, ...]
    copies: tuple[Copy, ...]
    usage: Usage | None
    unread: tuple[str, ...]


def one_backup(source: Source, backup: Backup) -> OneBackup:
    """Return what is known of a backup, from the catalog and the records next to its manifest."""
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="backup") as pool:
        manifest = pool.submit(_manifest, source, backup)
        history = pool.submit(lambda: tuple(_history(source, backup)))
        drills = pool.submit(_drills, source, backup)
        copies = pool.submit(_copies, source, backup)
        usage = pool.submit(_usage, source, backup)
        unread: list[str] = []

        def read[T](future: Future[T], otherwise: T) -> T:
            try:
                return future.result()
            except CoffreError as error:
                unread.append(f"{error.message} [{error.code}]")
                return otherwise

        opened = read(manifest, None)
        parts = parts_of(opened) if opened is not None else ()
        return OneBackup(
            backup=backup,
            manifest=opened,
            parts=parts[:PARTS],
            parts_in_all=len(parts),
            history=read(history, ()),
            drills=read(drills, ()),
            copies=read(copies, ()),
            usage=read(usage, None),
            unread=tuple(unread),
        )


def has_journal(source: Source, backup: Backup) -> bool:
    """Whether a backup can be the base of another moment."""
    try:
        return not backup.kind.has_objects and source.catalog.journals.find(backup.target) is not None
    except CoffreError:  # what is stored is in the vault
        return True


def parts_of_backup(source: Source, backup: Backup) -> tuple[Part, ...]:
    """Return the tables or buckets of a backup; none of one whose manifest cannot be read."""
    try:
        manifest = _manifest(source, backup)
    except CoffreError:
        return ()
    return parts_of(manifest) if manifest is not None else ()


def parts_of(manifest: Manifest) -> tuple[Part, ...]:
    """Return the tables or buckets of a backup, the largest first."""
    from coffre.model.names import shown

    if manifest.kind.has_objects:
        buckets = manifest.storage.buckets
        found = [Part(one.name, None, one.objects, one.size) for one in buckets]
    else:
        tables = manifest.database.tables
        found = [Part(shown(one.schema_name, one.table_name), one.rows, None, one.size) for one in tables]
    return tuple(sorted(found, key=lambda part: (-part.size_bytes, part.name)))


def _manifest(source: Source, backup: Backup) -> Manifest | None:
    from coffre.operations.stored_backup.open_backup import manifest_of

    if backup.status is not Status.COMPLETED or not (backup.manifest_key and backup.manifest_sha256):
        return None
    return manifest_of(source.vault, backup)


def _history(source: Source, backup: Backup) -> Iterator[Event]:
    """Yield what the names of marks and reports say, the newest first: nothing of them is opened."""
    found: list[Event] = []
    for prefix in (marks_prefix(backup.target, backup.id), reports_prefix(backup.target, backup.id)):
        for info in source.vault.store.list(prefix):
            for what, pattern in (("verified", _MARK), ("drilled", _DRILL), ("damage", _FINDING)):
                if match := pattern.search(info.key):
                    found.append(Event(ULID.from_str(match[1]).datetime.astimezone(UTC), what, match[1]))
    yield from sorted(found, key=lambda event: event.id, reverse=True)


def _drills(source: Source, backup: Backup) -> tuple[DrillReport, ...]:
    from coffre.vault.reports import DrillReports

    reports = DrillReports(source.vault.store)
    ids = (event.id for event in _history(source, backup) if event.what == "drilled")
    read = (reports.of(backup.target, backup.id, one) for one in islice(ids, _DRILLS))
    return tuple(report for report in read if report is not None)


def _copies(source: Source, backup: Backup) -> tuple[Copy, ...]:
    if backup.is_safety or backup.status is Status.FAILED:
        return ()
    found = (source.catalog.copies.find(one.name, backup.id) for one in source.configuration().copies)
    return tuple(copy for copy in found if copy is not None)


def _usage(source: Source, backup: Backup) -> Usage | None:
    used = source.catalog.usages.find(backup.id)
    if used is None and backup.duration_ms is not None:
        return estimated_usage(backup)
    return used


def sources_of(source: Source, backup: Backup) -> Sequence[str]:
    """Return from where a backup can be read; none: only from the vault."""
    copies = [
        one.name
        for one in source.configuration().copies_of(backup.target)
        if as_read(source.catalog, backup, one.name).status is Status.COMPLETED
    ]
    return [VAULT, *copies] if copies and backup.status is Status.COMPLETED else copies
