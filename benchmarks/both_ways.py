"""A database backed up and restored, against `pg_dump -Fd -j2` and `pg_restore -j2` in one run."""

from __future__ import annotations

from typing import Final

from benchmarks.backup_database import coffre as coffre_backup
from benchmarks.backup_database import dumped, emptied
from benchmarks.databases import Database
from benchmarks.harness import compare, ratio
from benchmarks.restore_database import archived, loaded, print_phases, vaulted
from benchmarks.restore_database import coffre as coffre_restore
from benchmarks.workbench import Workbench, workbench

_DUMP: Final = "pg_dump -Fd -j2"
_RESTORE: Final = "pg_restore -j2, from -Fd"
_COFFRE: Final = "Coffre, age"


def backup_and_restore(database: Database, scale: float, runs: int, *, backup_goal: float, restore_goal: float) -> None:
    """Measure both ways, and print how Coffre stands to PostgreSQL's own programs."""
    with workbench(database, scale) as bench:
        _backup(bench, runs, backup_goal)
        emptied(bench.directory / "vault")
        emptied(bench.directory / "dump")
        _restore(bench, runs, restore_goal)


def _backup(bench: Workbench, runs: int, goal: float) -> None:
    contenders = [dumped(bench, _DUMP, "-Fd", "-j2", slow=False), coffre_backup(bench, _COFFRE, "age")]
    samples = compare(contenders, bench.around(), runs, gigabytes=bench.gigabytes)
    ratio(samples, _COFFRE, _DUMP, goal=goal)
    print()


def _restore(bench: Workbench, runs: int, goal: float) -> None:
    directory = archived(bench, "-Fd", "-j2", name="dump")
    identity = vaulted(bench)
    into = bench.server.dsn("restored")
    contenders = [
        loaded(bench, _RESTORE, "pg_restore", "-j2", "-d", into, str(directory)),
        coffre_restore(bench, _COFFRE, identity),
    ]
    samples = compare(contenders, bench.around(), runs, gigabytes=bench.gigabytes)
    print_phases(samples)
    ratio(samples, _COFFRE, _RESTORE, goal=goal)
    print()
