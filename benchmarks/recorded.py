"""What records for the next run (ADR 51) cost a run that stores small objects.

Run as `python -m benchmarks.recorded [OBJECTS] [ROUNDS]`. The store is in memory, the vault is a directory, objects
have 20 KB of which half does not compress. Runs with records, every ten seconds from the start, and without alternate.
The time that records take is also measured by itself: that of the processor, in the threads that make them.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.integration.capture_scene import Scene
from tests.memory_store import MemoryStore

from coffre.operations.backup_buckets.part_files import PartLines
from coffre.operations.runs import part_recorder
from coffre.operations.runs.part_recorder import PartRecorder
from coffre.stores.directory import DirectoryStore

_BODIES: Final = 500


class Counted:
    """Adds up what calls take of the processor, each in its thread."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._adding = threading.Lock()

    def of(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return a call that is counted."""

        def counted(*args: Any, **options: Any) -> Any:
            began = time.thread_time()
            try:
                return call(*args, **options)
            finally:
                with self._adding:
                    self.seconds += time.thread_time() - began

        return counted


def main(objects: str = "40000", rounds: str = "3") -> None:
    """Measure, and print seconds of the processor of each run, and the share that records have."""
    store, chance = MemoryStore(), random.Random(1)
    bodies = [chance.randbytes(10_000) + b"some text in a file " * 500 for _ in range(_BODIES)]
    for number in range(int(objects)):
        store.put("photos", f"uploads/2026/11/29/{number:09}.jpg", bodies[number % _BODIES])
    counted = Counted()
    for owner, name in (
        (PartRecorder, "begin"),
        (PartRecorder, "finish_packed"),
        (PartRecorder, "_record"),
        (PartLines, "write_new"),
    ):
        setattr(owner, name, counted.of(getattr(owner, name)))
    part_recorder.FIRST_AFTER_SECONDS = 0.0  # type: ignore[misc]
    runs: list[dict[str, float]] = []
    for _ in range(int(rounds)):
        runs += [_run(store, counted, keeps=keeps) for keeps in (False, True)]
    print(json.dumps({"objects": int(objects), "runs": runs}))


def _run(store: MemoryStore, counted: Counted, *, keeps: bool) -> dict[str, float]:
    known: dict[int, str] = {}
    counted.seconds = 0.0
    with tempfile.TemporaryDirectory() as root:
        scene = Scene(Path(root), store, recorded=known.__setitem__ if keeps else None)
        wall, cpu = time.perf_counter(), time.process_time()
        made = scene.backup()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        vault = DirectoryStore(Path(root) / "vault")
        recorded = sum(info.size for info in vault.list("v1/backups/") if "/parts/" in info.key)
    each = 1e6 / made.storage.objects
    found = {"records": len(known), "recorded_bytes": recorded, "seconds": wall, "cpu": cpu, "us_each": cpu * each}
    found |= {"records_us_each": counted.seconds * each, "records_percent": 100 * counted.seconds / cpu}
    return {name: round(value, 2) for name, value in found.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
