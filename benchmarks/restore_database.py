"""Restoring a 1 GB database of two large tables: Coffre against `pg_restore -j2` and `psql`.

Everything, the server included, shares this machine's cores. Each contender restores into a new database.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.backup_database import fill
from benchmarks.backup_job import run_backup
from benchmarks.harness import Contender, compare, environment_of
from coffre.vault.codec import new_identity, public_key
from coffre_cli.local.postgres_server import PostgresServer
from coffre_cli.local.toolchain import Toolchain


def contenders(server: PostgresServer, home: Path, directory: Path, identity: str) -> list[Contender]:
    """Return what is compared; the first is the yardstick."""
    restored = server.dsn(database="restored")

    def fresh() -> None:
        server.drop_database("restored")
        server.create_database("restored")

    def gone() -> None:
        server.drop_database("restored")

    def shell(name: str, command: str) -> Contender:
        return Contender(name, ["bash", "-c", f"set -o pipefail; {command}"], lambda: 0, fresh)

    job = [sys.executable, "-m", "benchmarks.restore_job", restored, str(home), str(directory / "vault"), identity]
    return [
        shell("pg_restore -j2, from -Fd", f"{home}/bin/pg_restore -j2 -d '{restored}' {directory}/dump"),
        shell("pg_restore, from -Fc", f"{home}/bin/pg_restore -d '{restored}' {directory}/dump.custom"),
        shell("zstd -d, psql", f"zstd -q -d -c {directory}/dump.sql.zst | {home}/bin/psql -qX '{restored}'"),
        Contender("Coffre, age", job, lambda: 0, gone),
    ]


def main() -> None:
    """Fill a database, dump it each way, and compare the restores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="1 is 1 GB of COPY text")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    home = Toolchain().postgresql(18)
    environment = environment_of(home)
    identity = new_identity()
    with PostgresServer(home) as server, tempfile.TemporaryDirectory(prefix="coffre-bench-") as name:
        directory = Path(name)
        url = server.create_database("bench")
        fill(url, arguments.scale)
        dumps = (
            f"{home}/bin/pg_dump -Fd -j2 -f {directory}/dump '{url}'",
            f"{home}/bin/pg_dump -Fc -f {directory}/dump.custom '{url}'",
            f"{home}/bin/pg_dump '{url}' | zstd -q -3 > {directory}/dump.sql.zst",
        )
        for command in dumps:
            subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], env=environment, check=True)
        vault = directory / "vault"
        vault.mkdir()
        run_backup(url, home, vault, recipient=public_key(identity), streams=2, previous=None)
        mark = server.mark
        compare(contenders(server, home, directory, identity), environment, mark.pid if mark else None, arguments.runs)


if __name__ == "__main__":
    main()
