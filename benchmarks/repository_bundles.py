"""What a day's change of a repository adds to the vault: a bundle of what is new, or a full one cut into frames.

    PYTHONPATH=layers/coffre:cli:. .venv/bin/python -m benchmarks.repository_bundles REPOSITORY [STEPS]

Full bundles are git's own, the best case for this comparison: frames of 4 MiB at fixed places, and cut by content into
pieces of about 64 KiB (a rolling hash), count as stored once if the step before had the same.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from coffre.buckets.repositories.local_repository import LocalRepository
from coffre.buckets.repositories.remote import Refs

_FRAME = 4 * 1024 * 1024


def _git(folder: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True).stdout


def _fixed(data: bytes) -> list[bytes]:
    return [data[at : at + _FRAME] for at in range(0, len(data), _FRAME)]


def _by_content(data: bytes) -> list[bytes]:
    """Cut where the 16 bits of a sum over the last bytes are zero."""
    pieces, begin, value = [], 0, 0
    for at, byte in enumerate(data):
        value = ((value << 1) + byte * 2654435761) & 0xFFFFFFFF
        if value >> 16 == 0 and at - begin > 4096:
            pieces.append(data[begin : at + 1])
            begin = at + 1
    return [*pieces, data[begin:]]


def main(repository: Path, steps: int) -> None:
    """Print one line a step, and the sums."""
    commits = _git(repository, "rev-list", "--first-parent", "--reverse", "HEAD").decode().split()
    chosen = commits[-steps - 1 :]
    sums, before, known_fixed, known_cut = [0, 0, 0, 0], list[bytes](), set[bytes](), set[bytes]()
    work = Path(tempfile.mkdtemp(prefix="coffre-bench-"))
    try:
        for number, commit in enumerate(chosen):
            bare, file = work / "one.git", work / "full.bundle"
            shutil.rmtree(bare, ignore_errors=True)
            _git(work, "init", "--quiet", "--bare", "--initial-branch=main", "one.git")
            _git(bare, "fetch", "--quiet", str(repository), f"{commit}:refs/heads/main")
            _git(bare, "bundle", "create", "--quiet", str(file), "--all")
            data = file.read_bytes()
            began = time.monotonic()
            with LocalRepository.make(work / f"clone-{number}", "one") as clone:
                refs = Refs({b"refs/heads/main": commit.encode()}, b"refs/heads/main")
                clone.add_bundle(iter([data]))
                reached = len(clone.reached(refs.tips).objects)
                added = clone.bundle_since(refs, before, work / f"more-{number}.pack") if before else None
            seconds = time.monotonic() - began
            shutil.rmtree(work / f"clone-{number}")
            fixed = {hashlib.sha256(one).digest(): len(one) for one in _fixed(data)}
            cut = {hashlib.sha256(one).digest(): len(one) for one in _by_content(data)}
            if before and added:
                row = (
                    added.size,
                    sum(size for key, size in fixed.items() if key not in known_fixed),
                    sum(size for key, size in cut.items() if key not in known_cut),
                    len(data),
                )
                sums = [one + other for one, other in zip(sums, row, strict=True)]
                print(
                    f"{commit[:8]}  new {row[0]:>9,}  frames {row[1]:>11,}  by content {row[2]:>11,}  full {row[3]:,}"
                )
            print(f"  {reached:,} objects fetched, proven and bundled in {seconds:.1f} s")
            known_fixed, known_cut, before = set(fixed), set(cut), [commit.encode()]
    finally:
        shutil.rmtree(work)
    print("sum: " + "  ".join(f"{value:,}" for value in sums))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 10)
