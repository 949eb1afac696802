"""Damage as it happens, and as an insider does it: each changes a vault (the last one the catalog too)."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup
from coffre.model.manifest import Entry, EntryKind, Frame, Manifest
from coffre.stores.store import Store
from coffre.vault.codec import FrameDecoder, FrameEncoder
from coffre.vault.entry_lines import write_lines
from coffre.vault.layout import manifest_key
from coffre.vault.vault import Vault


@dataclass(frozen=True)
class Corruptor:
    """Spoils one backup at a place that `chance` chooses. Each method returns what it did, in words."""

    catalog: Catalog
    vault: Vault
    backup: Backup
    chance: random.Random

    @property
    def manifest(self) -> Manifest:
        """The backup's manifest, as it is now."""
        found = self.vault.find_manifest(self.backup.target, self.backup.id)
        assert found is not None
        return found[0]

    def flip_a_byte(self) -> str:
        """Change one byte of a frame that the backup needs."""
        frame = self.chance.choice(self._frames())
        body = bytearray(self.vault.store.get(frame.pack))
        place = frame.offset + self.chance.randrange(frame.length)
        body[place] ^= self.chance.randrange(1, 256)
        _put(self.vault.store, frame.pack, bytes(body))
        return f"byte {place} of {frame.pack}"

    def truncate_a_pack(self) -> str:
        """Leave only the start of a pack."""
        pack = self.chance.choice(self.manifest.packs)
        body = self.vault.store.get(pack.key)
        left = self.chance.randrange(len(body))
        _put(self.vault.store, pack.key, body[:left])
        return f"{left} of {len(body)} bytes of {pack.key}"

    def lose_a_pack(self) -> str:
        """Delete a pack."""
        pack = self.chance.choice(self.manifest.packs)
        self.vault.store.delete(pack.key)
        return pack.key

    def swap_the_manifest(self) -> str:
        """Put another manifest, whole by itself, in the place of the backup's."""
        manifest = self.manifest
        dropped = self.chance.choice(manifest.packs)
        changes: list[dict[str, Any]] = [
            {"rows": manifest.rows - 1},
            {"packs": tuple(pack for pack in manifest.packs if pack != dropped)},
            {"exceptions": (f"nothing happened {self.chance.random()}",)},
            {"plaintext_bytes": manifest.plaintext_bytes + self.chance.randrange(1, 1000)},
            {"entries": tuple(file.model_copy(update={"sha256": "0" * 64}) for file in manifest.entries)},
        ]
        change = self.chance.choice(changes)
        body = manifest.model_copy(update=change).model_dump_json(indent=1).encode()
        _put(self.vault.store, str(self.backup.manifest_key), body)
        return f"{', '.join(change)} of the manifest"

    def lose_a_row(
        self, decoder: FrameDecoder, encoder: FrameEncoder, scratch: Path, *, adapt_counts: bool = False
    ) -> str:
        """Take one row out of one slice, as an insider with every right but the source's would.

        The slice is encrypted and hashed anew, entries file and manifest are adapted, and so is the SHA-256 in the
        catalog: every check of stored bytes passes. `adapt_counts` also takes the row out of the numbers.
        """
        manifest = self.manifest
        entries = list(self.vault.entries(manifest))
        slices = [entry for entry in entries if entry.kind is EntryKind.TABLE and entry.rows]
        robbed = self.chance.choice(slices)
        rows = b"".join(self.vault.read_entry(robbed, decoder)).splitlines(keepends=True)
        lost = self.chance.randrange(len(rows))
        body = b"".join(rows[:lost] + rows[lost + 1 :])
        forged, pack = self._forged(robbed, body, encoder, adapt_counts=adapt_counts)
        lines = scratch / "forged-entries"
        write_lines([forged if entry.name == robbed.name else entry for entry in entries], lines)
        self.vault.store.delete(manifest.entries[0].key)  # nothing is written over another object
        file, live = self.vault.write_entries(manifest.target, manifest.backup_id, [lines], scratch)
        packs = {one.key: one for one in (*manifest.packs, *pack)}
        changes: dict[str, Any] = {
            "entries": (file,),
            "packs": tuple(packs[key].model_copy(update={"live_bytes": size}) for key, size in sorted(live.items())),
        }
        if adapt_counts:
            changes |= _one_row_less(manifest, robbed)
        self._commit(manifest.model_copy(update=changes))
        return f"row {lost + 1} of {len(rows)} of {robbed.name}"

    def _forged(self, entry: Entry, body: bytes, encoder: FrameEncoder, *, adapt_counts: bool) -> tuple[Entry, Any]:
        sha256 = hashlib.sha256(body).hexdigest()
        with self.vault.pack_writer(self.backup.id, 999_999, encoder) as packs:
            frames = (packs.append(body, sha256),) if body else ()
        rows = (entry.rows or 0) - 1 if adapt_counts else entry.rows
        changes = {"size": len(body), "sha256": sha256, "frames": frames, "start": 0, "rows": rows}
        return entry.model_copy(update=changes), packs.packs

    def _commit(self, manifest: Manifest) -> None:
        def announce(made: Any) -> None:
            fields = {"manifest_sha256": made.sha256}
            self.catalog._backups.change(manifest.backup_id, fields, allowed=(self.backup.status,))

        self.vault.store.delete(manifest_key(manifest.target, manifest.backup_id))
        self.vault.commit(manifest, announce)

    def _frames(self) -> Sequence[Frame]:
        return sorted(
            {frame for entry in self.vault.entries(self.manifest) for frame in entry.frames},
            key=lambda frame: (frame.pack, frame.offset),
        )


def _one_row_less(manifest: Manifest, robbed: Entry) -> dict[str, Any]:
    relation = robbed.relation
    assert relation is not None
    tables = [
        table.model_copy(update={"rows": table.rows - 1})
        if (table.schema_name, table.table_name) == (relation.schema_name, relation.relation_name)
        else table
        for table in manifest.database.tables
    ]
    content = manifest.database.model_copy(update={"tables": tuple(tables)})
    return {"rows": manifest.rows - 1, "content": content}


def _put(store: Store, key: str, body: bytes) -> None:
    store.put(key, body, sha256=hashlib.sha256(body).hexdigest())


DAMAGES: Sequence[tuple[str, Callable[[Corruptor], str]]] = (
    ("one flipped byte", Corruptor.flip_a_byte),
    ("one truncated pack", Corruptor.truncate_a_pack),
    ("one missing pack", Corruptor.lose_a_pack),
    ("one swapped manifest", Corruptor.swap_the_manifest),
)
