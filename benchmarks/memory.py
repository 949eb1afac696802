"""Peak memory of a backup for data that is hard on it: big rows, many rows, many tables, nothing to compress.

The process tree of one full backup (`benchmarks.backup_job`), with as many streams as are given, without the server.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import psycopg2

from benchmarks.harness import Contender, Surroundings, measure, tree_size
from benchmarks.workbench import arguments_of, environment, job
from coffre_local.postgres_server import PostgresServer, ServerOptions
from coffre_local.toolchain import Toolchain

_NOISE = "decode((SELECT string_agg(md5(random()::text), '') FROM generate_series(1, {count}) WHERE n = n), 'hex')"
# What each case is, and the statements that make it at scale 1.
_CASES = {
    "one table of 2 GB": "CREATE TABLE t AS SELECT n AS id, repeat(md5(n::text), 30) AS body"
    " FROM generate_series(1, {rows}) n|2000000",
    "rows of 200 MB of bytea": "CREATE TABLE t (id int, body bytea); ALTER TABLE t ALTER body SET STORAGE EXTERNAL;"
    " INSERT INTO t SELECT n, part || part"
    " FROM (SELECT n, decode(repeat(md5(n::text), 6250000), 'hex') AS part"
    " FROM generate_series(1, {rows}) n) AS parts|4",
    "10 million narrow rows": "CREATE TABLE t AS SELECT n AS id FROM generate_series(1, {rows}) n|10000000",
    "10,000 empty tables": "DO $$ BEGIN FOR n IN 1..{rows} LOOP EXECUTE format('CREATE TABLE t%s (id int)', n);"
    " IF n % 100 = 0 THEN COMMIT; END IF; END LOOP; END $$|10000",
    "1 GB that does not compress": f"CREATE TABLE t AS SELECT n AS id, {_NOISE.format(count=65536)} AS body"
    " FROM generate_series(1, {rows}) n|512",
}


def fill(url: str, case: str, scale: float) -> None:
    """Make a case's database."""
    statements, rows = _CASES[case].rsplit("|", 1)
    session = psycopg2.connect(url)
    session.autocommit = True
    with session.cursor() as cursor:
        for statement in [statements] if statements.startswith("DO") else statements.split(";"):
            cursor.execute(statement.replace("{rows}", str(max(1, int(int(rows) * scale)))))
    session.close()


def main() -> None:
    """Measure every case."""
    parser = arguments_of(__doc__, runs=1)
    parser.add_argument("--streams", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--only", default="", help="only cases whose name has this text")
    arguments = parser.parse_args()
    home = Toolchain().postgresql(18)
    around = Surroundings(environment(), home)
    print("| case | streams | peak memory MB | wall s | stored MB |")
    print("|---|---:|---:|---:|---:|")
    for case in (case for case in _CASES if arguments.only in case):
        with PostgresServer(home, ServerOptions(settings={"max_locks_per_transaction": "256"})) as server:
            url = server.create_database("memory")
            fill(url, case, arguments.scale)
            for streams in arguments.streams * arguments.runs:
                _measure(case, streams, url, around)


def _measure(case: str, streams: int, url: str, around: Surroundings) -> None:
    with tempfile.TemporaryDirectory(prefix="coffre-bench-") as directory:
        argv = job("backup_job", url, around.home, directory, "age", streams)
        sample = measure(Contender(case, [argv], size=lambda: tree_size(Path(directory)), reports=True), around)
    print(
        f"| {case} | {streams} | {sample.peak_rss / 1e6:.0f} | {sample.wall:.1f} | {sample.stored / 1e6:.0f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
