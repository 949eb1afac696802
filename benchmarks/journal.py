"""How fast a journal is drained and applied (docs/adr/0066-a-journal-of-rows.md).

    python -m benchmarks.journal [CHANGES [PLUGIN]]

CPU seconds are those of this process and of the server's backend for its session.

The vault is a directory, encrypted; the catalog is moto's.

Six tenths are inserts, three tenths updates and one tenth deletes, of transactions with 140 rows and one with three
tenths of all rows. Replay is applied to an empty base of a server of its own, and every row is compared.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import psutil
import psycopg2.extensions
from moto import mock_aws
from tests.catalog_table import create
from tests.integration.journal_scene import OPTIONS, Scene, scene
from tests.integration.journal_vault import Journal, journal_of

from coffre.catalog.catalog import Catalog
from coffre.postgres.journal import slot, slot_changes, test_decoding
from coffre.postgres.journal.stream import stream
from coffre.postgres.journal.test_decoding import decode
from coffre_local.postgres_server import PostgresServer
from coffre_local.toolchain import Toolchain

_ROWS: Final = 140
_TABLE: Final = (
    "CREATE TABLE item (id bigint PRIMARY KEY, owner int, name text, price numeric, at timestamptz, data jsonb)"
)
_INSERT: Final = """
INSERT INTO item SELECT i, i % 97, 'name ' || md5(i::text), i * 1.01, now(), jsonb_build_object('n', i)
FROM generate_series({}, {}) i
"""


def main(arguments: list[str]) -> int:
    """Measure one run, and print what it took."""
    changes = int(arguments[0]) if arguments else 1_000_000
    plugin = arguments[1] if arguments[1:] else test_decoding.PLUGIN
    toolchain = Toolchain()
    home = toolchain.postgresql(18)
    with ExitStack() as running:
        scratch = Path(running.enter_context(tempfile.TemporaryDirectory()))
        server = running.enter_context(PostgresServer(home, OPTIONS))
        played = running.enter_context(scene(server, home, scratch, "journal", plugin))
        played.begin(_TABLE)
        played.take_base()
        journal = into_a_vault(running, played)
        inserts, first = changes * 6 // 10, changes * 3 // 10
        played.run(_INSERT.format(1, first))
        step = _ROWS * 6 // 10
        for start in range(first + 1, inserts + 1, step):
            end = min(start + step - 1, inserts)
            played.run(
                _INSERT.format(start, end),
                f"UPDATE item SET price = price + 1 WHERE id BETWEEN {start - first} AND {start - first + step - 1}",
                f"DELETE FROM item WHERE id BETWEEN {(start - first) * 2} AND {(start - first) * 2 + step // 3 - 1}",
            )
        began, here = time.perf_counter(), time.process_time()
        report = journal.drain()
        took, here = time.perf_counter() - began, time.process_time() - here
        rows = report.lines - 2 * report.transactions
        print(f"into the vault: {rows} changes in {report.segments} segments, {took:.1f} s", end="")
        print(f", CPU {here:.1f} s here", end="")
        print(f", {report.stored_bytes / rows:.1f} MB stored for a million")
        found = slot.require_ours(played.reader, played.ours)
        began, cpu = time.perf_counter(), used(played.reader)
        segment = list(slot_changes.lines(played.reader, played.ours.name, found.flush_lsn, plugin))
        drained = time.perf_counter() - began
        size = sum(len(line.data) for line in segment)
        print(f"{len(segment)} lines of {size / 1e6:.0f} MB, {found.retained_bytes / 1e6:.0f} MB of WAL")
        print(f"drain: {drained:.1f} s, CPU {shown(cpu, used(played.reader))}")
        began, here = time.perf_counter(), time.process_time()
        lines = sum(1 for _ in stream(journal.job.connection, played.ours, found.flush_lsn, lambda: None))
        took, here = time.perf_counter() - began, time.process_time() - here
        print(f"by a stream: {lines} lines, {took:.1f} s, CPU {here:.1f} s here")
        began = time.process_time()
        rows = sum(1 for _ in decode(segment))
        print(f"decode: {rows / (time.process_time() - began):,.0f} lines a CPU second")
        played.segments.append(segment)
        began, cpu = time.perf_counter(), used(played.copy)
        position = played.replay_to().position
        took = time.perf_counter() - began
        print(f"replay: {position.changes} changes, {position.changes / took:,.0f} a second", end="")
        print(f" ({took:.1f} s, CPU {shown(cpu, used(played.copy))})")
        played.require_equal()
    return 0


def into_a_vault(running: ExitStack, played: Scene) -> Journal:
    """Begin a journal of the same database that is drained into a vault."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "-", "AWS_SECRET_ACCESS_KEY": "-", "AWS_DEFAULT_REGION": "eu-west-3"}
    running.enter_context(mock_aws())
    catalog = Catalog("journals")
    create(catalog._table)
    journal = journal_of(played, catalog)
    journal.drain()
    return journal


def used(session: psycopg2.extensions.connection) -> tuple[float, float]:
    """Return the CPU seconds of this process, and of the backend of a session."""
    times = psutil.Process(session.info.backend_pid).cpu_times()
    return time.process_time(), times.user + times.system


def shown(before: tuple[float, float], after: tuple[float, float]) -> str:
    """Write how many CPU seconds both have used."""
    return f"{after[0] - before[0]:.1f} s here and {after[1] - before[1]:.1f} s at the server"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
