"""Backup and restore over a link that gives each connection 25 MB/s, like a managed database across a network.

The link is a process of its own on the same machine (benchmarks/link.py); what it takes of the processor has a column.
"""

from __future__ import annotations

from functools import partial

from benchmarks.backup_database import YARDSTICK, coffre, dumped, emptied
from benchmarks.databases import TWO_TABLES
from benchmarks.harness import Contender, compare, ratio, tree_size
from benchmarks.link import DEFAULT_RATE, Link, open_link
from benchmarks.restore_database import archived, loaded, vaulted
from benchmarks.restore_database import coffre as coffre_restore
from benchmarks.workbench import Workbench, arguments_of, workbench

_COFFRE = "Coffre, age, four streams"
_CUSTOM = "pg_restore, from -Fc"


def _backups(bench: Workbench, link: Link) -> list[Contender]:
    url, file = link.through(bench.url), bench.directory / "dump"
    piped = [[bench.program("pg_dump"), url], ["zstd", "-q", "-3"]]
    return [
        Contender(YARDSTICK, piped, partial(emptied, file), partial(tree_size, file), output=file),
        coffre(bench, _COFFRE, "age", "4", url=url),
        dumped(bench, "pg_dump -Fd -j4", "-Fd", "-j4", url=url),
    ]


def _restores(bench: Workbench, link: Link) -> list[Contender]:
    restored = link.through(bench.server.dsn("restored"))
    emptied(bench.directory / "vault")
    emptied(bench.directory / "dump")
    identity = vaulted(bench)
    custom = str(archived(bench, "-Fc", name="dump.custom"))
    return [
        loaded(bench, _CUSTOM, "pg_restore", "-d", restored, custom),
        coffre_restore(bench, _COFFRE, identity, 4, url=restored),
        loaded(bench, "pg_restore -j4, from -Fc", "pg_restore", "-j4", "-d", restored, custom, slow=True),
    ]


def main() -> None:
    """Fill a database and compare, first backups, then restores."""
    parser = arguments_of(__doc__)
    parser.add_argument("--rate", type=float, default=DEFAULT_RATE, help="bytes a second, each connection, each way")
    parser.add_argument("--part", choices=["all", "backup", "restore"], default="all")
    arguments = parser.parse_args()
    with (
        workbench(TWO_TABLES, arguments.scale) as bench,
        open_link(bench.server.port, arguments.rate) as link,
    ):
        around = bench.around(link.pid)
        if arguments.part != "restore":
            samples = compare(_backups(bench, link), around, arguments.runs, gigabytes=bench.gigabytes)
            ratio(samples, _COFFRE, YARDSTICK, goal=0.30)
            print()
        if arguments.part != "backup":
            samples = compare(_restores(bench, link), around, arguments.runs, gigabytes=bench.gigabytes)
            ratio(samples, _COFFRE, _CUSTOM, goal=0.30)


if __name__ == "__main__":
    main()
