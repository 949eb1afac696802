"""Thousands of spread backups whose functions are killed, doubled, delayed, reordered and stopped (docs/benchmarks.md).

    python -m benchmarks.spread_faults 1000 [FIRST_SEED]

Each run has a seed; what a seed does is in tests/integration/backup_database/test_spread_faults.py, which runs a few.
"""

from __future__ import annotations

import os
import subprocess
import sys


def main(arguments: list[str]) -> int:
    """Run the seeds, and say which failed."""
    runs, first = (*arguments, "0")[:2] if arguments else ("1000", "0")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/integration/backup_database/test_spread_faults.py"],
        env={**os.environ, "SPREAD_FAULT_RUNS": runs, "SPREAD_FAULT_SEED": first},
        check=False,
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
