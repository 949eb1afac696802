"""Run every benchmark, one after the other: `make bench`, or smaller: `make bench ARGS='--scale 0.1 --runs 1'`.

One that fails does not stop the others; the last line names it, and the status says so too.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time

from benchmarks.harness import progress


def commands(scale: float, runs: int) -> dict[str, list[str]]:
    """Return the options of each benchmark."""
    size = [f"--scale={scale}", f"--runs={runs}"]
    return {
        "backup_database": size,
        "restore_database": size,
        "cases": [],
        "many_tables": size,
        "large_objects": size,
        "backup_storage": size,
        "copy": size,
        "drill": size,
        "over_link": size,
        "locks": [f"--scale={0.06 * scale}", f"--runs={runs}", f"--migrations={max(2, int(100 * scale))}"],
        "second_backup": size,
        "profile": size,
        "memory": [f"--scale={scale}"],
        "incremental": [f"--rows={int(2_000_000 * scale)}"],
        "inventory": [f"--packs={int(100_000 * scale)}"],
        "status": [f"--runs={2 * runs + 1}"],
        "doctor": size,
        "references": [f"--rows={int(1_000_000 * scale)}"],
        "cold_start": [f"--runs={3 * runs + 1}"],
        "init": size,
    }


def main() -> int:
    """Run all and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="1 is the full size")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    failed = []
    for name, options in commands(arguments.scale, arguments.runs).items():
        progress(f"==== {name} {' '.join(options)}")
        print(f"\n## python -m benchmarks.{name} {' '.join(options)}\n", flush=True)
        began = time.monotonic()
        if _run([sys.executable, "-m", f"benchmarks.{name}", *options]):
            failed.append(name)
        progress(f"==== {name}: {(time.monotonic() - began) / 60:.1f} minutes")
    if failed:
        progress(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def _run(argv: list[str]) -> int:
    with subprocess.Popen(argv) as child:
        try:
            return child.wait()
        except BaseException:
            child.terminate()  # it clears away what it has; leaving the block waits for it
            raise


if __name__ == "__main__":
    sys.exit(main())
