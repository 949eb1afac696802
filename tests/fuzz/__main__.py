"""`python -m tests.fuzz [READER ...] [--seconds N | --runs N]`: let atheris look for inputs that break a reader.

Each reader runs in a process of its own, with a limit of memory. What breaks it is kept below `corpus/<reader>`
and from then on a seed of the tests. Where atheris has no wheel, it says so and ends with status 0.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys

from tests.fuzz.readers import READERS, ROOT


def main() -> int:
    """Fuzz the readers that are named, or all."""
    names = [reader.name for reader in READERS]
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER", help=", ".join(names))
    parser.add_argument("--seconds", type=int, default=60, help="for each reader (default: 60)")
    parser.add_argument("--runs", type=int, help="instead: this number of inputs for each reader, the same each time")
    options = parser.parse_args()
    if unknown := sorted(set(options.readers) - set(names)):
        parser.error(f"no reader is named {', '.join(unknown)}")
    if importlib.util.find_spec("atheris") is None:
        sys.stdout.write("atheris has no wheel for this machine: nothing was fuzzed.\n")
        return 0
    limits = [f"-max_total_time={options.seconds}"] if options.runs is None else [f"-runs={options.runs}", "-seed=1"]
    command = [sys.executable, "-m", "tests.fuzz.one_reader", ",".join(options.readers or names), *limits]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
