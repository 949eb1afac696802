"""What a day costs on which few of many small objects change: bytes that a backup stores, and that its copy sends.

Run as `python -m benchmarks.unchanged_objects [OBJECTS] [KB]`: a made-up bucket of incompressible objects, encrypted;
vault and copy are directories, and need the space of the objects twice. Everything behind the requests to the bucket is
the functions' own path. The days follow one another: the last one changes objects all over the names.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Final, cast

from benchmarks.storage_job import TARGET, newest, run_backup
from benchmarks.storage_memory import SyntheticStore
from coffre.buckets.reader import BucketReader
from coffre.model.bucket_target import BucketSource, BucketTarget
from coffre.model.kinds import TargetKind
from coffre.model.manifest import Manifest
from coffre.operations.copy.copy_backup import CopyJob, copy_backup
from coffre.stores.directory import DirectoryStore
from coffre.stores.s3_wire import S3Wire
from coffre.vault.vault import Vault

_SEED: Final = 13


def main(objects: str = "50000", kilobytes: str = "20") -> None:
    """Back up and copy day after day, and print what each one took."""
    count, size = int(objects), int(float(kilobytes) * 1000)
    middle = count // 2
    days: dict[str, Collection[int]] = {
        "first": (),
        "nothing": (),
        "one object": (middle,),
        "100 neighbours": range(middle, middle + 100),
        "100, all over": random.Random(_SEED).sample(range(count), 100),
    }
    print(f"{count:,} objects of {size / 1000:g} KB\n")
    print("| changed | lists | new lists | stored KB | of them packs of objects KB | rest of the vault % | copied KB |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    changed: dict[int, int] = {}
    with tempfile.TemporaryDirectory(prefix="coffre-bench-") as directory:
        vault, copy = (Path(directory, name) for name in ("vault", "copy"))
        vault.mkdir()
        copy.mkdir()
        whole = 0
        for day, (name, numbers) in enumerate(days.items()):
            changed |= dict.fromkeys(numbers, day)
            before, there = _bytes(vault), _bytes(copy)
            manifest = _backup(vault, count, size, changed)
            _copy(vault, copy)
            after = _bytes(vault)
            whole = whole or sum(after.values())
            new = {key: after[key] for key in after.keys() - before.keys()}
            bodies = sum(length for key, length in new.items() if "/packs/" in key and "/entries-" not in key)
            stored, sent = sum(new.values()), sum(_bytes(copy).values()) - sum(there.values())
            lists = sum("/entries-" in key for key in new)
            cells = [str(len(manifest.entries)), str(lists), f"{stored / 1e3:,.0f}", f"{bodies / 1e3:,.0f}"]
            print(
                f"| {name} | {' | '.join(cells)} | {100 * (stored - bodies) / whole:.4f} | {sent / 1e3:,.0f} |",
                flush=True,
            )


def _backup(vault: Path, count: int, size: int, changed: dict[int, int]) -> Manifest:
    def body_of(number: int) -> bytes:
        return random.Random(f"{number} {changed.get(number, 0)}").randbytes(size)

    target = BucketTarget(name=TARGET, kind=TargetKind.BUCKET, buckets=(BucketSource(name="uploads"),))
    reader = BucketReader(cast("S3Wire", SyntheticStore(count, body_of)))
    return run_backup(reader, target, Vault(DirectoryStore(vault)), encrypts=True)


def _copy(vault: Path, copy: Path) -> None:
    source = Vault(DirectoryStore(vault))
    backup = newest(source)
    assert backup is not None
    copy_backup(CopyJob(source, Vault(DirectoryStore(copy)), backup, "there"))


def _bytes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


if __name__ == "__main__":
    main(*sys.argv[1:])
