"""What a restore starts from, and what of it the destination can take."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from coffre.model.backup import Backup
from coffre.model.confirmation import Facts, Plan
from coffre.model.errors import IntegrityError
from coffre.model.journal import JournalState
from coffre.model.journal_proof import JournalProof
from coffre.model.manifest import DatabaseContent, Entry, EntryKind, Manifest
from coffre.model.names import TableName
from coffre.model.provider import Provider
from coffre.model.restore import Scope
from coffre.model.restore_report import RestoreReport
from coffre.model.safety import Safety
from coffre.operations.runs.parallel_map import Runner
from coffre.operations.stored_backup.open_backup import open_manifest
from coffre.policy.confirmation import refuse_plan
from coffre.policy.moments import Chosen
from coffre.policy.spread import Shape
from coffre.postgres.archive.reader import TocEntry, read_archive
from coffre.postgres.archive.toc import in_unicode
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.destination import marks
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault

_LOOK_SECONDS: Final = 0.5
# Less is restored again in the time that it takes to look for what is done.
MARKED_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True)
class Confirmed:
    """What was confirmed: the state of the destination then, and the tables in it that may change (None: all)."""

    facts: Facts
    tables: tuple[TableName, ...] | None


@dataclass
class Sharing:
    """Whether several invocations load the rows of a restore together (docs/adr/0059).

    `divide` gets the bytes of rows that are left, and how many connections the server has free, and returns how they
    are divided, and why; None: they are not. `is_demanded`: however few they are. `begun` is the id of the load, and
    how it is divided, once it is.
    """

    divide: Callable[[int, int], tuple[Shape, str] | None]
    is_demanded: bool = False
    begun: tuple[str, Shape] | None = None


@dataclass(frozen=True)
class RestoreJob:
    """What a restore needs: from where, to where, with what, and how wide. `in_order` is for drills, which compare.

    `remaining_seconds` says how much time the run has. `consent` gets the plan of what would be overwritten, and raises
    unless that is confirmed; `confirmed` is what it was.
    `safety` is about the backup of what is overwritten.
    `is_resumable` says that another attempt with the same `restore_id` can continue it: it marks
    what is done, and begins nothing more when less than `late_seconds` remain. `continues` says that an earlier attempt
    was confirmed.
    `sharing` says whether other invocations load its rows; None: none can.
    `journal` is what the catalog knows of the target's journal: without it, its last segment is the last moment.
    `proofs` are what drills have proven of it; None: that cannot be read.
    `on_whole` gets the report when all of a whole database is done but the removal of its mark.
    `provider` is whose server the destination is; `settings` are what each session at it sets; `marks_schema` is where
    it keeps the marks.
    """

    restore_id: str
    backup: Backup
    connection: Connection
    children: Children
    vault: Vault
    decoder: FrameDecoder
    scratch: Path
    streams: int
    runner: Runner
    scope: Scope = field(default_factory=Scope)
    in_order: bool = False
    is_resumable: bool = False
    late_seconds: float = 0.0
    continues: bool = False
    safety: Safety | None = None
    sharing: Sharing | None = None
    journal: JournalState | None = None
    proofs: tuple[JournalProof, ...] | None = ()
    remaining_seconds: Callable[[], float] = field(default=lambda: math.inf)
    consent: Callable[[Plan], Plan] = refuse_plan
    confirmed: Confirmed | None = None
    on_whole: Callable[[RestoreReport], None] = lambda _: None
    provider: Provider = "auto"
    settings: Mapping[str, str] = MappingProxyType({})
    marks_schema: str = marks.SCHEMA

    @property
    def owner_id(self) -> str:
        """Whose mark the destination has, and whose sessions: those of the earlier restore that this one continues."""
        return self.scope.resume or self.restore_id

    @property
    def leaves_damage_out(self) -> bool:
        """Whether damaged bytes cost only what they are of. A drill exists to find them."""
        return not (self.scope.strict or self.in_order)

    def is_late(self, needed_seconds: float = 0.0) -> bool:
        """Whether nothing more is begun that takes so long, because the next attempt continues."""
        return self.is_resumable and self.remaining_seconds() < self.late_seconds + needed_seconds

    def in_time[T](self, items: Iterable[T]) -> Iterator[T]:
        """Yield items until it is late; `check_time` then says so."""
        for item in items:
            if self.is_late():
                return
            yield item

    def check_time(self, needed_seconds: float = 0.0) -> None:
        """Pause when it is late for what takes so long, and raise then, or when the run is being stopped.

        Raises
        ------
        DumpTransientError
            Code `STOPPED`
        """
        if self.is_late(needed_seconds):
            self.children.pause()
        self.children.check()

    @contextmanager
    def pausing(self) -> Iterator[None]:
        """Pause the block when half of `late_seconds` is left: what was begun by then did not end in time."""
        if not self.is_resumable:
            yield
            return
        over = threading.Event()

        def look() -> None:
            while not over.wait(_LOOK_SECONDS):
                if self.remaining_seconds() < self.late_seconds / 2:
                    self.children.pause()
                    return

        thread = threading.Thread(target=look, name="pause", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@dataclass(frozen=True)
class Source:
    """A checked backup: its manifest, what opens its frames, its schema archive on disk, its table of contents.

    A backup of rows alone has no archive, and an empty table of contents. `chosen` is what is applied to it to reach a
    moment; None: it is restored as it is.
    """

    manifest: Manifest
    decoder: FrameDecoder
    archive: Path
    large_objects: Entry | None
    toc: tuple[TocEntry, ...]
    chosen: Chosen[str] | None = None

    @property
    def content(self) -> DatabaseContent:
        """What the backup holds besides its entries."""
        return self.manifest.database

    @property
    def is_large(self) -> bool:
        """Whether it is worth it to mark what is done, for an attempt that continues."""
        objects = self.large_objects.size if self.large_objects is not None else 0
        return sum(table.size for table in self.content.tables) + objects >= MARKED_BYTES

    def read(self, job: RestoreJob, entry: Entry) -> Iterator[bytes]:
        """Yield the plaintext of an entry, until the run is stopped: checked when it ends without an error."""
        for chunk in job.vault.read_entry(entry, self.decoder, at_end=True):
            job.children.check()
            yield chunk


def is_marked(job: RestoreJob, source: Source) -> bool:
    """Whether a restore marks what it does: for an attempt that continues, or for those who share its rows."""
    if source.chosen is not None:
        return job.is_resumable
    return job.is_resumable and (source.is_large or (job.sharing is not None and job.sharing.is_demanded))


def open_source(job: RestoreJob) -> Source:
    """Check the chain from the catalog to the entries, and fetch the schema archive to disk."""
    manifest = open_manifest(job.vault, job.backup)
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
