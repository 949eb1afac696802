"""A drill of 1 GB in two tables: time, memory, scratch space; beside it, `pg_restore -j2` into a server that is up.

The scratch server, and everything that restores into it and compares, shares this machine's cores, as in the function.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.databases import TWO_TABLES
from benchmarks.harness import Contender, Sample, compare, progress
from benchmarks.restore_database import archived, emptied, vaulted
from benchmarks.workbench import Workbench, arguments_of, job, workbench
from coffre_local.toolchain import CHECKOUT

_DRILL = "Coffre, drill"


def built_layer(directory: Path) -> Path:
    """Build the scratch server's layer, and return PostgreSQL's directory in it."""
    progress("  building the server's layer")
    layer = CHECKOUT / "layers" / "postgres_server"
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    command = ["make", "--quiet", "build-PostgresqlServerLayer", f"ARTIFACTS_DIR={directory}"]
    subprocess.run(["env", f"PATH={path}", *command], cwd=layer, check=True, stdout=subprocess.DEVNULL)
    return directory / "postgresql"


def _contenders(bench: Workbench, streams: int) -> list[Contender]:
    directory = archived(bench, "-Fd", "-j2", name="dump")
    identity = vaulted(bench)
    home = built_layer(bench.directory / "layer")
    drill = job("drill_job", home, bench.directory / "vault", identity, streams)
    restore = [bench.program("pg_restore"), "-j2", "-d", bench.server.dsn("restored"), str(directory)]
    return [
        Contender(_DRILL, [drill], reports=True),
        Contender("pg_restore -j2, from -Fd", [restore], partial(emptied, bench.server, create=True)),
    ]


def _print_details(samples: Sequence[Sample]) -> None:
    """Print what the drill of the middle said about itself."""
    report = sorted(samples, key=lambda sample: sample.wall)[len(samples) // 2].report
    print(f"restore: {float(str(report['restore_seconds'])):.1f} s, in {report['groups']} group(s)")
    print(f"scratch space: {int(str(report['scratch_bytes'])) / 1e6:,.0f} MB")
    phases = report["phases_ms"]
    if isinstance(phases, dict):
        print(f"phases, ms: {', '.join(f'{phase} {spent}' for phase, spent in phases.items())}\n")


def main() -> None:
    """Fill the database, back it up, and drill the backup."""
    parser = arguments_of(__doc__)
    parser.add_argument("--streams", type=int, default=2, help="as many as the function has cores")
    arguments = parser.parse_args()
    with workbench(TWO_TABLES, arguments.scale) as bench:
        contenders = _contenders(bench, arguments.streams)
        samples = compare(contenders, bench.around(), arguments.runs, gigabytes=bench.gigabytes)
    _print_details(samples[_DRILL])


if __name__ == "__main__":
    main()
