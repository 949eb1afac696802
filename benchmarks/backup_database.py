"""Full backups: Coffre against `pg_dump` with the usual compressors, and against restic.

Everything, the server included, shares this machine's cores, and each contender writes to the same disk. Coffre is
the data path of the function (snapshot, schema archive, slices, hashes, zstd, age, packs, manifest) as a process of its
own, interpreter start and imports included, into a directory.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.databases import DATABASES, Database
from benchmarks.harness import Contender, compare, progress, ratio, tree_size
from benchmarks.workbench import Workbench, arguments_of, environment, has_tool, job, workbench

YARDSTICK = "pg_dump, zstd -3"
_GZIP = "pg_dump, gzip -9"
_COFFRE = "Coffre, age"


def emptied(path: Path, *, make: bool = False) -> None:
    """Remove what an earlier run wrote, and make the directory if one is wanted."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if make:
        path.mkdir()


def piped(bench: Workbench, name: str, *compress: str, slow: bool = False) -> Contender:
    """Return `pg_dump | compress` into a file."""
    file = bench.directory / "dump"
    dump = [bench.program("pg_dump"), bench.url]
    return Contender(name, [dump, compress], partial(emptied, file), partial(tree_size, file), output=file, slow=slow)


def dumped(bench: Workbench, name: str, *options: str, url: str = "", slow: bool = True) -> Contender:
    """Return a `pg_dump` that writes its own archive; its compression is gzip, which is slow where there is much."""
    file = bench.directory / "dump"
    dump = [bench.program("pg_dump"), *options, "-f", str(file), url or bench.url]
    return Contender(name, [dump], partial(emptied, file), partial(tree_size, file), slow=slow)


def coffre(
    bench: Workbench, name: str, encryption: str, *options: str, url: str = "", clean: Callable[[], None] | None = None
) -> Contender:
    """Return Coffre's backup; options are the number of streams, `--timers`."""
    vault = bench.directory / "vault"
    return Contender(
        name,
        [job("backup_job", url or bench.url, bench.home, vault, encryption, *options)],
        clean or partial(emptied, vault, make=True),
        partial(tree_size, vault),
        reports=True,
    )


def _restic(bench: Workbench) -> Contender:
    repository = bench.directory / "restic"
    common = ["restic", "--quiet", "--no-cache", "--repo", str(repository)]

    def clean() -> None:
        emptied(repository)
        subprocess.run([*common, "init"], env=environment(), stdout=subprocess.DEVNULL, check=True)

    pipeline = [[bench.program("pg_dump"), bench.url], [*common, "backup", "--stdin"]]
    return Contender("pg_dump, restic", pipeline, clean, partial(tree_size, repository), slow=True)


def contenders(bench: Workbench, database: Database) -> list[Contender]:
    """Return what is compared; the first is the yardstick. For the large database nothing slow but `-Fd`."""
    slow = []
    if not database.is_large:
        slow = [piped(bench, _GZIP, "gzip", "-9", slow=True), dumped(bench, "pg_dump -Fc", "-Fc")]
        slow += [_restic(bench)] if has_tool("restic", "restic") else []
    return [
        piped(bench, YARDSTICK, "zstd", "-q", "-3"),
        coffre(bench, _COFFRE, "age"),
        replace(coffre(bench, "Coffre, no encryption", "none"), slow=database.is_large),
        dumped(bench, "pg_dump -Fd -j2", "-Fd", "-j2"),
        *slow,
    ]


def main() -> None:
    """Fill each database and compare."""
    parser = arguments_of(__doc__)
    parser.add_argument("--database", choices=[*DATABASES, "all"], default="all")
    parser.add_argument("--only", default="", help="only contenders whose name has this text, and the yardstick")
    arguments = parser.parse_args()
    for database in DATABASES.values() if arguments.database == "all" else [DATABASES[arguments.database]]:
        progress(f"== {database.title}")
        with workbench(database, arguments.scale) as bench:
            chosen = [c for i, c in enumerate(contenders(bench, database)) if i == 0 or arguments.only in c.name]
            samples = compare(chosen, bench.around(), arguments.runs, gigabytes=bench.gigabytes)
        ratio(samples, _COFFRE, YARDSTICK, goal=0.85)
        ratio(samples, _COFFRE, _GZIP, goal=0.22)
        print()


if __name__ == "__main__":
    main()
