"""Random workloads whose journal is applied to a base, with drains that lose their advance and processes that die.

    python -m benchmarks.journal_faults 100 [FIRST_SEED [vault | tail | kit]]

With `vault` drains store into a directory, are killed between two steps, run in small ones, and lose the catalog. With
`tail` definitions are changed between two drains, and the moments in between are compared; with `kit` what the recovery
kit makes of them is compared with what Coffre does.
Each run has a seed, which decides all that it does (tests/integration/journal_scene.py); majors 14 to 18 take turns.
After each of several commits every row of every table is compared. The last line has the seeds that failed.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from moto import mock_aws
from tests.catalog_table import create
from tests.integration.journal_kit_tails import play_kit
from tests.integration.journal_scene import OPTIONS, Scene, play, scene
from tests.integration.journal_tails import play_tail
from tests.integration.journal_vault import Journal, drains_with_faults, journal_of

from coffre.catalog.catalog import Catalog
from coffre_local.postgres_server import PostgresServer
from coffre_local.toolchain import Toolchain

_MAJORS: Final = (14, 15, 16, 17, 18)


def main(arguments: list[str]) -> int:
    """Run the seeds, and say how many were equal and which were not."""
    kind = arguments[2] if len(arguments) > 2 else ""
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
                    changes += PLAYS[kind](one, played, seed)
            except Exception:  # noqa: BLE001 - each is counted, and the next one runs
                traceback.print_exc()
                failed.append(f"{seed} ({major})")
            print(f"{seed} ({major}) {'not equal' if failed[-1:] == [f'{seed} ({major})'] else 'equal'}", flush=True)
    what = "moments compared" if kind in ("tail", "kit") else "changes applied"
    print(f"{runs - len(failed)} of {runs} equal, {changes} {what}; seeds that were not: {failed or 'none'}")
    return 1 if failed else 0


def into_vault(running: ExitStack, played: Scene, seed: int) -> int:
    """Play with drains into a vault."""
    journal = journal_in(running, played)
    return play(played, seed, drain=lambda chance: drains_with_faults(journal, chance))


def journal_in(running: ExitStack, played: Scene) -> Journal:
    """Return a journal in a vault, whose catalog is empty."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ[name] = "-"
    os.environ["AWS_DEFAULT_REGION"] = "eu-west-3"
    running.enter_context(mock_aws())
    catalog = Catalog(played.name)
    create(catalog._table)
    return journal_of(played, catalog)


PLAYS: Final[dict[str, Callable[[ExitStack, Scene, int], int]]] = {
    "": lambda _, played, seed: play(played, seed),
    "vault": into_vault,
    "tail": lambda running, played, seed: play_tail(journal_in(running, played), seed),
    "kit": lambda running, played, seed: play_kit(journal_in(running, played), seed),
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
