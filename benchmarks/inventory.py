"""The inventory of a large vault: requests, time and memory, by what it compares the checksums of.

The vault is a SeaweedFS server of our own with as many (tiny) packs as asked for, and backups that share most of them,
as incremental ones do. Time in AWS is another: a request takes S3 10 to 30 ms, of which a dozen are under way at once.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from tests.contract.weed import OWNER, Weed
from ulid import ULID

from benchmarks.harness import progress
from coffre.model.backup import Backup, Status, Tier
from coffre.model.kinds import TargetKind
from coffre.model.manifest import DatabaseContent, EntriesFile, Manifest, PackReference
from coffre.model.verification import Share
from coffre.operations.verify.inventory import inventory
from coffre.operations.verify.job import VerifyJob
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.vault.codec import FrameDecoder
from coffre.vault.layout import backup_prefix
from coffre.vault.vault import Vault
from coffre_local.toolchain import Toolchain

_NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
_BODY = b"x" * 64
_SHA256 = hashlib.sha256(_BODY).hexdigest()
_BUCKET = "inventory"
# Of the packs of the backup before, this part is not needed any more.
_TURNOVER = 0.02


@dataclass(frozen=True)
class Measured:
    """One inventory."""

    share: str
    seconds: float
    cpu_seconds: float
    memory: int
    packs: int
    checksums: int
    requests: dict[str, int]


class _Records:
    """What an inventory asks the catalog for."""

    def __init__(self, backups: Sequence[Backup]) -> None:
        self._backups = backups

    def backups(self) -> Iterator[Backup]:
        return iter(self._backups)


def main() -> None:
    """Fill a vault, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packs", type=int, default=100_000)
    parser.add_argument("--backups", type=int, default=20)
    arguments = parser.parse_args()
    with Weed(Toolchain().weed()) as weed:
        backups = _fill(weed.endpoint_url, arguments.packs, arguments.backups)
        print(f"{arguments.packs:,} packs, {arguments.backups} backups\n")
        print("| checksums compared | seconds | CPU s | peak memory MB | LIST | HEAD | GET |")
        print("|---|---:|---:|---:|---:|---:|---:|")
        for parts in (30, 1):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found = pool.apply(_measure, (weed.endpoint_url, backups, parts))
            asked = found.requests
            print(
                f"| {found.share} ({found.checksums:,}) | {found.seconds:.1f} | {found.cpu_seconds:.1f} "
                f"| {found.memory / 1e6:.0f} | {asked.get('ListObjectsV2', 0):,} | {asked.get('HeadObject', 0):,} "
                f"| {asked.get('GetObject', 0):,} |",
                flush=True,
            )


def _client(endpoint_url: str) -> Any:
    return make_client(region="us-east-1", endpoint_url=endpoint_url, credentials=OWNER)


def _fill(endpoint_url: str, packs: int, backups: int) -> list[Backup]:
    client = _client(endpoint_url)
    client.create_bucket(Bucket=_BUCKET)
    store = S3Store(_BUCKET, client=client)
    vault = Vault(store)
    # The first backup writes most; each later one replaces a little.
    each = int(packs * _TURNOVER)
    counts = [packs - each * (backups - 1), *[each] * (backups - 1)]
    living: list[PackReference] = []
    records = []
    for number, count in enumerate(counts):
        created_at = _NOW - timedelta(days=backups - number)
        backup_id = str(ULID.from_datetime(created_at))
        own = [_reference(backup_id, index) for index in range(count)]
        progress(f"backup {number + 1} of {backups}: {count:,} packs")
        with ThreadPoolExecutor(16) as pool:
            for _ in pool.map(lambda pack: store.put(pack.key, _BODY, sha256=_SHA256), own):
                pass
        living = [*living[each if number else 0 :], *own]
        records.append(_commit(vault, backup_id, created_at, living))
    return records


def _reference(backup_id: str, index: int) -> PackReference:
    key = f"v1/packs/{backup_id}/{index // 100:06d}-{index:08x}-{index % 100:04d}"
    return PackReference(key=key, length=len(_BODY), sha256=_SHA256, live_bytes=len(_BODY))


def _commit(vault: Vault, backup_id: str, created_at: datetime, packs: Iterable[PackReference]) -> Backup:
    key = f"{backup_prefix('shop', backup_id)}/entries.jsonl.zst"
    vault.store.put(key, _BODY, sha256=_SHA256)
    manifest = Manifest(
        backup_id=backup_id,
        target="shop",
        kind=TargetKind.DATABASE,
        tiers=(Tier.DAILY,),
        created_at=created_at,
        completed_at=created_at,
        encryption="none",
        entries=(EntriesFile(key=key, sha256=_SHA256, length=len(_BODY), count=0),),
        packs=tuple(packs),
        plaintext_bytes=0,
        stored_bytes=0,
        rows=0,
        content=DatabaseContent(
            database="shop",
            encoding="UTF8",
            server_version="18.0",
            server_version_number=180000,
            client_version="18.0",
            snapshot="1",
            tables=(),
        ),
    )
    committed = vault.commit(manifest, lambda _: None)
    return Backup(
        id=backup_id,
        target="shop",
        tiers=(Tier.DAILY,),
        status=Status.COMPLETED,
        created_at=created_at,
        manifest_key=committed.key,
        manifest_sha256=committed.sha256,
    )


def _measure(endpoint_url: str, backups: Sequence[Backup], parts: int) -> Measured:
    """Take an inventory in a process of its own, and count what it asks the store."""
    client = _client(endpoint_url)
    requests: Counter[str] = Counter()
    client.meta.events.register("before-send.s3", lambda event_name, **_: requests.update([event_name.split(".")[-1]]))
    with tempfile.TemporaryDirectory() as scratch:
        job = VerifyJob(
            id="benchmark",
            catalog=cast("Any", _Records(backups)),
            vault=Vault(S3Store(_BUCKET, client=client)),
            decoder=FrameDecoder(),
            scratch=Path(scratch),
            now=lambda: _NOW,
            remaining_seconds=lambda: 900.0,
        )
        began, cpu = time.perf_counter(), time.process_time()
        report = inventory(job, Share(parts=parts, day=0))
        took, spent = time.perf_counter() - began, time.process_time() - cpu
    if report.status != 200:
        sys.exit(f"the inventory found something: {report}")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Measured(report.share, took, spent, memory, report.packs.objects, report.checksums, dict(requests))


if __name__ == "__main__":
    main()
