"""Where the CPU seconds of a backup go, and the floor: what reading and compressing the same rows takes at least."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from benchmarks.backup_database import YARDSTICK, coffre, emptied, piped
from benchmarks.databases import DATABASES
from benchmarks.harness import Contender, Sample, compare, progress
from benchmarks.raw_copy import tables_of
from benchmarks.restore_database import archived
from benchmarks.workbench import Workbench, arguments_of, job, workbench

_COFFRE = ("Coffre, age", "Coffre, no encryption")


def _floors(bench: Workbench) -> list[Contender]:
    emptied(bench.directory / "dump.sql")
    plain = str(archived(bench, name="dump.sql"))
    copies = [part for table, _ in tables_of(bench.url) for part in ("-c", f"COPY {table} TO STDOUT")]
    return [
        Contender("floor: COPY to nowhere, psql, one stream", [[bench.program("psql"), "-qX", *copies, bench.url]]),
        Contender("floor: COPY to nowhere, plain socket, two streams", [job("raw_copy", bench.url, 2)]),
        Contender("floor: zstd -3 of the same text", [["zstd", "-q", "-3", "-c", plain]]),
        Contender("floor: COPY and zstd -3, plain socket, two streams", [job("raw_copy", bench.url, 2, "--compress")]),
    ]


def contenders(bench: Workbench) -> list[Contender]:
    """Return the yardstick, Coffre with timers, and the floors."""
    return [
        piped(bench, YARDSTICK, "zstd", "-q", "-3"),
        coffre(bench, _COFFRE[0], "age", "2", "--timers"),
        coffre(bench, _COFFRE[1], "none", "2", "--timers"),
        *_floors(bench),
    ]


def print_own(samples: Mapping[str, Sequence[Sample]], gigabytes: float) -> None:
    """Print Coffre's own CPU seconds a GB, step by step, medians."""
    print(f"our own process, CPU s per GB\n\n| step | {' | '.join(_COFFRE)} |\n|---|---:|---:|")
    shares = {name: [_timers(sample) for sample in samples[name]] for name in _COFFRE}
    steps = list(dict.fromkeys(step for found in shares.values() for one in found for step in one))
    columns = {
        name: {step: statistics.median(one.get(step, 0.0) for one in found) / gigabytes for step in steps}
        for name, found in shares.items()
    }
    for step in sorted(steps, key=lambda step: -columns[_COFFRE[0]][step]):
        print(f"| {step} | {' | '.join(f'{columns[name][step]:.2f}' for name in _COFFRE)} |")
    print(f"| all | {' | '.join(f'{sum(columns[name].values()):.2f}' for name in _COFFRE)} |")


def _timers(sample: Sample) -> dict[str, float]:
    found = sample.report.get("timers")
    return found if isinstance(found, dict) else {}


def main() -> None:
    """Measure and print both tables."""
    parser = arguments_of(__doc__)
    parser.add_argument("--database", choices=list(DATABASES), default="two-tables")
    arguments = parser.parse_args()
    with workbench(DATABASES[arguments.database], arguments.scale) as bench:
        samples = compare(contenders(bench), bench.around(), arguments.runs, gigabytes=bench.gigabytes)
        progress("  done")
    print_own(samples, bench.gigabytes)


if __name__ == "__main__":
    main()
