"""The second backup of a database to which 1 % new rows came, against a first backup of the same rows."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.backup_database import coffre, emptied
from benchmarks.backup_job import RECIPIENT, run_backup
from benchmarks.databases import TWO_TABLES, append_rows
from benchmarks.harness import compare, median, progress, ratio, tree_size
from benchmarks.workbench import arguments_of, workbench

_FIRST = "Coffre, first backup"
_SECOND = "Coffre, second backup, 1 % new rows"
_GOAL = 0.02


def _linked(source: Path, destination: Path) -> None:
    """Make the vault what it was; packs are never written twice, so links to them do."""
    emptied(destination)
    shutil.copytree(source, destination, copy_function=lambda file, copy: Path(copy).hardlink_to(file))


def main() -> None:
    """Back up, add rows, and compare the next backup with one that has nothing to point at."""
    arguments = arguments_of(__doc__).parse_args()
    with workbench(TWO_TABLES, arguments.scale) as bench:
        before, vault = bench.directory / "before", bench.directory / "vault"
        before.mkdir()
        progress("  preparing the vault")
        run_backup(bench.url, bench.home, before, recipient=RECIPIENT, streams=2, previous=None)
        append_rows(bench.url, arguments.scale, share=0.01)
        base = tree_size(before)
        contenders = [
            coffre(bench, _FIRST, "age"),
            coffre(bench, _SECOND, "age", clean=lambda: _linked(before, vault)),
        ]
        samples = compare(contenders, bench.around(), arguments.runs, gigabytes=bench.gigabytes)
    ratio(samples, _SECOND, _FIRST, goal=0.85)
    first, added = median(samples[_FIRST]).stored, median(samples[_SECOND]).stored - base
    share = added / first
    verdict = "reached" if share <= _GOAL else "missed"
    print(
        f"goal: the second backup stores at most {_GOAL:.0%} of the first; it added {added / 1e6:.2f} MB to "
        f"{base / 1e6:.1f} MB: {share:.2%}: {verdict}"
    )


if __name__ == "__main__":
    main()
