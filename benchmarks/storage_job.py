"""One backup of buckets into a vault, as the function does it; the process that benchmarks measure.

Run as `python -m benchmarks.storage_job ENDPOINT BUCKETS VAULT [age|none]`: several buckets with commas between them;
the vault is a directory, or `s3:BUCKET` at the same endpoint. The access key is the environment's.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from ulid import ULID

from benchmarks.processes import peak_of_process
from coffre.buckets.client import make_bucket_client
from coffre.buckets.open_reader import open_reader
from coffre.buckets.reader import BucketReader
from coffre.model.backup import Backup, Status, Tier
from coffre.model.bucket_target import BucketSource, BucketTarget, ObjectStore
from coffre.model.kinds import TargetKind
from coffre.model.manifest import Manifest
from coffre.operations.backup_buckets.backup import backup_buckets
from coffre.operations.backup_buckets.job import WORKERS, BucketBackupJob
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.parallel_map import ThreadRunner
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.run import Paused, Run, Spread
from coffre.stores.directory import DirectoryStore
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import S3Credentials
from coffre.stores.store import Store
from coffre.vault.codec import FrameEncoder
from coffre.vault.vault import Vault

CREDENTIALS = S3Credentials(os.environ.get("AWS_ACCESS_KEY_ID", "-"), os.environ.get("AWS_SECRET_ACCESS_KEY", "-"))
TARGET = "files"
# Only ever a benchmark's key: its backups are thrown away.
RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


def vault_of(place: str, endpoint: str) -> Vault:
    """Return the vault in a directory, or in a bucket at the endpoint."""
    store: Store = DirectoryStore(Path(place))
    if place.startswith("s3:"):
        client = make_bucket_client(ObjectStore(endpoint=endpoint), CREDENTIALS, connections=4)
        store = S3Store(place.removeprefix("s3:"), client=client)
    return Vault(store)


def newest(vault: Vault) -> Backup | None:
    """Return the newest backup in the vault, as the catalog would know it."""
    keys = [info.key for info in vault.store.list(f"v1/backups/{TARGET}/") if info.key.endswith("/manifest.json")]
    if not keys:
        return None
    body = vault.store.get(keys[-1])
    manifest = Manifest.model_validate_json(body)
    return Backup(
        id=manifest.backup_id,
        target=TARGET,
        tiers=manifest.tiers,
        status=Status.COMPLETED,
        created_at=manifest.created_at,
        manifest_key=keys[-1],
        manifest_sha256=hashlib.sha256(body).hexdigest(),
    )


def run_backup(reader: BucketReader, target: BucketTarget, vault: Vault, *, encrypts: bool) -> Manifest:
    """Back up once and return the manifest."""
    now = datetime.now(UTC)
    recipients = (RECIPIENT,) if encrypts else ()
    backup = Backup(
        id=str(ULID.from_datetime(now)),
        target=TARGET,
        kind=TargetKind.BUCKET,
        tiers=(Tier.MANUAL,),
        status=Status.IN_PROGRESS,
        created_at=now,
    )
    meter = Meter()
    stopping = reader.wire.stopping
    watch = Watch(meter, beat=lambda _: None, remaining_seconds=lambda: 900.0, stop=stopping.set)
    with tempfile.TemporaryDirectory() as scratch, watch:
        job = BucketBackupJob(
            target=target,
            reader=reader,
            vault=vault,
            encoder=FrameEncoder(recipients, level=3),
            recipients=recipients,
            scratch=Path(scratch),
            runner=ThreadRunner(WORKERS, stopping.set),
            now=lambda: datetime.now(UTC),
            remaining_seconds=lambda: 900.0,
            start_next=lambda _: None,
            previous=newest(vault),
        )
        made = backup_buckets(job, Run(backup, meter, watch, lambda: backup.tiers, lambda _: None))
    if isinstance(made, Paused | Spread):
        raise SystemExit("it paused")
    return made[0]


def main(endpoint: str, buckets: str, place: str, encryption: str = "age") -> None:
    """Back up, pointing at what the vault has already; print what was stored and what it took."""
    began = time.perf_counter()
    target = BucketTarget(
        name=TARGET,
        kind=TargetKind.BUCKET,
        store=ObjectStore(endpoint=endpoint),
        buckets=tuple(BucketSource(name=name) for name in buckets.split(",")),
    )
    reader = open_reader(target, CREDENTIALS, stopping=threading.Event())
    manifest = run_backup(reader, target, vault_of(place, endpoint), encrypts=encryption == "age")
    usage = resource.getrusage(resource.RUSAGE_SELF)
    report = {
        "objects": manifest.storage.objects,
        "plaintext_bytes": manifest.plaintext_bytes,
        "stored_bytes": manifest.stored_bytes,
        "requests": manifest.storage.requests,
        "added": manifest.storage.added,
        "changed": manifest.storage.changed,
        "unread": manifest.storage.unread,
        "exceptions": manifest.exceptions[:3],
        "peak_rss": peak_of_process(),
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "seconds": time.perf_counter() - began,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
