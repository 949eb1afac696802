"""Thirty days with a base a week and a journal between: bytes; and a base with a day of journal restored: time.

    python -m benchmarks.journal_month [--rows 2000000] [--days 30] [--drains 24]

The database is (b) of `benchmarks.incremental`: 1 % of the rows updated a day, all among the newest 5 %, and 1 % new
rows. A day has `--drains` drains, with the same share of its changes before each.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.integration.journal_scene import OPTIONS, Scene, scene

from benchmarks.backup_job import run_backup
from benchmarks.harness import progress, tree_size
from benchmarks.incremental import APPEND, CREATE
from benchmarks.journal import into_a_vault
from benchmarks.newest import newest
from benchmarks.restore_job import restore
from coffre.postgres.destination import marks
from coffre.postgres.journal.changes import Line
from coffre.postgres.journal.replay import Replay
from coffre.postgres.journal.replay_source import Source
from coffre.postgres.journal.transactions import BaseSnapshot
from coffre.vault.codec import FrameDecoder, new_identity, public_key
from coffre.vault.journal import read_lines
from coffre_local.postgres_server import PostgresServer
from coffre_local.toolchain import Toolchain

_WEEK = 7
_UPDATE = """UPDATE events SET version = version + 1
    WHERE id IN (SELECT id FROM events WHERE id > (SELECT max(id) * 0.95 FROM events)
                 ORDER BY md5(id::text || '{seed}') LIMIT {rows})"""


def main() -> None:
    """Run the days, and print what was stored and how long the last base took with a day more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--drains", type=int, default=24)
    arguments = parser.parse_args()
    home = Toolchain().postgresql(18)
    with ExitStack() as running:
        scratch = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="coffre-bench-")))
        server = running.enter_context(PostgresServer(home, OPTIONS))
        played = running.enter_context(scene(server, home, scratch, "month"))
        _run(running, played, arguments)


def _run(running: ExitStack, played: Scene, arguments: argparse.Namespace) -> None:
    url, folder, identity = played.server.dsn(played.name), played.scratch / "bases", new_identity()

    folder.mkdir()

    def back_up(where: Path) -> int:
        before = tree_size(where)
        run_backup(url, played.home, where, recipient=public_key(identity), streams=2, previous=newest(where))
        return tree_size(where) - before

    played.run(CREATE, APPEND % {"first": 1, "last": arguments.rows})
    journal = into_a_vault(running, played)
    drained = played.scratch / f"vault-{played.name}"
    share = max(arguments.rows // 100 // arguments.drains, 1)
    last = arguments.rows
    bases, days = [back_up(folder)], list[int]()
    base = journal.base()
    for day in range(1, arguments.days):
        before = tree_size(drained)
        for number in range(arguments.drains):
            rows = {"first": last + 1, "last": last + share}
            last += share
            seed = f"{day} {number}"
            played.run(APPEND % rows, _UPDATE.format(seed=seed, rows=share))
            journal.drain()
        days.append(tree_size(drained) - before)
        if day % _WEEK == 0 and day < arguments.days - 1:
            bases.append(back_up(folder))
            base = journal.base()
        progress(f"  day {day + 1}: journal {days[-1] / 1e6:.2f} MB, bases {sum(bases) / 1e6:.1f} MB")
    with tempfile.TemporaryDirectory(prefix="coffre-bench-") as full:
        whole = back_up(Path(full))
    total = sum(bases) + sum(days)
    print(f"{arguments.days} days of {arguments.rows:,} rows, {arguments.drains} drains a day")
    print(f"bases {', '.join(f'{size / 1e6:.1f}' for size in bases)} MB", end="")
    print(f"; a day of journal {statistics.median(days) / 1e6:.2f} MB (median)", end="")
    print(f"; all {total / 1e6:.1f} MB, full on the last day {whole / 1e6:.1f} MB: ratio {total / whole:.2f}")

    began = time.perf_counter()
    restore(played.server.dsn(f"{played.name}_copy"), str(folder), identity)
    alone = time.perf_counter() - began
    copy = played.copy = played.connect(f"{played.name}_copy")
    marks.begin(copy, marks.SCHEMA, "a benchmark")
    began = time.perf_counter()
    replay = Replay(copy, Source(BaseSnapshot.parse(base.snapshot, base.lsn), played.definitions()))
    decoder = FrameDecoder([journal.identity])
    for segment in journal.segments():
        if segment.to_lsn > (base.lsn or 0):
            lines = [Line(*line) for line in read_lines(journal.job.vault, segment, decoder)]
            replay.apply(lambda lines=lines: lines)  # type: ignore[misc]
    with_journal = alone + time.perf_counter() - began
    changes = replay.position.changes
    print(f"restore of the last base {alone:.1f} s, with {changes:,} changes {with_journal:.1f} s", end="")
    print(f": ratio {with_journal / alone:.2f}")
    played.require_equal()


if __name__ == "__main__":
    main()
