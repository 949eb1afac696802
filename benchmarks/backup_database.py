"""A 1 GB database of two large tables: Coffre against `pg_dump` piped into the usual compressors.

Everything, the server included, shares this machine's cores. Each writes to the same disk.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import psycopg2

from benchmarks.harness import Contender, compare, environment_of, tree_size
from coffre_cli.local.postgres_server import PostgresServer
from coffre_cli.local.toolchain import Toolchain

# Text with some repetition, numbers, timestamps, JSON: about what applications keep; 1 GB as COPY text at scale 1.
_TABLES = """
CREATE TABLE events AS SELECT g AS id, md5(g::text) AS session,
    (ARRAY['view','click','search','buy'])[1 + g %% 4] AS kind,
    timestamptz '2024-01-01' + g * interval '7 seconds' AS at, (g::bigint * 7919) %% 100003 AS user_id,
    jsonb_build_object('path', '/items/' || g %% 5000, 'ms', g %% 997, 'agent', md5((g %% 300)::text)) AS data
FROM generate_series(1, %(events)s) g;
CREATE TABLE orders AS SELECT g AS id, 'customer' || (g::bigint * 31) %% 90001 || '@example.com' AS email,
    round((g %% 100000) * 1.37, 2) AS amount,
    date '2020-01-01' + g %% 1500 AS day, repeat('note ', g %% 7) AS note
FROM generate_series(1, %(orders)s) g;
ALTER TABLE events ADD PRIMARY KEY (id); ALTER TABLE orders ADD PRIMARY KEY (id);
VACUUM (ANALYZE) events, orders; CHECKPOINT;
"""


def fill(url: str, scale: float) -> None:
    """Create the two tables."""
    session = psycopg2.connect(url)
    session.autocommit = True
    with session.cursor() as cursor:
        for statement in _TABLES.split(";"):
            if statement.strip():
                cursor.execute(statement, {"events": int(4_300_000 * scale), "orders": int(5_000_000 * scale)})
    session.close()


def contenders(url: str, home: Path, directory: Path) -> list[Contender]:
    """Return what is compared; the first is the yardstick."""
    dump = f"{home}/bin/pg_dump"
    output, vault = directory / "output", directory / "vault"

    def clean() -> None:
        shutil.rmtree(vault, ignore_errors=True)
        shutil.rmtree(output, ignore_errors=True)
        output.unlink(missing_ok=True)
        vault.mkdir()

    def shell(name: str, command: str) -> Contender:
        return Contender(name, ["bash", "-c", f"set -o pipefail; {command}"], lambda: tree_size(output), clean)

    job = [sys.executable, "-m", "benchmarks.backup_job", url, str(home), str(vault)]
    return [
        shell("pg_dump, zstd -3", f"{dump} '{url}' | zstd -q -3 > {output}"),
        shell("pg_dump, gzip -9", f"{dump} '{url}' | gzip -9 > {output}"),
        shell("pg_dump -Fc", f"{dump} -Fc -f {output} '{url}'"),
        shell("pg_dump -Fd -j2", f"{dump} -Fd -j2 -f {output} '{url}'"),
        Contender("Coffre, age", [*job, "age"], lambda: tree_size(vault), clean),
        Contender("Coffre, no encryption", [*job, "none"], lambda: tree_size(vault), clean),
    ]


def main() -> None:
    """Fill a database and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="1 is 1 GB of COPY text")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="", help="only contenders whose name has this text, and the yardstick")
    arguments = parser.parse_args()
    home = Toolchain().postgresql(18)
    environment = environment_of(home)
    with PostgresServer(home) as server, tempfile.TemporaryDirectory(prefix="coffre-bench-") as directory:
        url = server.create_database("bench")
        fill(url, arguments.scale)
        chosen = contenders(url, home, Path(directory))
        chosen = [c for i, c in enumerate(chosen) if i == 0 or arguments.only in c.name]
        mark = server.mark
        compare(chosen, environment, mark.pid if mark else None, arguments.runs)


if __name__ == "__main__":
    main()
