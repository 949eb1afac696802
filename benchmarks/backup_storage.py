"""Backups of a bucket: Coffre against rclone (crypt), restic and `aws s3 sync`.

First, with nothing changed, and with 1 % changed. Source and destinations are buckets of one SeaweedFS server on this
machine, which shares its cores. Coffre is the data path of the function as a process of its own, interpreter start
and imports included, encrypted to one key. rclone encrypts and has 16 transfers; restic, which reads files only, gets a
local copy that rclone makes (both are measured); `aws s3 sync` copies without encryption and is a yardstick alone.
"""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.contract.weed import OWNER, Weed

from benchmarks.harness import Contender, Sample, Surroundings, measure, median, progress
from benchmarks.workbench import arguments_of, environment, has_tool, job
from coffre.stores.s3_client import make_client
from coffre_local.toolchain import Toolchain

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

SOURCE: Final = "source"
STAGES: Final = ("first", "nothing changed", "1 % changed")
_COFFRE: Final = "Coffre, age"
_RCLONE: Final = "rclone sync, crypt"
_RESTIC: Final = "rclone sync, restic"
_AWS: Final = "aws s3 sync (not encrypted)"
_PART_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True)
class Shape:
    """How many objects of which size; `huge` is the size of one more, in bytes."""

    small: int
    large: int
    huge: int

    def scaled(self, scale: float) -> Shape:
        """Return a part of it."""
        parts = int(self.huge // _PART_BYTES * scale)
        return Shape(int(self.small * scale), int(self.large * scale), parts * _PART_BYTES)

    @property
    def objects(self) -> int:
        return self.small + self.large + bool(self.huge)


SHAPES: Final = {
    "mixed": Shape(10_000, 200, 64 * _PART_BYTES),
    "many": Shape(100_000, 0, 0),
    "huge": Shape(0, 0, 192 * _PART_BYTES),
}


@dataclass(frozen=True)
class Bench:
    """A server with the source's bucket, and a directory."""

    client: S3Client
    endpoint: str
    directory: Path
    shape: Shape

    def fill(self) -> None:
        """Write the source's objects."""
        self.client.create_bucket(Bucket=SOURCE)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self.put_small, range(self.shape.small)))
            list(pool.map(self.put_large, range(self.shape.large)))
        if self.shape.huge:
            self._put_huge()

    def change(self) -> None:
        """Write one object of a hundred again."""
        for number in range(0, self.shape.small, 100):
            self.put_small(number)
        for number in range(0, self.shape.large, 100):
            self.put_large(number)

    def put_small(self, number: int) -> None:
        """Half of it does not compress."""
        body = random.randbytes(10_000) + b"some text in a file " * 500
        self.client.put_object(Bucket=SOURCE, Key=f"d{number % 50:02}/{number:06}.txt", Body=body)

    def put_large(self, number: int) -> None:
        """Nothing of it compresses."""
        self.client.put_object(Bucket=SOURCE, Key=f"films/{number:04}.mp4", Body=random.randbytes(10_000_000))

    def _put_huge(self) -> None:
        upload = self.client.create_multipart_upload(Bucket=SOURCE, Key="huge.tar")["UploadId"]
        etags = [
            self.client.upload_part(
                Bucket=SOURCE,
                Key="huge.tar",
                UploadId=upload,
                PartNumber=number,
                Body=random.randbytes(_PART_BYTES),
            )["ETag"]
            for number in range(1, self.shape.huge // _PART_BYTES + 1)
        ]
        parts: list[Any] = [{"ETag": etag, "PartNumber": number} for number, etag in enumerate(etags, 1)]
        self.client.complete_multipart_upload(
            Bucket=SOURCE,
            Key="huge.tar",
            UploadId=upload,
            MultipartUpload={"Parts": parts},
        )


def variables(endpoint: str, directory: Path) -> dict[str, str]:
    """Return the environment of all contenders: where the server is, keys, and no certificates of somebody else."""
    found = {name: value for name, value in environment().items() if name != "AWS_CA_BUNDLE"}
    found |= {"AWS_ACCESS_KEY_ID": OWNER.access_key_id, "AWS_SECRET_ACCESS_KEY": OWNER.secret_access_key}
    found |= {"MALLOC_ARENA_MAX": "2"}  # as template.yaml has it
    found |= {"AWS_ENDPOINT_URL_S3": endpoint, "AWS_DEFAULT_REGION": "us-east-1"}
    return found | {"RCLONE_CONFIG": str(directory / "rclone.conf")}


@contextmanager
def bench(shape: Shape) -> Iterator[Bench]:
    """Start a server, fill it, and clear it away."""
    with (
        Weed(Toolchain(on_step=progress).weed()) as server,
        tempfile.TemporaryDirectory(prefix="coffre-bench-") as made,
    ):
        client = make_client(region="us-east-1", endpoint_url=server.endpoint_url, credentials=OWNER)
        found = Bench(client, server.endpoint_url, Path(made), shape)
        progress(f"filling {shape.objects:,} objects")
        found.fill()
        yield found
        client.close()


def contenders(found: Bench, number: int) -> list[Contender]:
    """Return what is compared, each with empty destinations of this round's own."""
    buckets = {name: f"{name}-{number}" for name in ("vault", "crypt", "restic", "plain")}
    for bucket in buckets.values():
        found.client.create_bucket(Bucket=bucket)
    made = [Contender(_COFFRE, [job("storage_job", found.endpoint, SOURCE, f"s3:{buckets['vault']}")], reports=True)]
    if has_tool("rclone", "rclone"):
        _configure_rclone(found, buckets["crypt"])
        made.append(
            Contender(_RCLONE, [["rclone", "sync", "--transfers=16", "--checkers=16", "weed:source", "crypt:"]])
        )
    if has_tool("rclone", "rclone") and has_tool("restic", "restic"):
        made.append(_restic(found, buckets["restic"], found.directory / f"copy-{number}"))
    if runs_here("aws", "--version"):
        made.append(
            Contender(_AWS, [["aws", "s3", "sync", "--only-show-errors", f"s3://{SOURCE}", f"s3://{buckets['plain']}"]])
        )
    return made


def runs_here(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _configure_rclone(found: Bench, bucket: str) -> None:
    obscured = subprocess.run(["rclone", "obscure", "benchmark"], capture_output=True, text=True, check=True).stdout
    (found.directory / "rclone.conf").write_text(
        f"[weed]\ntype = s3\nprovider = Other\naccess_key_id = {OWNER.access_key_id}\n"
        f"secret_access_key = {OWNER.secret_access_key}\nendpoint = {found.endpoint}\n"
        f"[crypt]\ntype = crypt\nremote = weed:{bucket}\npassword = {obscured}\n"
    )


def _restic(found: Bench, bucket: str, copy: Path) -> Contender:
    repository = ["restic", "--quiet", "--no-cache", "--repo", f"s3:{found.endpoint}/{bucket}"]
    around = variables(found.endpoint, found.directory)
    subprocess.run([*repository, "init"], env=around, check=True, stdout=subprocess.DEVNULL)
    script = 'rclone sync --transfers=16 --checkers=16 weed:source "$1" && copy=$1 && shift && exec "$@" backup "$copy"'
    return Contender(_RESTIC, [["sh", "-c", script, "sh", str(copy), *repository]])


def _no_change() -> None:
    """Leave the source as it is."""


def run(found: Bench, runs: int, only: str) -> dict[str, dict[str, list[Sample]]]:
    """Measure every stage of every contender in turn, `runs` times round."""
    around = Surroundings(variables(found.endpoint, found.directory), Path(os.devnull))
    samples: dict[str, dict[str, list[Sample]]] = {stage: defaultdict(list) for stage in STAGES}
    before: dict[str, Callable[[], None]] = {STAGES[0]: _no_change, STAGES[1]: _no_change, STAGES[2]: found.change}
    for number in range(runs):
        chosen = [one for one in contenders(found, number) if only in one.name]
        for stage in STAGES:
            before[stage]()
            for contender in chosen:
                sample = measure(contender, around)
                samples[stage][contender.name].append(sample)
                progress(f"  [{number + 1}/{runs}] {stage}: {contender.name}: {sample.wall:.2f} s")
    return samples


def report(stage: str, samples: dict[str, list[Sample]]) -> None:
    """Print a stage's table, and the requests that Coffre counted."""
    base = median(samples[_COFFRE]).wall if _COFFRE in samples else 0.0
    print(f"\n{stage}\n\n| what | wall s | Coffre's share of it | CPU s | peak memory MB |\n|---|---:|---:|---:|---:|")
    for name, taken in samples.items():
        found = median(taken)
        share, memory = f"{base / found.wall:.2f}", f"{found.peak_rss / 1e6:.0f}"
        print(f"| {name} | {found.wall:.2f} | {share} | {found.other_cpu:.1f} | {memory} |")
    if _COFFRE in samples:
        told = samples[_COFFRE][-1].report
        print(f"\nCoffre's requests: {told['requests']}; stored {float(str(told['stored_bytes'])) / 1e6:.0f} MB")


def main() -> None:
    """Fill a bucket and compare."""
    parser = arguments_of(__doc__)
    parser.add_argument("--only", default="", help="only contenders whose name has this text")
    parser.add_argument("--shape", choices=SHAPES, default="mixed", help="which objects")
    arguments = parser.parse_args()
    shape = SHAPES[arguments.shape].scaled(arguments.scale)
    print(f"{shape.small:,} objects of 20 KB, {shape.large} of 10 MB, one of {shape.huge / 1e9:.2f} GB")
    with bench(shape) as found:
        samples = run(found, arguments.runs, arguments.only)
    for stage in STAGES:
        report(stage, samples[stage])
    encrypting = [name for name in (_RCLONE, _RESTIC) if name in samples[STAGES[0]]]
    for stage, goal in zip(STAGES[:2], (0.9, 1.0), strict=True):
        if encrypting and _COFFRE in samples[stage]:
            best = min(median(samples[stage][name]).wall for name in encrypting)
            share = median(samples[stage][_COFFRE]).wall / best
            print(f"\ngoal: {stage}: at most {goal:.2f} of the fastest that encrypts; measured {share:.2f}")


if __name__ == "__main__":
    main()
