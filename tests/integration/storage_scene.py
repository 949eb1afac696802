"""A vault on this disk and buckets on a real S3 server, with what a restore of objects needs."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.integration.bucket_backups import Object, keep_backup
from ulid import ULID

from coffre.buckets.writer import BucketWriter
from coffre.model.backup import Backup
from coffre.model.confirmation import Plan
from coffre.model.restore_report import RestoreReport
from coffre.model.storage import StorageResult, StorageScope, StorageState
from coffre.operations.restore_buckets.job import StorageJob
from coffre.operations.restore_buckets.restore import restore_storage
from coffre.operations.runs.progress import Meter
from coffre.stores.directory import DirectoryStore
from coffre.vault.codec import FrameDecoder, new_identity, public_key
from coffre.vault.vault import Vault

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_numbers = itertools.count(1)
IDENTITY = new_identity()


@dataclass
class Scene:
    """One vault, one store with buckets."""

    root: Path
    client: S3Client
    streams: int = 4
    remaining_seconds: Callable[[], float] = lambda: 900.0
    stop: threading.Event = field(default_factory=threading.Event)
    meter: Meter = field(default_factory=Meter)

    @property
    def vault(self) -> Vault:
        folder = self.root / "vault"
        folder.mkdir(exist_ok=True)
        return Vault(DirectoryStore(folder))

    def sending(self) -> Sending:
        """Return what stops the run when a number of parts was sent."""
        return Sending(self)

    @property
    def scratch(self) -> Path:
        folder = self.root / f"scratch-{next(_numbers)}"
        folder.mkdir()
        return folder

    def new_bucket(self) -> str:
        """Make an empty bucket."""
        name = f"bucket-{next(_numbers)}"
        self.client.create_bucket(Bucket=name)
        return name

    def backup(self, objects: Mapping[str, Object], **how: Any) -> Backup:
        """Store a backup of these objects, encrypted."""
        return keep_backup(self.vault, objects, self.scratch, recipients=[public_key(IDENTITY)], **how)

    def job(self, backup: Backup, restore_id: str | None = None, **scope: Any) -> StorageJob:
        return StorageJob(
            restore_id=restore_id or str(ULID()),
            backup=backup,
            vault=self.vault,
            decoder=FrameDecoder([IDENTITY]),
            scope=StorageScope.model_validate(scope),
            open_bucket=lambda name: BucketWriter(self.client, name, is_aws=False),
            store="here",
            store_secret=None,
            streams=self.streams,
            scratch=self.scratch,
            stop=self.stop,
            remaining_seconds=self.remaining_seconds,
            consent=lambda _: self._planned(backup, scope),
            continues=True,
        )

    def _planned(self, backup: Backup, scope: dict[str, Any]) -> Plan:
        """Return the plan of a dry run, as a person has confirmed it."""
        asked = {**scope, "dry_run": True}
        trial = replace(self.job(backup, **asked), remaining_seconds=lambda: 900.0, stop=threading.Event())
        report = restore_storage(trial, None, Meter())
        assert isinstance(report, RestoreReport)
        assert report.plan is not None
        return report.plan

    def restore(self, backup: Backup, **scope: Any) -> RestoreReport:
        """Restore in one invocation."""
        report = restore_storage(self.job(backup, **scope), None, self.meter)
        assert isinstance(report, RestoreReport)
        return report

    def result(self, backup: Backup, **scope: Any) -> StorageResult:
        """Restore in one invocation, and return what became of the objects."""
        result = self.restore(backup, **scope).storage
        assert result is not None
        return result

    def go_on(self, backup: Backup, state: StorageState | None, restore_id: str, **scope: Any) -> Any:
        """Do one invocation of a restore."""
        return restore_storage(self.job(backup, restore_id, **scope), state, self.meter)

    def put(self, bucket: str, key: str, body: bytes = b"", **attributes: Any) -> None:
        self.client.put_object(Bucket=bucket, Key=key, Body=body, **attributes)

    def contents(self, bucket: str) -> dict[str, bytes]:
        """Everything in a bucket."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return {key: self.client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


class Sending:
    """Stops a run of the scene when an upload has sent a number of parts."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._left: int | None = None
        scene.client.meta.events.register("before-call.s3.UploadPart", self._count)

    def stop_after(self, parts: int | None) -> None:
        self._scene.stop, self._left = threading.Event(), parts

    def _count(self, **_: Any) -> None:
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self._scene.stop.set()


def counts(result: StorageResult) -> dict[str, int]:
    """What became of how many objects, without those of which there are none."""
    kinds = ("restored", "overwritten", "same", "left", "failed", "deleted")
    return {kind: getattr(result, kind).count for kind in kinds if getattr(result, kind).count}
