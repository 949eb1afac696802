"""Backups to copy, without a database: packs of random bytes, an entries file, a manifest, and the catalog's record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

from tests.faulty_store import FaultyStore
from ulid import ULID

from coffre.model.backup import Backup, Status, Tier
from coffre.model.kinds import TargetKind
from coffre.model.manifest import DatabaseContent, EntriesFile, Manifest, PackReference
from coffre.stores.body import sha256_of
from coffre.stores.store import put_small
from coffre.vault.layout import backup_prefix, entries_key, manifest_key, pack_prefix
from coffre.vault.vault import Vault

CONTENT = DatabaseContent(
    database="shop",
    encoding="UTF8",
    server_version="18.0",
    server_version_number=180000,
    client_version="18.0",
    snapshot="1",
    tables=(),
)
STARTED = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)


@dataclass
class Source:
    """A vault with backups, each of which shares the packs of the one before."""

    random: Random = field(default_factory=lambda: Random(1))
    store: FaultyStore = field(default_factory=FaultyStore)
    backups: list[Backup] = field(default_factory=list)

    @property
    def vault(self) -> Vault:
        return Vault(self.store)

    def backup(self, packs: int = 3, *, target: str = "shop", size: int = 100) -> Backup:
        """Leave a backup with this number of packs of its own."""
        backup_id = str(ULID.from_datetime(STARTED.replace(minute=len(self.backups) % 60)))
        known = self.manifest(self.backups[-1]).packs if self.backups else ()
        own = tuple(self._pack(backup_id, number, size) for number in range(packs))
        entries = self.random.randbytes(50)
        key = entries_key(target, backup_id)
        manifest = Manifest(
            backup_id=backup_id,
            target=target,
            kind=TargetKind.DATABASE,
            tiers=(Tier.DAILY,),
            created_at=STARTED,
            completed_at=STARTED,
            encryption="none",
            entries=(EntriesFile(key=key, sha256=put_small(self.store, key, entries), length=50, count=1),),
            packs=(*known, *own),
            plaintext_bytes=1,
            stored_bytes=1,
            rows=0,
            content=CONTENT,
        )
        committed = self.vault.commit(manifest, lambda _: None)
        backup = Backup(
            id=backup_id,
            target=target,
            tiers=(Tier.DAILY,),
            status=Status.COMPLETED,
            created_at=STARTED,
            manifest_key=committed.key,
            manifest_sha256=committed.sha256,
        )
        self.backups.append(backup)
        return backup

    def manifest(self, backup: Backup) -> Manifest:
        found = self.vault.find_manifest(backup.target, backup.id)
        assert found is not None
        return found[0]

    def _pack(self, backup_id: str, number: int, size: int) -> PackReference:
        key = f"{pack_prefix(backup_id, number)}-{self.random.getrandbits(32):08x}-0000"
        body = self.random.randbytes(size)
        return PackReference(key=key, length=size, sha256=put_small(self.store, key, body), live_bytes=size)

    def everything_of(self, backup: Backup) -> Mapping[str, bytes]:
        """Return all that a copy of a backup consists of."""
        needed = {pack.key for pack in self.manifest(backup).packs}
        folder = f"{backup_prefix(backup.target, backup.id)}/"
        return {key: body for key, body in self.store.objects.items() if key in needed or key.startswith(folder)}


def lies(source: Source, destination: FaultyStore) -> list[str]:
    """Return what a destination claims to have and has not: manifests whose packs or entries are not all there."""
    found = []
    for backup in source.backups:
        if manifest_key(backup.target, backup.id) not in destination.objects:
            continue
        manifest = source.manifest(backup)
        needed = {
            **{one.key: one.sha256 for one in manifest.packs},
            **{one.key: one.sha256 for one in manifest.entries},
        }
        for key, sha256 in needed.items():
            body = destination.objects.get(key)
            if body is None or sha256_of(body) != sha256:
                found.append(key)
    return found
