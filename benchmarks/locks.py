"""What a migration feels of a backup, and the backup of a migration, against `pg_dump`.

The database is read over a link, as a managed one is. First `ALTER TABLE` is run again and again, on one table after
another, next to each contender: how long does one wait? Then each contender runs many times, each time with a migration
of five statements that begins at a random moment and gives up a statement that has waited for two seconds.
"""

from __future__ import annotations

import itertools
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

import psycopg2
import psycopg2.extensions

from benchmarks.backup_database import emptied
from benchmarks.databases import MANY_TABLES, TABLES
from benchmarks.harness import progress
from benchmarks.link import open_link
from benchmarks.workbench import Workbench, arguments_of, environment, job, workbench

_RATE: Final = 16_000_000
_YARDSTICK: Final = "pg_dump"
_COFFRE: Final = "Coffre, two streams"
_GIVES_UP: Final = "SET lock_timeout = '2s'"

# Each on a table of its own; the last three are what no snapshot survives before the table is read.
_MIGRATION: Final = (
    "ALTER TABLE {0} ADD late integer NOT NULL DEFAULT 7",
    "CREATE INDEX late ON {0} (at)",
    "ALTER TABLE {0} ALTER user_id TYPE numeric",
    "ALTER TABLE {0} DROP COLUMN data",
    "ALTER TABLE {0} RENAME COLUMN kind TO sort",
)
_UNDO: Final = (
    "ALTER TABLE {0} DROP late",
    "DROP INDEX late",
    "ALTER TABLE {0} ALTER user_id TYPE bigint",
    "ALTER TABLE {0} ADD data jsonb",
    "ALTER TABLE {0} RENAME COLUMN sort TO kind",
)


@dataclass
class Outcome:
    """What was seen of one contender."""

    seconds: list[float] = field(default_factory=list)
    completed: int = 0
    migrated: int = 0
    waits: list[float] = field(default_factory=list)


def _contenders(bench: Workbench, url: str) -> dict[str, list[str]]:
    vault = bench.directory / "vault"
    return {
        _YARDSTICK: [bench.program("pg_dump"), url],
        _COFFRE: job("backup_job", url, bench.home, vault, "age", 2),
    }


def _start(bench: Workbench, argv: Sequence[str]) -> subprocess.Popen[bytes]:
    emptied(bench.directory / "vault", make=True)
    variables = {**environment(), "LD_LIBRARY_PATH": str(bench.home / "lib")}
    return subprocess.Popen(argv, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _session(bench: Workbench) -> psycopg2.extensions.connection:
    session = psycopg2.connect(bench.url)
    session.autocommit = True
    return session


def _timed(cursor: psycopg2.extensions.cursor, statement: str) -> float:
    began = time.monotonic()
    cursor.execute(statement)
    return time.monotonic() - began


def _tables() -> Iterator[str]:
    """Yield the tables in a random order, again and again."""
    names = [f"table_{number:03d}" for number in range(TABLES)]
    chance = random.Random(1)
    while True:
        yield from chance.sample(names, len(names))


def alter_while_it_runs(bench: Workbench, argv: Sequence[str], runs: int) -> Outcome:
    """Alter tables for as long as a contender runs; the statement changes nothing, it waits for its lock."""
    seen = Outcome()
    for _ in range(runs):
        began = time.monotonic()
        with closing(_session(bench)) as session, session.cursor() as cursor, _start(bench, argv) as child:
            for table in _tables():
                seen.waits.append(_timed(cursor, f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS at timestamptz"))
                if child.poll() is not None:
                    break
        seen.completed += child.returncode == 0
        seen.seconds.append(time.monotonic() - began)
    return seen


def migrate_while_it_runs(bench: Workbench, argv: Sequence[str], runs: int, usual_seconds: float) -> Outcome:
    """Run a migration at a random moment of each of many runs."""
    seen = Outcome()
    chance, tables = random.Random(2), _tables()
    for number in range(runs):
        chosen = list(itertools.islice(tables, len(_MIGRATION)))
        done: list[float] = []
        migration = threading.Thread(
            target=_migrate, args=(bench, chosen, done, chance.uniform(0, 0.9 * usual_seconds))
        )
        began = time.monotonic()
        with _start(bench, argv) as child:
            migration.start()
        seen.seconds.append(time.monotonic() - began)
        migration.join()
        seen.completed += child.returncode == 0
        seen.migrated += len(done) == len(_MIGRATION)
        seen.waits.extend(done)
        _undo(bench, chosen, len(done))
        if number % 10 == 9:
            progress(f"  {number + 1} of {runs}: {seen.completed} completed, {seen.migrated} migrations")
    return seen


def _migrate(bench: Workbench, tables: Sequence[str], done: list[float], pause: float) -> None:
    time.sleep(pause)
    with closing(_session(bench)) as session, session.cursor() as cursor:
        cursor.execute(_GIVES_UP)
        for table, statement in zip(tables, _MIGRATION, strict=True):
            try:
                done.append(_timed(cursor, statement.format(table)))
            except psycopg2.errors.LockNotAvailable:
                return


def _undo(bench: Workbench, tables: Sequence[str], statements: int) -> None:
    with closing(_session(bench)) as session, session.cursor() as cursor:
        for table, statement in list(zip(tables, _UNDO, strict=True))[:statements]:
            cursor.execute(statement.format(table))


def _print_waits(found: Mapping[str, Outcome]) -> None:
    print("| contender | runs completed | run, median s | ALTER TABLEs | longest wait s | ratio | 99 of 100 within s |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    base = max(found[_YARDSTICK].waits)
    for name, seen in found.items():
        longest, most = max(seen.waits), statistics.quantiles(seen.waits, n=100)[98]
        print(
            f"| {name} | {seen.completed} of {len(seen.seconds)} | {statistics.median(seen.seconds):.1f} "
            f"| {len(seen.waits):,} | {longest:.2f} | {longest / base:.2f} | {most:.2f} |",
            flush=True,
        )
    print()


def _print_migrations(found: Mapping[str, Outcome]) -> None:
    print("| contender | runs | backups completed | migrations completed | both s, median | longest statement s |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, seen in found.items():
        print(
            f"| {name} | {len(seen.seconds)} | {seen.completed} | {seen.migrated} "
            f"| {statistics.median(seen.seconds):.1f} | {max(seen.waits, default=0.0):.2f} |",
            flush=True,
        )


def main() -> int:
    """Fill a database and measure both."""
    parser = arguments_of(__doc__)
    parser.add_argument("--rate", type=float, default=_RATE, help="bytes a second, each connection, each way")
    parser.add_argument("--migrations", type=int, default=100, help="runs with a migration, for each contender")
    arguments = parser.parse_args()
    with workbench(MANY_TABLES, arguments.scale) as bench, open_link(bench.server.port, arguments.rate) as link:
        contenders = _contenders(bench, link.through(bench.url))
        waits: dict[str, Outcome] = {}
        for name, argv in contenders.items():
            progress(f"ALTER TABLE next to {name}")
            waits[name] = alter_while_it_runs(bench, argv, arguments.runs)
        _print_waits(waits)
        migrations: dict[str, Outcome] = {}
        for name, argv in contenders.items():
            progress(f"migrations next to {name}")
            usual = statistics.median(waits[name].seconds)
            migrations[name] = migrate_while_it_runs(bench, argv, arguments.migrations, usual)
        _print_migrations(migrations)
    return 0


if __name__ == "__main__":
    sys.exit(main())
