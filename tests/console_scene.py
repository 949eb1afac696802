"""A deployment for tests of the console: a catalog in a played AWS, a vault in a directory, functions that note."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import boto3
from tests.catalog_table import create
from tests.synthetic import manifest_of
from ulid import ULID

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Failure, Status, Tier
from coffre.model.configuration import Configuration
from coffre.model.kinds import TargetKind
from coffre.model.manifest import (
    BucketSummary,
    EntriesFile,
    Entry,
    EntryKind,
    JournalBase,
    ObjectFacts,
    StorageContent,
)
from coffre.operations.status.schedules import read_schedule
from coffre.operations.stored_backup.catalog_record import completed
from coffre.policy.prices import prices_of
from coffre.runtime.server_databases import with_databases
from coffre.stores.directory import DirectoryStore
from coffre.stores.store import put_small
from coffre.vault.entry_lines import write_lines
from coffre.vault.vault import Vault
from coffre_console.reading.source import Source

NOW = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
TABLES = {"orders": b"1\ta\n2\tb\n", "customers": b"1\tx\n"}


@dataclass
class ConsoleScene:
    """One deployment, with the targets `shop` and `billing`."""

    root: Path
    catalog: Catalog
    now: datetime = NOW
    document: dict[str, Any] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def make(cls, root: Path) -> ConsoleScene:
        """Make an empty one; the caller has started moto."""
        catalog = Catalog("catalog", now=lambda: NOW, origin="console, eu-west-3")
        create(catalog._table)
        (root / "vault").mkdir()
        targets = [{"name": name, "secret": f"coffre/database/{name}"} for name in ("shop", "billing")]
        return cls(root, catalog, document={"encryption": "none", "targets": targets})

    @property
    def vault(self) -> Vault:
        return Vault(DirectoryStore(self.root / "vault"))

    @property
    def configuration(self) -> Configuration:
        """What is in effect, with the databases that were found on servers."""
        return with_databases(Configuration.model_validate(self.document), self.catalog)

    @property
    def source(self) -> Source:
        return Source(
            catalog=self.catalog,
            configuration=lambda: self.configuration,
            open_vault=lambda: self.vault,
            schedule=partial(read_schedule, boto3.client("events")),
            rules={},
            prices=prices_of("eu-west-3"),
            now=self.now,
        )

    def begin(self, hours_ago: float, *, target: str = "shop", tier: Tier = Tier.DAILY, **fields: Any) -> Backup:
        """Record a backup that begins."""
        created_at = self.now - timedelta(hours=hours_ago)
        backup = Backup(
            id=fields.pop("id", str(ULID.from_datetime(created_at))),
            target=target,
            tiers=(tier,),
            status=Status.IN_PROGRESS,
            created_at=created_at,
            started_at=created_at,
            heartbeat_at=fields.pop("heartbeat_at", created_at),
            **fields,
        )
        self.catalog.create_backup(backup)
        return backup

    def backup(
        self,
        hours_ago: float,
        *,
        target: str = "shop",
        verified: bool = True,
        tables: Mapping[str, bytes] = TABLES,
        journal: JournalBase | None = None,
    ) -> Backup:
        """Leave a completed backup of tables."""
        backup = self.begin(hours_ago, target=target)
        key = f"v1/backups/{target}/{backup.id}/entries.jsonl.zst"
        sha256 = put_small(self.vault.store, key, b"x" * 100)
        entries = EntriesFile(key=key, sha256=sha256, length=100, count=0)
        manifest = manifest_of(backup, tables, entries, (), ())
        manifest = manifest.model_copy(update={"content": manifest.content.model_copy(update={"journal": journal})})
        committed = self.vault.commit(
            manifest, lambda made: self.catalog.announce_manifest(backup.id, made.key, made.sha256)
        )
        done = self.catalog.complete_backup(completed(backup, manifest, committed))
        if not verified:
            return done
        self.vault.mark_verified(target, backup.id, str(ULID.from_datetime(self.now)), self.now)
        return self.catalog.keeping.mark_verified(done.id, self.now)

    def bucket_backup(self, hours_ago: float, keys: Mapping[str, int], *, target: str = "files") -> Backup:
        """Leave a completed backup of the bucket `docs` with these objects and their sizes; their bytes are nowhere."""
        backup = self.begin(hours_ago, target=target, kind=TargetKind.BUCKET)
        listed = self.root / f"entries-{backup.id}"
        entries = [
            Entry(name=f"docs/{key}", kind=EntryKind.OBJECT, size=size, sha256=f"{size:064x}", object=ObjectFacts())
            for key, size in sorted(keys.items())
        ]
        write_lines(entries, listed)
        files, _ = self.vault.write_entries(target, backup.id, [listed], self.root)
        bucket = BucketSummary(name="docs", objects=len(keys), size=sum(keys.values()))
        manifest = manifest_of(backup, {}, files, (), ()).model_copy(
            update={
                "kind": TargetKind.BUCKET,
                "content": StorageContent(buckets=(bucket,), objects=len(keys), added=len(keys), changed=0, removed=0),
            }
        )
        committed = self.vault.commit(
            manifest, lambda made: self.catalog.announce_manifest(backup.id, made.key, made.sha256)
        )
        return self.catalog.complete_backup(completed(backup, manifest, committed))

    def failed(self, hours_ago: float, *, target: str = "shop", message: str = "It broke.") -> Backup:
        """Leave a backup that failed."""
        backup = self.begin(hours_ago, target=target)
        return self.catalog.fail_backup(backup.id, Failure(code="DUMP_FAILED", message=message), self.now)


@dataclass
class NotedFunctions:
    """Stands for Lambda: notes what is invoked, and answers what a test has given."""

    answers: dict[str, Any] = field(default_factory=dict)
    invoked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def invoke(self, **asked: Any) -> Mapping[str, Any]:
        """As boto3's client of Lambda does."""
        event, name = json.loads(asked["Payload"]), asked["FunctionName"]
        self.invoked.append((name, asked["InvocationType"], event))
        if asked["InvocationType"] == "Event":
            return {"StatusCode": 202}
        answer = self.answers.get(name, {})
        body = json.dumps(answer(event) if callable(answer) else answer).encode()
        is_error = b'"errorMessage"' in body
        return {"StatusCode": 200, "Payload": _Body(body), **({"FunctionError": "Unhandled"} if is_error else {})}


@dataclass
class _Body:
    body: bytes

    def read(self) -> bytes:
        return self.body
