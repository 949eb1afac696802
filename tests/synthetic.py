"""Whole backups without a database: real frames, packs, entries and manifests of made-up tables."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from ulid import ULID

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Status, Tier
from coffre.model.kinds import TargetKind
from coffre.model.manifest import (
    DatabaseContent,
    EntriesFile,
    Entry,
    EntryKind,
    Manifest,
    PackReference,
    RelationName,
    TableContent,
)
from coffre.operations.stored_backup.catalog_record import completed
from coffre.vault.codec import FrameEncoder
from coffre.vault.entries import EntryWriter
from coffre.vault.entry_lines import write_lines
from coffre.vault.history import open_history
from coffre.vault.vault import Vault

# Above what makes an entry solid, so that a large table has several frames.
_PIECE_BYTES = 140_000

type Tables = Mapping[str, bytes]


@dataclass(frozen=True)
class Writer:
    """Writes backups of `target` as the function `backup_database` leaves them; each table is one part."""

    catalog: Catalog
    vault: Vault
    scratch: Path
    recipients: tuple[str, ...]
    target: str = "shop"

    def backup(
        self, tables: Tables, created_at: datetime, previous: Backup | None = None, *tiers: Tier, **fields: object
    ) -> Backup:
        """Store a backup of these tables, pointing at what is unchanged since the previous one."""
        backup = Backup(
            id=str(ULID.from_datetime(created_at)),
            target=self.target,
            tiers=tiers or (Tier.DAILY,),
            status=Status.IN_PROGRESS,
            created_at=created_at,
            started_at=created_at,
            heartbeat_at=created_at,
        )
        self.catalog.create_backup(backup)
        names = sorted(tables)
        history = None
        if previous is not None:
            before = self.vault.read_manifest(previous.manifest_key or "", sha256=previous.manifest_sha256 or "")
            firsts = [(number, f"table:{name}#0000") for number, name in enumerate(names)]
            history = open_history(self.vault, before, firsts, self.scratch)
        stored: dict[str, PackReference] = dict(history.packs) if history else {}
        files = []
        for number, name in enumerate(names):
            entries, packs = self._part(backup, number, name, tables[name], history.known(number) if history else {})
            stored |= {pack.key: pack for pack in packs}
            files.append(self.scratch / f"entries-{number}")
            write_lines(entries, files[-1])
        return self._seal(backup, tables, files, stored)

    def _part(
        self, backup: Backup, number: int, name: str, rows: bytes, known: Mapping[str, Entry]
    ) -> tuple[list[Entry], list[PackReference]]:
        relation = RelationName(schema_name="public", relation_name=name)
        with self.vault.pack_writer(backup.id, number, FrameEncoder(self.recipients)) as packs:
            writer = EntryWriter(packs, known)
            for slice_number, piece in enumerate(slices_of(rows)):
                chunks = [piece[start : start + _PIECE_BYTES] for start in range(0, len(piece), _PIECE_BYTES)]
                writer.add(
                    f"table:{name}#{slice_number:04d}",
                    EntryKind.TABLE,
                    chunks,
                    relation=relation,
                    rows=partial(piece.count, b"\n"),
                )
            entries = writer.close()
        return entries, packs.packs

    def _seal(
        self, backup: Backup, tables: Tables, files: Sequence[Path], stored: Mapping[str, PackReference]
    ) -> Backup:
        entries, live = self.vault.write_entries(backup.target, backup.id, files, self.scratch)
        packs = [stored[key].model_copy(update={"live_bytes": size}) for key, size in sorted(live.items())]
        manifest = manifest_of(backup, tables, entries, packs, self.recipients)
        committed = self.vault.commit(
            manifest, lambda made: self.catalog.announce_manifest(backup.id, made.key, made.sha256)
        )
        return self.catalog.complete_backup(completed(backup, manifest, committed))


def manifest_of(
    backup: Backup,
    tables: Tables,
    entries: EntriesFile,
    packs: Sequence[PackReference],
    recipients: tuple[str, ...],
) -> Manifest:
    """Return the manifest of made-up tables."""
    content = [
        TableContent(
            oid=16384 + number,
            schema_name="public",
            table_name=name,
            columns=("id", "note"),
            rows=rows.count(b"\n"),
            size=len(rows),
        )
        for number, (name, rows) in enumerate(sorted(tables.items()))
    ]
    return Manifest(
        backup_id=backup.id,
        target=backup.target,
        kind=TargetKind.DATABASE,
        tiers=backup.tiers,
        created_at=backup.created_at,
        completed_at=backup.created_at,
        encryption="age" if recipients else "none",
        recipients=recipients,
        entries=(entries,),
        packs=tuple(packs),
        plaintext_bytes=sum(len(rows) for rows in tables.values()),
        stored_bytes=sum(pack.length for pack in packs if f"/{backup.id}/" in pack.key),
        rows=sum(table.rows for table in content),
        content=DatabaseContent(
            database="shop",
            encoding="UTF8",
            server_version="18.0",
            server_version_number=180000,
            client_version="18.0",
            snapshot="1",
            tables=tuple(content),
        ),
    )


def slices_of(rows: bytes) -> list[bytes]:
    """Cut a table into slices of whole rows, the first ones large and the last one small."""
    lines = rows.splitlines(keepends=True)
    cut = max(1, len(lines) * 2 // 3)
    return [b"".join(part) for part in (lines[:cut], lines[cut:]) if part]


def made_up_rows(seed: int, count: int) -> bytes:
    """Rows as COPY writes them, that do not compress well."""
    source = random.Random(seed)
    return b"".join(b"%d\t%s\n" % (number, source.randbytes(40).hex().encode()) for number in range(count))
