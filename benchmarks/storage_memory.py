"""Peak memory and scratch space of a backup of a million objects: the first, and the next with nothing changed.

The bucket is made up as it is read: a listing of a million keys, and a body of 200 bytes for each. Everything behind
the requests is the function's own path, into a directory as vault.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any, Final, cast

from benchmarks.storage_job import TARGET, run_backup
from benchmarks.workbench import arguments_of, environment, job
from coffre.buckets.reader import BucketReader
from coffre.model.bucket_target import BucketSource, BucketTarget
from coffre.model.kinds import TargetKind
from coffre.stores.directory import DirectoryStore
from coffre.stores.s3_errors import Call
from coffre.stores.s3_exchange import Answer
from coffre.stores.s3_wire import Endpoint, S3Wire
from coffre.vault.vault import Vault

_PAGE: Final = 1000
_BODY: Final = b"two hundred bytes " * 11


def key_of(number: int) -> str:
    """Return the key of an object."""
    return f"users/{number // 1000:06}/upload-{number:09}.txt"


def small_body(number: int) -> bytes:
    """Return some 230 bytes, different for each object."""
    return key_of(number).encode() + _BODY


class SyntheticStore:
    """A bucket of so many objects, in the order of their keys.

    Parameters
    ----------
    body_of
        Returns the bytes of the object of a number.
    """

    def __init__(self, objects: int, body_of: Callable[[int], bytes] = small_body) -> None:
        self.objects = objects
        self._body_of = body_of
        self.endpoint = Endpoint("https://store.example", "eu-west-3", by_path=True)
        self.stopping = threading.Event()
        self.requests: Counter[str] = Counter()

    def get(self, call: Call, operation: str, **how: Any) -> Answer:
        """Answer as `S3Wire` does."""
        self.requests[operation] += 1
        query: Mapping[str, str] = how.get("query") or {}
        if operation == "list":
            return self._page(int(query.get("continuation-token", "0")))
        body = self._body_of(int(call.key[-len("000000000.txt") : -len(".txt")]))
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        said = {
            "etag": f'"{etag}"',
            "content-type": "text/plain",
            "content-range": f"bytes 0-{len(body) - 1}/{len(body)}",
        }
        return Answer(206, said, body)

    def _page(self, start: int) -> Answer:
        end = min(start + _PAGE, self.objects)
        items = "".join(_item(key_of(number), self._body_of(number)) for number in range(start, end))
        token = f"<NextContinuationToken>{end}</NextContinuationToken>" if end < self.objects else ""
        more = str(end < self.objects).lower()
        body = f"<ListBucketResult><IsTruncated>{more}</IsTruncated>{token}{items}</ListBucketResult>"
        return Answer(200, {}, body.encode())


def _item(key: str, body: bytes) -> str:
    etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return (
        f"<Contents><Key>{key}</Key><LastModified>2026-11-17T03:00:00.000Z</LastModified>"
        f"<ETag>&quot;{etag}&quot;</ETag><Size>{len(body)}</Size></Contents>"
    )


def one_backup(objects: int, vault: Path) -> None:
    """Back up once and print what it took."""
    began = time.perf_counter()
    most = [0]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            most[0] = max(most[0], _scratch_bytes(Path(tempfile.gettempdir())))

    watcher = threading.Thread(target=watch)
    watcher.start()
    target = BucketTarget(name=TARGET, kind=TargetKind.BUCKET, buckets=(BucketSource(name="uploads"),))
    store = SyntheticStore(objects)
    reader = BucketReader(cast("S3Wire", store))
    manifest = run_backup(reader, target, Vault(DirectoryStore(vault)), encrypts=True)
    over.set()
    watcher.join()
    peak = getrusage(RUSAGE_SELF).ru_maxrss * 1024
    report = {
        "seconds": time.perf_counter() - began,
        "peak_rss": peak,
        "scratch_bytes": most[0],
        "objects": manifest.storage.objects,
        "added": manifest.storage.added,
        "files": len(manifest.entries),
        "stored": manifest.stored_bytes,
        "requests": manifest.storage.requests,
    }
    print(json.dumps(report))


def _scratch_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def main() -> None:
    """Measure the first backup and the next one, each in a process of its own."""
    parser = arguments_of(__doc__, runs=1)
    arguments = parser.parse_args()
    objects = int(1_000_000 * arguments.scale)
    print(f"{objects:,} objects\n")
    print("| backup | wall s | peak memory MB | scratch MB | files of entries | stored MB | requests |")
    print("|---|---:|---:|---:|---:|---:|---|")
    with tempfile.TemporaryDirectory(prefix="coffre-bench-") as directory:
        vault, scratch = Path(directory, "vault"), Path(directory, "scratch")
        vault.mkdir()
        scratch.mkdir()
        for stage in ("first", "nothing changed"):
            variables = environment() | {"TMPDIR": str(scratch)}
            argv = job("storage_memory", "--one", objects, vault)
            answer = subprocess.run(argv, env=variables, capture_output=True, text=True, check=False)
            if answer.returncode:
                raise SystemExit(answer.stderr)
            found = json.loads(answer.stdout)
            sizes = (f"{found[name] / 1e6:.0f}" for name in ("peak_rss", "scratch_bytes"))
            rest = [str(found["files"]), f"{found['stored'] / 1e6:.0f}", str(found["requests"])]
            print(f"| {stage} | {found['seconds']:.1f} | {' | '.join([*sizes, *rest])} |", flush=True)


if __name__ == "__main__":
    if "--one" in sys.argv:
        one_backup(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
