"""Random workloads whose journal is applied to a base, with drains that lose their advance and processes that die.

    python -m benchmarks.journal_faults 100 [FIRST_SEED [vault]]

With `vault` drains store into a directory, are killed between two steps, run in small ones, and lose the catalog.
Each run has a seed, which decides all that it does (tests/integration/journal_scene.py); majors 14 to 18 take turns.
After each of several commits every row of every table is compared. The last line has the seeds that failed.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from moto import mock_aws
from tests.catalog_table import create
from tests.integration.journal_scene import OPTIONS, Scene, play, scene
from tests.integration.journal_vault import drains_with_faults, journal_of

from coffre.catalog.catalog import Catalog
from coffre.postgres.journal.changes import Line
from coffre_local.postgres_server import PostgresServer
from coffre_local.toolchain import Toolchain

_MAJORS: Final = (14, 15, 16, 17, 18)


def main(arguments: list[str]) -> int:
    """Run the seeds, and say how many were equal and which were not."""
    into_vault = arguments[2:] == ["vault"]
    runs, first = (*map(int, arguments[:2]), *(100, 0)[len(arguments) :])
    toolchain = Toolchain()
    changes, failed = 0, list[str]()
    with ExitStack() as running:
        scratch = Path(running.enter_context(tempfile.TemporaryDirectory()))
        homes = {major: toolchain.postgresql(major) for major in _MAJORS}
        servers = {major: running.enter_context(PostgresServer(home, OPTIONS)) for major, home in homes.items()}
        for seed in range(first, first + runs):
            major = _MAJORS[seed % len(_MAJORS)]
            try:
                with ExitStack() as one, scene(servers[major], homes[major], scratch, f"seed_{seed}") as played:
                    drain = drain_of(one, played) if into_vault else None
                    changes += play(played, seed, drain=drain)
            except Exception:  # noqa: BLE001 - each is counted, and the next one runs
                traceback.print_exc()
                failed.append(f"{seed} ({major})")
            print(f"{seed} ({major}) {'not equal' if failed[-1:] == [f'{seed} ({major})'] else 'equal'}", flush=True)
    print(f"{runs - len(failed)} of {runs} equal, {changes} changes applied; seeds that were not: {failed or 'none'}")
    return 1 if failed else 0


def drain_of(running: ExitStack, played: Scene) -> Callable[[random.Random], list[list[Line]]]:
    """Return a drain into a vault, whose catalog is empty."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ[name] = "-"
    os.environ["AWS_DEFAULT_REGION"] = "eu-west-3"
    running.enter_context(mock_aws())
    catalog = Catalog(played.name)
    create(catalog._table)
    journal = journal_of(played, catalog)
    return lambda chance: drains_with_faults(journal, chance)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
