"""Backups of buckets without functions around them: a store, a vault on this disk, and what a test looks at."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from tests.memory_store import MemoryStore
from ulid import ULID

from coffre.buckets.reader import BucketReader
from coffre.model.backup import Backup, Status, Tier
from coffre.model.bucket_target import BucketTarget
from coffre.model.kinds import TargetKind
from coffre.model.manifest import Entry, Manifest
from coffre.operations.backup_buckets.backup import backup_buckets
from coffre.operations.backup_buckets.job import BucketBackupJob, TimeBudget
from coffre.operations.backup_buckets.references import PointOfRun
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.parallel_map import ThreadRunner
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.run import Paused, Run, Spread
from coffre.operations.runs.unfinished_runs import UnfinishedRun
from coffre.operations.stored_backup.catalog_record import completed
from coffre.stores.directory import DirectoryStore
from coffre.stores.s3_wire import S3Wire
from coffre.vault.bucket_progress import BucketProgress, read_progress
from coffre.vault.codec import FrameDecoder, FrameEncoder, new_identity, public_key
from coffre.vault.entry_files import lists_as_packs
from coffre.vault.vault import Committed, Vault

_numbers = itertools.count(1)
IDENTITY = new_identity()
RECIPIENT = public_key(IDENTITY)


@dataclass
class Scene:
    """One target of buckets in one store, and one vault. `document` is the target's configuration."""

    root: Path
    store: MemoryStore | S3Wire
    document: dict[str, Any] = field(default_factory=dict)
    remaining: Callable[[], float] = lambda: 900.0
    patience: TimeBudget = field(default_factory=TimeBudget)
    has_acls: bool = False
    recipients: tuple[str, ...] = (RECIPIENT,)
    looked_at: int | None = None
    workers: int = 3
    meter: Meter = field(default_factory=Meter)
    last: Backup | None = None
    point: PointOfRun | None = None
    spread: Callable[[BucketBackupJob, Run, BucketProgress | None], Spread | None] = lambda _job, _run, _progress: None
    recorded: Callable[[int, str], None] | None = None
    unfinished: tuple[UnfinishedRun, ...] = ()
    went_on: list[int] = field(default_factory=list)

    @property
    def vault(self) -> Vault:
        folder = self.root / "vault"
        folder.mkdir(exist_ok=True)
        return Vault(DirectoryStore(folder))

    @property
    def target(self) -> BucketTarget:
        document = {"name": "files", "kind": "bucket", "buckets": [{"name": "photos"}], **self.document}
        return BucketTarget.model_validate(document)

    def begin(self) -> Backup:
        """Return the record of a run that begins."""
        now = datetime.now(UTC)
        return Backup(
            id=str(ULID.from_datetime(now)),
            target="files",
            kind=TargetKind.BUCKET,
            tiers=(Tier.MANUAL,),
            status=Status.IN_PROGRESS,
            created_at=now,
        )

    def invoke(self, backup: Backup, begun: BucketProgress | None = None) -> tuple[Manifest, Committed] | Paused:
        """Do one invocation's work."""
        made = self._invoke(backup, begun)
        assert not isinstance(made, Spread)
        return made

    def hand_over(self, backup: Backup) -> Spread:
        """Do the work of an invocation that gives the run, or the rest of it, to others."""
        made = self._invoke(backup, None)
        assert isinstance(made, Spread)
        return made

    def _invoke(self, backup: Backup, begun: BucketProgress | None) -> tuple[Manifest, Committed] | Paused | Spread:
        job = self.job(begun)
        self.meter = Meter()
        stop = self.store.stopping.set
        watch = Watch(self.meter, beat=lambda _: None, remaining_seconds=self.remaining, stop=stop)
        with watch:
            run = Run(backup, self.meter, watch, lambda: backup.tiers, lambda _: None, self.recorded)
            made = backup_buckets(job, run)
        if isinstance(made, Paused):
            made.start_next()
        return made

    def job(self, begun: BucketProgress | None = None) -> BucketBackupJob:
        """Return what an invocation works with."""
        self.store.stopping.clear()
        scratch = self.root / f"scratch-{next(_numbers)}"
        scratch.mkdir()
        job = BucketBackupJob(
            target=self.target,
            reader=BucketReader(cast("S3Wire", self.store), has_acls=self.has_acls),
            vault=self.vault,
            encoder=FrameEncoder(self.recipients),
            recipients=self.recipients,
            scratch=scratch,
            runner=ThreadRunner(self.workers, self.store.stopping.set),
            now=lambda: datetime.now(UTC),
            remaining_seconds=self.remaining,
            start_next=self.went_on.append,
            previous=self.last,
            begun=begun,
            time_budget=self.patience,
            looked_at=self.looked_at,
            point=self.point,
            unfinished=self.unfinished,
        )
        return replace(job, spread=lambda run, progress: self.spread(job, run, progress))

    def backup(self) -> Manifest:
        """Take a backup in one invocation."""
        backup = self.begin()
        made = self.invoke(backup)
        assert not isinstance(made, Paused)
        self.last = completed(backup, *made)
        return made[0]

    def backup_in_many(self) -> Manifest:
        """Take a backup in as many invocations as it wants."""
        backup = self.begin()
        made = self.invoke(backup)
        while isinstance(made, Paused):
            made = self.invoke(backup, read_progress(self.vault, "files", backup.id))
        self.last = completed(backup, *made)
        return made[0]

    def entries(self, manifest: Manifest) -> dict[str, Entry]:
        packs = {pack.key: pack.live_bytes for pack in manifest.packs if "/entries-" in pack.key}
        assert packs == lists_as_packs(manifest.entries)
        found = list(self.vault.entries(manifest))
        assert [entry.name for entry in found] == sorted({entry.name for entry in found})
        return {entry.name: entry for entry in found}

    def bodies(self, manifest: Manifest) -> dict[str, bytes]:
        """Read everything back, checked; without what could not be read."""
        decoder = FrameDecoder([IDENTITY])
        return {
            name: b"".join(self.vault.read_entry(entry, decoder))
            for name, entry in self.entries(manifest).items()
            if entry.object is not None and entry.object.unread is None
        }
