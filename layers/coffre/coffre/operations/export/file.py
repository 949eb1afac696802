"""A whole backup, or a part of it, as one encrypted stream: the file of an export to download."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from coffre.model.backup import Backup
from coffre.model.errors import EventError
from coffre.model.export import ExportScope
from coffre.model.names import shown
from coffre.model.restore_report import RestoredTable
from coffre.model.storage import ObjectChoice
from coffre.operations.export.buckets import Exported, ObjectExporter
from coffre.operations.export.compress import zstd_file
from coffre.operations.export.database import Exporter
from coffre.operations.export.plan import ExportPlan, plan_export
from coffre.operations.runs.progress import Meter
from coffre.operations.stored_backup.open_backup import open_manifest
from coffre.postgres.archive.reader import Compression
from coffre.vault.age_stream import encrypt_stream
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault


@dataclass
class Written:
    """What is in the file. `exceptions` say in what it differs from the backup, `notes` what was left out by choice."""

    tables: tuple[RestoredTable, ...] = ()
    objects: int = 0
    exceptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class ExportFile:
    """Writes the file. `check` is called between pieces, and raises when the run has to end."""

    vault: Vault
    decoder: FrameDecoder
    backup: Backup
    scope: ExportScope
    recipients: Sequence[str]
    check: Callable[[], None]
    meter: Meter
    _began: dict[str, float] = field(default_factory=dict)

    def write(self, write: Callable[[bytes], object]) -> Written:
        """Write all of it, in constant memory; raises what reading raises, and `PATTERN_UNMATCHED`."""
        if problem := self.scope.problem_with(self.backup.kind):
            raise EventError(problem, code="EXPORT_KIND", hint="Nothing was exported.")
        return self._objects(write) if self.backup.kind.has_objects else self._database(write)

    def _database(self, write: Callable[[bytes], object]) -> Written:
        plan = plan_export(
            self.vault, self.decoder, self.backup, tables=self.scope.tables, compression=Compression.ZSTD
        )
        self.meter.begin("export", total_bytes=plan.size_bytes, total_tables=len(plan.tables))
        exporter = Exporter(self.vault, plan, self._progress)
        self._encrypt(exporter.custom() if self.scope.format == "custom" else exporter.plain(with_owners=True), write)
        return Written(
            tables=self._tables(plan),
            notes=tuple(
                f"Left out, as it needs something that is not in this file: {one.shown}" for one in plan.left_out
            ),
            exceptions=tuple(
                f"Left out, as only its extension can define it: {shown(table.schema_name, table.table_name)}"
                for table in plan.members
            ),
        )

    def _objects(self, write: Callable[[bytes], object]) -> Written:
        manifest, exported = open_manifest(self.vault, self.backup), Exported()
        self.meter.begin("export", total_bytes=None if self.scope.prefix else manifest.plaintext_bytes)
        decoder = self.decoder.of_recipients(manifest.recipients)
        choice = ObjectChoice(prefix=self.scope.prefix)
        tar = ObjectExporter(self.vault, manifest, decoder, choice, self._progress, exported).tar()
        with closing(tar):
            self._encrypt(zstd_file(tar), write)
        unread = tuple(f"Not in the backup, as it could not be read: {line}" for line in exported.unread)
        return Written(objects=exported.objects, exceptions=unread)

    def _encrypt(self, chunks: Generator[bytes], write: Callable[[bytes], object]) -> None:
        with closing(chunks):
            encrypt_stream(chunks, write, self.recipients)

    def _progress(self, size_bytes: int, current: str) -> None:
        self.check()
        is_table = not self.backup.kind.has_objects and current not in self._began
        if is_table:
            self._began[current] = time.monotonic()
        self.meter.add(size_bytes=size_bytes, tables=int(is_table), current=current)

    def _tables(self, plan: ExportPlan) -> tuple[RestoredTable, ...]:
        ends = [*self._began.values(), time.monotonic()][1:]
        took = {name: end - start for (name, start), end in zip(self._began.items(), ends, strict=True)}
        return tuple(
            RestoredTable(
                table=(name := shown(table.schema_name, table.table_name)),
                rows=table.rows,
                size_bytes=table.size,
                duration_ms=int(took.get(name, 0) * 1000),
            )
            for _, table in plan.tables.values()
        )
