"""What the rows of a snapshot refer to, for a restore point: a million rows into the vault's lists, and out of them.

Goal: memory does not grow with the rows.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import psycopg2

from benchmarks.harness import progress
from coffre.operations.points.begin import references_of
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.postgres.source.object_references import referenced_objects
from coffre.postgres.source.snapshot import hold_snapshot
from coffre.stores.directory import DirectoryStore
from coffre.vault.points import read_references, write_references
from coffre_local.postgres_server import PostgresServer
from coffre_local.toolchain import Toolchain

_POINT: Final = ("bench", "01K9X000000000000000000001")
_TABLE: Final = """
CREATE TABLE documents AS
SELECT 'files-' || n %% 3 AS bucket, md5(n::text) || '/invoice-' || n || '.pdf' AS key, md5(n::text) AS etag, n AS size
FROM generate_series(1, %s) AS n
"""
_QUERY: Final = "SELECT bucket, key, etag, size FROM documents"


def main() -> int:
    """Measure, and print a row of the table in docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    home = Toolchain(on_step=progress).postgresql(18)
    with PostgresServer(home) as server, tempfile.TemporaryDirectory(prefix="coffre-bench-") as directory:
        url = server.create_database("bench")
        with psycopg2.connect(url) as session, session.cursor() as cursor:
            progress(f"filling {rows:,} rows")
            cursor.execute(_TABLE, (rows,))
        session.close()
        _measure(url, rows, DirectoryStore(Path(directory)))
    return 0


def _measure(url: str, rows: int, store: DirectoryStore) -> None:
    connection, children = parse_secret(url, where="the benchmark"), Children()
    before = _peak_mb()
    with hold_snapshot(connection, children, lock_timeout_seconds=10) as holder:
        began = time.monotonic()
        found = referenced_objects(connection, children, snapshot=holder.snapshot, query=_QUERY, timeout_seconds=600)
        lists = write_references(store, *_POINT, references_of(found))
        written = time.monotonic() - began
    began = time.monotonic()
    count = sum(1 for _ in read_references(store, lists))
    read = time.monotonic() - began
    assert count == rows
    size = sum(one.length for one in lists) / 1e6
    print("| references | into the vault s | files, MB | out of it s | peak memory MB (before) |")
    print("|---:|---:|---:|---:|---:|")
    print(f"| {rows:,} | {written:.1f} | {len(lists)}, {size:.0f} | {read:.1f} | {_peak_mb():.0f} ({before:.0f}) |")


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
