"""A bucket behind a slow store: one function after another, and several that take ranges of names (ADR 60).

Run as `python -m benchmarks.storage_spread [OBJECTS] [LATENCY_MS] [FUNCTIONS] [ROUNDS] [WAYS]`. The store is in memory
and waits before each answer; the functions are threads of this process, each with connections of its own. So what is
measured is how well the waiting is divided: the cores, which functions do not share, are shared here. Both ways
alternate, or (WAYS `several`) there is one.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import tempfile
import time
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

STREAMS = 4


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
) -> None:
    """Measure, and print seconds of each way, and their ratio."""
    store, delay = MemoryStore(), float(latency_ms) / 1000
    noise = random.Random(1)
    for number in range(int(objects)):
        # Names of very different lengths, nine of ten in one folder.
        folder = "uploads/2026/11/29" if number % 10 else f"{number:05}"
        store.put("photos", f"{folder}/{number:07}", noise.randbytes(2000))

    def wait(_operation: str, _call: Call, _number: int) -> None:
        time.sleep(delay)

    if delay:
        store.before = wait
    found: dict[str, list[float]] = {way: [] for way in ways.split(",")}
    report: dict[str, object] = {"seconds": found}
    for _ in range(int(rounds)):
        for way, seconds in found.items():
            with tempfile.TemporaryDirectory() as root:
                scene = Scene(Path(root), store, {"limits": {"streams": STREAMS}})
                began = time.perf_counter()
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
                if made.storage.objects != int(objects):
                    raise SystemExit(f"{made.storage.objects} objects instead of {objects}")
    best = {way: min(seconds) for way, seconds in found.items()}
    if len(best) > 1:
        report["ratio_of_best"] = round(best["one"] / best["several"], 2)
    report["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
