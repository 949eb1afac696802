"""Restores: all of a database against `pg_restore -j2` and `psql`, and one table of 500 against all of them.

Everything, the server included, shares this machine's cores. Each contender restores into a new database.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import psycopg2

from benchmarks.backup_job import run_backup
from benchmarks.databases import MANY_TABLES, TWO_TABLES
from benchmarks.harness import Contender, Sample, compare, progress, ratio
from benchmarks.workbench import Workbench, arguments_of, environment, job, workbench
from coffre.vault.codec import new_identity, public_key
from coffre_local.postgres_server import PostgresServer

_PARALLEL = "pg_restore -j2, from -Fd"
_COFFRE = "Coffre, age"
_ONE_TABLE = "Coffre, one table"
_CHOSEN = "public.table_250"


def emptied(server: PostgresServer, *, create: bool) -> None:
    """Drop what an earlier run restored, and let the server write down what it owes: that is nobody else's work."""
    server.drop_database("restored")
    if create:
        server.create_database("restored")
    executed(server.dsn(), "CHECKPOINT")


def executed(url: str, *statements: str) -> None:
    """Run statements, each in a transaction of its own."""
    session = psycopg2.connect(url)
    session.autocommit = True
    with session.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    session.close()


def archived(bench: Workbench, *options: str, name: str) -> Path:
    """Dump the database before anything is measured."""
    progress(f"  preparing {name}")
    file = bench.directory / name
    subprocess.run([bench.program("pg_dump"), *options, "-f", file, bench.url], env=_variables(bench), check=True)
    return file


def _variables(bench: Workbench) -> dict[str, str]:
    return {**environment(), "LD_LIBRARY_PATH": str(bench.home / "lib")}


def vaulted(bench: Workbench) -> str:
    """Back the database up into `vault` and return the identity that opens it."""
    progress("  preparing the vault")
    identity = new_identity()
    vault = bench.directory / "vault"
    vault.mkdir()
    run_backup(bench.url, bench.home, vault, recipient=public_key(identity), streams=2, previous=None)
    return identity


def loaded(bench: Workbench, name: str, *argv: str, slow: bool = False) -> Contender:
    """Return one of PostgreSQL's programs that loads into an empty database."""
    return Contender(
        name, [[bench.program(argv[0]), *argv[1:]]], partial(emptied, bench.server, create=True), slow=slow
    )


def coffre(bench: Workbench, name: str, identity: str, *options: object, url: str = "") -> Contender:
    """Return Coffre's restore, which makes the database itself; options are streams, and the tables to restore."""
    restored = url or bench.server.dsn("restored")
    argv = job("restore_job", restored, bench.directory / "vault", identity, *options)
    return Contender(name, [argv], partial(emptied, bench.server, create=False), reports=True)


def print_phases(samples: Mapping[str, Sequence[Sample]]) -> None:
    """Print how long the phases of our own restores took, in the run of the middle."""
    for name, found in samples.items():
        phases = sorted(found, key=lambda sample: sample.wall)[len(found) // 2].report.get("phases_ms")
        if isinstance(phases, dict):
            print(f"phases of `{name}`, ms: {', '.join(f'{phase} {ms}' for phase, ms in phases.items())}\n")


def _one_table(bench: Workbench, identity: str, directory: Path) -> Contender:
    """Return the restore of one table that was dropped from a database which has all the others."""
    url = bench.server.create_database("dropped")
    progress("  preparing the database that lacks a table")
    subprocess.run([bench.program("pg_restore"), "-j2", "-d", url, directory], env=_variables(bench), check=True)
    contender = coffre(bench, _ONE_TABLE, identity, 2, _CHOSEN, url=url)
    return replace(contender, clean=lambda: executed(url, f"DROP TABLE IF EXISTS {_CHOSEN}", "CHECKPOINT"))


def _all_of_it(scale: float, runs: int) -> None:
    with workbench(TWO_TABLES, scale) as bench:
        restored = bench.server.dsn("restored")
        directory = archived(bench, "-Fd", "-j2", name="dump")
        custom = archived(bench, "-Fc", name="dump.custom")
        plain = archived(bench, name="dump.sql")
        identity = vaulted(bench)
        contenders = [
            loaded(bench, _PARALLEL, "pg_restore", "-j2", "-d", restored, str(directory)),
            coffre(bench, _COFFRE, identity),
            coffre(bench, f"{_COFFRE}, and ANALYZE", identity, 2, "--analyze"),
            loaded(bench, "psql, from plain", "psql", "-qX", "-o", "/dev/null", "-f", str(plain), restored),
            loaded(bench, "pg_restore, from -Fc", "pg_restore", "-d", restored, str(custom), slow=True),
        ]
        samples = compare(contenders, bench.around(), runs, gigabytes=bench.gigabytes)
        print_phases(samples)
    ratio(samples, _COFFRE, _PARALLEL, goal=0.95)
    print()


def _one_of_500(scale: float, runs: int) -> None:
    with workbench(MANY_TABLES, scale) as bench:
        restored = bench.server.dsn("restored")
        directory = archived(bench, "-Fd", "-j2", name="dump")
        identity = vaulted(bench)
        contenders = [
            coffre(bench, _COFFRE, identity),
            loaded(bench, _PARALLEL, "pg_restore", "-j2", "-d", restored, str(directory)),
            loaded(bench, "pg_restore -t, no index", "pg_restore", "-t", "table_250", "-d", restored, str(directory)),
        ]
        contenders.append(_one_table(bench, identity, directory))
        samples = compare(contenders, bench.around(), runs, gigabytes=bench.gigabytes)
        print_phases(samples)
    ratio(samples, _COFFRE, _PARALLEL, goal=1.0)
    ratio(samples, _ONE_TABLE, _COFFRE, goal=0.03)
    print()


def main() -> None:
    """Fill the databases, dump them each way, and compare the restores."""
    parser = arguments_of(__doc__)
    parser.add_argument("--part", choices=["all", "two-tables", "500-tables"], default="all")
    arguments = parser.parse_args()
    if arguments.part != "500-tables":
        _all_of_it(arguments.scale, arguments.runs)
    if arguments.part != "two-tables":
        _one_of_500(arguments.scale, arguments.runs)


if __name__ == "__main__":
    main()
