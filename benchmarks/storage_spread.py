"""A bucket behind a slow store: one function after another, and several that take ranges of names (ADR 60).

Run as `python -m benchmarks.storage_spread [OBJECTS] [LATENCY_MS] [FUNCTIONS] [ROUNDS] [WAYS] [BYTES]`. The store is
in memory and waits before each answer; the functions are threads of this process, each with connections of its own.
So what is measured is how well the waiting is divided: the cores, which functions do not share, are shared here. Both
ways alternate, or (WAYS `several`) there is one.
"""

from __future__ import annotations

import bisect
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tests.integration.backup_buckets.test_ranges import Players
from tests.integration.capture_scene import Scene
from tests.memory_store import MemoryStore

from coffre.model.backup import Backup
from coffre.operations.backup_buckets.spread.plan_files import RangesHeader, StoredFile, read_ranges
from coffre.operations.backup_buckets.spread.step import RangeStep
from coffre.operations.backup_buckets.spread.work import RangeWork
from coffre.stores.s3_errors import Call
from coffre.vault.layout import manifest_key

STREAMS = 4


class FixedStore(MemoryStore):
    """A store whose objects are all written before it is read: it sorts their names once."""

    def __init__(self) -> None:
        super().__init__()
        self._sorted: list[str] = []

    def _keys(self, call: Call, after: str) -> Sequence[str]:
        if not self._sorted:
            self._sorted = sorted(self.buckets[call.bucket])
        first = bisect.bisect_right(self._sorted, after)
        return self._sorted[first : first + self.page_size + 1]


class Together(Players):
    """Workers that work at the same time."""

    width = 1

    def _map(self, backup: Backup, header: RangesHeader, ranges: StoredFile) -> None:
        lines = read_ranges(self.scene.vault, ranges.key, ranges.sha256)

        def work(number: int) -> None:
            job = replace(self.scene.job(), previous=None)
            work = RangeWork(RangeStep(job, header, backup, self.catalog, "attempt"), lines, number)
            with self._watch(job) as watch:
                work.work(watch)

        with ThreadPoolExecutor(self.width) as pool:
            list(pool.map(work, [line.group for line in lines]))


def main(
    objects: str = "4000",
    latency_ms: str = "100",
    functions: str = "4",
    rounds: str = "2",
    ways: str = "one,several",
    object_bytes: str = "2000",
) -> None:
    """Measure, and print seconds of each way, those of the processor, and the ratio of the best."""
    store, delay = FixedStore(), float(latency_ms) / 1000
    noise = random.Random(1)
    for number in range(int(objects)):
        # Names of very different lengths, nine of ten in one folder.
        folder = "uploads/2026/11/29" if number % 10 else f"{number:05}"
        store.put("photos", f"{folder}/{number:07}", noise.randbytes(int(object_bytes)))

    def wait(_operation: str, _call: Call, _number: int) -> None:
        time.sleep(delay)

    if delay:
        store.before = wait
    found: dict[str, list[float]] = {way: [] for way in ways.split(",")}
    cpu: dict[str, list[float]] = {way: [] for way in found}
    report: dict[str, object] = {"seconds": found, "cpu": cpu}
    for _ in range(int(rounds)):
        for way, seconds in found.items():
            with tempfile.TemporaryDirectory() as root:
                scene = Scene(Path(root), store, {"limits": {"streams": STREAMS}})
                began, cpu_began = time.perf_counter(), time.process_time()
                if way == "one":
                    made = scene.backup()
                else:
                    players, backup = Together(scene), scene.begin()
                    players.width = int(functions)
                    scene.spread = players.hand_over
                    scene.hand_over(backup)
                    made = players.play(backup)
                    report["ranges"] = len(players.known)
                seconds.append(round(time.perf_counter() - began, 2))
                cpu[way].append(round(time.process_time() - cpu_began, 2))
                report[f"manifest_bytes_{way}"] = scene.vault.store.head(manifest_key("files", made.backup_id)).size
                report[f"packs_{way}"], report[f"entries_files_{way}"] = len(made.packs), len(made.entries)
                if made.storage.objects != int(objects):
                    raise SystemExit(f"{made.storage.objects} objects instead of {objects}")
    best = {way: min(seconds) for way, seconds in found.items()}
    if len(best) > 1:
        report["ratio_of_best"] = round(best["one"] / best["several"], 2)
    report["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
