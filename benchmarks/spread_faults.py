"""Spread backups whose functions are killed, doubled, delayed, reordered and stopped (docs/benchmarks.md).

    python -m benchmarks.spread_faults 1000 [FIRST_SEED [PROCESSES]]

Each run has a seed; what a seed does is in tests/integration/backup_database/test_spread_faults.py, which runs a few.
The runs of one process share its server; several processes (by default two for each core) use the time in which runs
wait. The last line has the number of runs, and the seeds that failed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Final

_TESTS: Final = "tests/integration/backup_database/test_spread_faults.py"
# Runs of one pytest process, whose start takes as long as three: some minutes, so that what was counted is seen.
_BATCH: Final = 50
_PASSED: Final = re.compile(r"::\S+\[(\d+)\] PASSED")
_FAILED: Final = re.compile(r"::\S+\[(\d+)\] (?:FAILED|ERROR)")


def main(arguments: list[str]) -> int:
    """Run the seeds, and say how many ended well and which failed."""
    runs, first, processes = (*map(int, arguments), *(1000, 0, 2 * (os.cpu_count() or 1))[len(arguments) :])
    batches = [(start, min(_BATCH, first + runs - start)) for start in range(first, first + runs, _BATCH)]
    good, bad = 0, list[str]()
    with ThreadPoolExecutor(processes) as pool:
        for output in pool.map(_run, batches):
            good += len(_PASSED.findall(output))
            failed = _FAILED.findall(output)
            bad += failed
            if failed:
                print(output, flush=True)
            print(f"{good} runs ended well, {len(bad)} did not", flush=True)
    print(f"{good} of {runs} runs ended well; seeds that did not: {', '.join(bad) or 'none'}")
    return 0 if good == runs else 1


def _run(batch: tuple[int, int]) -> str:
    start, runs = batch
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", _TESTS],
        env={**os.environ, "SPREAD_FAULT_RUNS": str(runs), "SPREAD_FAULT_SEED": str(start)},
        check=False,
        capture_output=True,
        text=True,
    ).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
