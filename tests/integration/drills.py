"""What tests of drills share: one scratch server for many of them, and an insider who changes backups."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from tests.integration.conftest import Coffre

from coffre.model.backup import Backup, Status
from coffre.model.drill_report import DrillReport
from coffre.model.manifest import Entry, EntryKind, Manifest
from coffre.operations.drill import database as drill
from coffre.postgres.connection.client_tools import PostgresTools
from coffre.postgres.scratch.roles import drop_database
from coffre.postgres.scratch.server import ScratchServer
from coffre.vault.codec import FrameDecoder, FrameEncoder
from coffre.vault.entry_lines import write_lines
from coffre.vault.layout import manifest_key
from coffre.vault.reports import DrillReports
from coffre.vault.vault import Vault

type Change = Callable[[bytes], bytes]


def share_server(patch: pytest.MonkeyPatch, server: ScratchServer) -> None:
    """Let drills use a server that is there already: starting one takes longer than most drills."""

    @contextmanager
    def there(_: PostgresTools) -> Iterator[ScratchServer]:
        try:
            yield server
        finally:
            drop_database(server, "drill")

    patch.setattr(drill, "scratch_server", there)


def report_of(coffre: Coffre, backup: Backup) -> DrillReport:
    """The report of the newest drill of a backup."""
    found = DrillReports(coffre.drill_function().services.vault.store).newest(backup.target, backup.id)
    assert found is not None
    return found


@dataclass
class Insider:
    """Somebody who can write to the vault and, as far as `adapts` says, hides what he does.

    A changed slice is encrypted and hashed anew, and the list of entries with it; `adapts` are names of what he changes
    too: `entry` and `table` (their numbers of rows and bytes), `manifest` (the sums), `sha256` and `catalog` (the
    manifest's hash, and the sums, in the catalog).
    """

    coffre: Coffre
    backup: Backup
    scratch: Path
    adapts: frozenset[str]

    @property
    def _vault(self) -> Vault:
        return self.coffre.backup_function().services.vault

    def change(self, table: str, change: Change) -> None:
        """Change the rows of the first slice of a table."""
        found = self._vault.find_manifest(self.backup.target, self.backup.id)
        assert found is not None
        manifest = found[0]
        entries = list(self._vault.entries(manifest))
        robbed = next(one for one in entries if one.kind is EntryKind.TABLE and one.name.startswith(f"tables/{table}/"))
        decoder = FrameDecoder([self.coffre.identity])
        before = b"".join(self._vault.read_entry(robbed, decoder))
        after = change(before)
        forged = self._forged(robbed, after, manifest)
        rows, size = after.count(b"\n") - before.count(b"\n"), len(after) - len(before)
        forged = self._adapted("entry", forged, rows=(robbed.rows or 0) + rows)
        lines = self.scratch / "forged"
        write_lines([forged if one is robbed else one for one in entries], lines)
        self._vault.store.delete(manifest.entries[0].key)  # nothing is written over another object
        file, _ = self._vault.write_entries(manifest.target, manifest.backup_id, [lines], self.scratch)
        manifest = manifest.model_copy(update={"entries": (file,), **self._sums(manifest, robbed, rows, size)})
        self._commit(manifest)

    def _forged(self, entry: Entry, body: bytes, manifest: Manifest) -> Entry:
        sha256 = hashlib.sha256(body).hexdigest()
        with self._vault.pack_writer(self.backup.id, 999_999, FrameEncoder(manifest.recipients)) as packs:
            frame = packs.append(body, sha256)
        return entry.model_copy(update={"size": len(body), "sha256": sha256, "frames": (frame,), "start": 0})

    def _sums(self, manifest: Manifest, robbed: Entry, rows: int, size: int) -> Mapping[str, Any]:
        assert robbed.relation is not None
        name = robbed.relation.relation_name
        tables = tuple(
            self._adapted("table", table, rows=table.rows + rows, size=table.size + size)
            if table.table_name == name
            else table
            for table in manifest.database.tables
        )
        sums = {"rows": manifest.rows + rows, "plaintext_bytes": manifest.plaintext_bytes + size}
        content = manifest.database.model_copy(update={"tables": tables})
        return {"content": content, **(sums if "manifest" in self.adapts else {})}

    def _adapted[T: BaseModel](self, what: str, record: T, **changes: int) -> T:
        return record.model_copy(update=changes) if what in self.adapts else record

    def _commit(self, manifest: Manifest) -> None:
        def announce(made: Any) -> None:
            fields: dict[str, Any] = {"manifest_sha256": made.sha256} if "sha256" in self.adapts else {}
            if "catalog" in self.adapts:
                fields |= {"rows": manifest.rows, "plaintext_bytes": manifest.plaintext_bytes}
            if fields:
                self.coffre.catalog._backups.change(self.backup.id, fields, allowed=(Status.COMPLETED,))

        self._vault.store.delete(manifest_key(manifest.target, manifest.backup_id))
        self._vault.commit(manifest, announce)


def without_row(beginning: bytes) -> Change:
    """Return a change that takes away the first row that begins so."""

    def change(rows: bytes) -> bytes:
        lines = rows.splitlines(keepends=True)
        lost = next(place for place, line in enumerate(lines) if line.startswith(beginning))
        return b"".join(lines[:lost] + lines[lost + 1 :])

    return change
