"""Random workloads whose journal is applied to a base, with drains that lose their advance and processes that die.

    python -m benchmarks.journal_faults 100 [FIRST_SEED]

Each run has a seed, which decides all that it does (tests/integration/journal_scene.py); majors 14 to 18 take turns.
After each of several commits every row of every table is compared. The last line has the seeds that failed.
"""

from __future__ import annotations

import sys
import tempfile
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.integration.journal_scene import OPTIONS, play, scene

from coffre_local.postgres_server import PostgresServer
from coffre_local.toolchain import Toolchain

_MAJORS: Final = (14, 15, 16, 17, 18)


def main(arguments: list[str]) -> int:
    """Run the seeds, and say how many were equal and which were not."""
    runs, first = (*map(int, arguments), *(100, 0)[len(arguments) :])
    toolchain = Toolchain()
    changes, failed = 0, list[str]()
    with ExitStack() as running:
        scratch = Path(running.enter_context(tempfile.TemporaryDirectory()))
        homes = {major: toolchain.postgresql(major) for major in _MAJORS}
        servers = {major: running.enter_context(PostgresServer(home, OPTIONS)) for major, home in homes.items()}
        for seed in range(first, first + runs):
            major = _MAJORS[seed % len(_MAJORS)]
            try:
                with scene(servers[major], homes[major], scratch, f"seed_{seed}") as played:
                    changes += play(played, seed)
            except Exception:  # noqa: BLE001 - each is counted, and the next one runs
                traceback.print_exc()
                failed.append(f"{seed} ({major})")
    print(f"{runs - len(failed)} of {runs} equal, {changes} changes applied; seeds that were not: {failed or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
