"""Copies of a backup into another bucket: Coffre against `rclone copy` and `aws s3 sync`.

First all of it, then the next backup, which adds a hundredth. Both buckets are on one SeaweedFS server on this machine,
which shares its cores. Coffre is the data path of the function as a process of its own, interpreter start and imports
included; it hashes every pack and compares it with the manifest. The others copy objects, and know no backup. With
`--rate`, every connection to the server has this many bytes a second in each direction, as between two providers.

Two pairs: between two stores (`rclone copy` reads and writes, as Coffre does), and within one (`aws s3 sync` lets the
store copy, as Coffre does within AWS).
"""

from __future__ import annotations

import os
import random
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tests.contract.weed import OWNER, Weed
from ulid import ULID

from benchmarks.backup_storage import runs_here, variables
from benchmarks.harness import Contender, Sample, Surroundings, measure, median, progress
from benchmarks.link import open_link
from benchmarks.workbench import arguments_of, has_tool, job
from coffre.model.backup import Backup, Status, Tier
from coffre.model.kinds import TargetKind
from coffre.model.manifest import BucketSummary, EntriesFile, Manifest, PackReference, StorageContent
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.stores.store import put_small
from coffre.vault.layout import entries_key, pack_prefix
from coffre.vault.vault import Vault
from coffre_local.toolchain import Toolchain

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

SOURCE: Final = "vault"
STAGES: Final = ("first", "1 % added")
# Packs, and bytes of each.
SHAPES: Final = {"large": (100, 16 * 1024 * 1024), "small": (5_000, 64 * 1024)}
_COFFRE, _RCLONE, _AWS = "coffre copy", "rclone copy", "aws s3 sync"
_WITHIN = "coffre copy, within one S3"
_PAIRS: Final = ((_COFFRE, _RCLONE), (_WITHIN, _AWS))
_BEGAN: Final = datetime(2026, 11, 28, tzinfo=UTC)


@dataclass
class Bench:
    """A server with a vault, and a directory for the records of its backups."""

    client: S3Client
    endpoint: str
    directory: Path
    size: int
    packs: list[PackReference] = field(default_factory=list)
    records: list[Path] = field(default_factory=list)

    def add(self, packs: int) -> None:
        """Leave a backup that adds this number of packs to those of the one before."""
        store, backup_id = (
            S3Store(SOURCE, client=self.client),
            str(ULID.from_datetime(_BEGAN + timedelta(days=len(self.records)))),
        )

        def put(number: int) -> PackReference:
            key = f"{pack_prefix(backup_id, 1)}-{number:08x}-0000"
            sha256 = put_small(store, key, random.randbytes(self.size))
            return PackReference(key=key, length=self.size, sha256=sha256, live_bytes=self.size)

        with ThreadPoolExecutor(8) as pool:
            self.packs += pool.map(put, range(packs))
        entries = random.randbytes(100_000)
        key = entries_key("files", backup_id)
        file = EntriesFile(key=key, sha256=put_small(store, key, entries), length=len(entries), count=1)
        summary = BucketSummary(name="files", objects=1, size=1)
        manifest = Manifest(
            backup_id=backup_id,
            target="files",
            kind=TargetKind.BUCKET,
            tiers=(Tier.DAILY,),
            created_at=_BEGAN,
            completed_at=_BEGAN,
            encryption="none",
            entries=(file,),
            packs=tuple(self.packs),
            plaintext_bytes=1,
            stored_bytes=1,
            rows=0,
            content=StorageContent(buckets=(summary,), objects=1, added=1, changed=0, removed=0),
        )
        made = Vault(store).commit(manifest, lambda _: None)
        record = Backup(
            id=backup_id,
            target="files",
            tiers=(Tier.DAILY,),
            status=Status.COMPLETED,
            created_at=_BEGAN,
            manifest_key=made.key,
            manifest_sha256=made.sha256,
        )
        self.records.append(self.directory / f"{backup_id}.json")
        self.records[-1].write_text(record.model_dump_json())

    def contenders(self, number: int) -> list[Contender]:
        """Return what is compared, each with an empty bucket of this round's own."""
        to = {name: f"{name}-{number}" for name in ("coffre", "within", "rclone", "aws")}
        for bucket in to.values():
            self.client.create_bucket(Bucket=bucket)
        ours = job("copy_job", self.endpoint, SOURCE, to["coffre"], self.records[-1])
        within = job("copy_job", self.endpoint, SOURCE, to["within"], self.records[-1], "within")
        made = [Contender(_COFFRE, [ours], reports=True), Contender(_WITHIN, [within], reports=True)]
        if has_tool("rclone", "rclone"):
            (self.directory / "rclone.conf").write_text(
                f"[weed]\ntype = s3\nprovider = Other\naccess_key_id = {OWNER.access_key_id}\n"
                f"secret_access_key = {OWNER.secret_access_key}\nendpoint = {self.endpoint}\n"
                # Else the store copies by itself, as between two providers it cannot.
                "[other]\ntype = s3\nprovider = Other\nregion = us-east-1\nacl = private\n"
                f"access_key_id = {OWNER.access_key_id}\nsecret_access_key = {OWNER.secret_access_key}\n"
                f"endpoint = {self.endpoint.replace('127.0.0.1', 'localhost')}\n"
            )
            command = ["rclone", "copy", "--transfers=16", "--checkers=16", f"weed:{SOURCE}", f"other:{to['rclone']}"]
            made.append(Contender(_RCLONE, [command]))
        if runs_here("aws", "--version"):
            command = ["aws", "s3", "sync", "--only-show-errors", f"s3://{SOURCE}", f"s3://{to['aws']}"]
            made.append(Contender(_AWS, [command]))
        return made


def main() -> None:
    """Fill a vault and compare."""
    parser = arguments_of(__doc__)
    parser.add_argument("--rate", type=float, default=0, help="bytes a second of each connection; default: no limit")
    parser.add_argument("--shape", choices=SHAPES, action="append", help="which packs; default: both")
    arguments = parser.parse_args()
    for shape in arguments.shape or SHAPES:
        packs, size = SHAPES[shape]
        packs = max(int(packs * arguments.scale), 1)
        print(f"\n## {packs:,} packs of {size / 1024:,.0f} KiB\n")
        for stage, samples in compare(packs, size, arguments.runs, arguments.rate).items():
            show(stage, samples)


def compare(packs: int, size: int, runs: int, rate: float = 0) -> dict[str, dict[str, list[Sample]]]:
    """Measure both stages of every contender in turn, `runs` times round, each with a server of its own."""
    samples: dict[str, dict[str, list[Sample]]] = {stage: defaultdict(list) for stage in STAGES}
    for number in range(runs):
        with (
            ExitStack() as stack,
            Weed(Toolchain(on_step=progress).weed()) as server,
            tempfile.TemporaryDirectory(prefix="coffre-bench-") as made,
            closing(make_client(region="us-east-1", endpoint_url=server.endpoint_url, credentials=OWNER)) as client,
        ):
            endpoint = stack.enter_context(_linked(server.endpoint_url, rate))
            found = Bench(client, endpoint, Path(made), size)
            client.create_bucket(Bucket=SOURCE)
            around = Surroundings(variables(endpoint, found.directory), Path(os.devnull))
            found.add(packs)
            first = found.contenders(number)
            for stage in STAGES:
                if stage == STAGES[1]:
                    found.add(max(packs // 100, 1))
                    for place, (name, to) in enumerate(((_COFFRE, "coffre"), (_WITHIN, "within"))):
                        ours: list[object] = [found.endpoint, SOURCE, f"{to}-{number}", found.records[-1]]
                        ours += ["within"] if name == _WITHIN else []
                        first[place] = Contender(name, [job("copy_job", *ours)], reports=True)
                for contender in first:
                    sample = measure(contender, around)
                    samples[stage][contender.name].append(sample)
                    progress(f"  [{number + 1}/{runs}] {stage}: {contender.name}: {sample.wall:.2f} s")
    return samples


@contextmanager
def _linked(endpoint: str, rate: float) -> Iterator[str]:
    """Give out the address by which contenders reach a server."""
    if not rate:
        yield endpoint
        return
    with open_link(urlsplit(endpoint).port or 80, rate) as link:
        yield f"http://127.0.0.1:{link.port}"


def show(stage: str, samples: dict[str, list[Sample]]) -> None:
    """Print a stage's table, and the requests that Coffre counted at the destination."""
    base = median(samples[_COFFRE]).wall
    print(f"{stage}\n\n| what | wall s | Coffre's share of it | CPU s | peak memory MB |\n|---|---:|---:|---:|---:|")
    for name, taken in samples.items():
        found = median(taken)
        memory = f"{found.peak_rss / 1e6:.0f}"
        print(f"| {name} | {found.wall:.2f} | {base / found.wall:.2f} | {found.other_cpu:.1f} | {memory} |")
    told = samples[_COFFRE][-1].report
    print(f"\nCoffre sent {told['packs']} packs with {told['requests']} requests to the destination.")
    for ours, other in _PAIRS:
        if other in samples and stage == STAGES[0]:
            ratio = median(samples[ours]).wall / median(samples[other]).wall
            print(f"{ours} against {other}: goal at most 0.90; measured {ratio:.2f}")
    print()


if __name__ == "__main__":
    main()
