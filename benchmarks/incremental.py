"""Thirty daily backups of three databases: what is stored, against one full backup of the last day.

(a) append-mostly: 1 % new rows a day. (b) 1 % of the rows updated a day, all among the newest 5 %, and 1 % new rows.
(c) 1 % of the rows updated a day, anywhere.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import psycopg2

from benchmarks.backup_job import RECIPIENT, newest, run_backup
from coffre_cli.local.postgres_server import PostgresServer
from coffre_cli.local.toolchain import Toolchain

_ROW = """SELECT g, md5(g::text), timestamptz '2024-01-01' + g * interval '7 seconds', (g::bigint * 7919) %% 100003,
    repeat(md5((g / 3)::text), 1 + g %% 4), 0 FROM generate_series(%(first)s, %(last)s) g"""
_CREATE = """CREATE TABLE events (id bigint PRIMARY KEY, session text, at timestamptz, user_id bigint, data text,
    version int NOT NULL)"""
_APPEND = f"INSERT INTO events {_ROW}"
_UPDATE_RECENT = """UPDATE events SET version = version + 1
    WHERE id IN (SELECT id FROM events WHERE id > (SELECT max(id) * 0.95 FROM events)
                 ORDER BY md5(id::text || %(day)s) LIMIT (SELECT count(*) / 100 FROM events))"""
_UPDATE_ANY = """UPDATE events SET version = version + 1 WHERE abs(hashtext(id::text || %(day)s)) %% 100 = 0"""

_SCENARIOS = {
    "(a) append-mostly": (_APPEND,),
    "(b) recent rows updated": (_APPEND, _UPDATE_RECENT),
    "(c) random rows updated": (_UPDATE_ANY,),
}


def thirty_days(url: str, home: Path, directory: Path, changes: tuple[str, ...], rows: int, days: int) -> list[int]:
    """Run the days and return what each backup stored; the last number is a full backup of the last day."""
    session = psycopg2.connect(url)
    session.autocommit = True
    cursor = session.cursor()
    cursor.execute(_CREATE)
    cursor.execute(_APPEND, {"first": 1, "last": rows})
    stored = []
    for day in range(days):
        if day:
            first = rows + (day - 1) * (rows // 100) + 1
            for change in changes:
                cursor.execute(change, {"first": first, "last": first + rows // 100 - 1, "day": str(day)})
        cursor.execute("VACUUM events")
        previous = newest(directory)
        stored.append(run_backup(url, home, directory, recipient=RECIPIENT, streams=2, previous=previous).stored_bytes)
    session.close()
    with tempfile.TemporaryDirectory() as full:
        stored.append(run_backup(url, home, Path(full), recipient=RECIPIENT, streams=2, previous=None).stored_bytes)
    return stored


def main() -> None:
    """Run all scenarios and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--days", type=int, default=30)
    arguments = parser.parse_args()
    home = Toolchain().postgresql(18)
    print(f"{arguments.days} daily backups, {arguments.rows:,} rows on the first day\n")
    print("| database | first MB | one later day, median MB | all MB | one full backup of the last day MB | ratio |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, changes in _SCENARIOS.items():
        directory = Path(tempfile.mkdtemp(prefix="coffre-bench-"))
        try:
            with PostgresServer(home) as server:
                url = server.create_database("bench")
                *stored, full = thirty_days(url, home, directory, changes, arguments.rows, arguments.days)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        later = sorted(stored[1:])[len(stored[1:]) // 2]
        total = sum(stored)
        megabytes = f"{stored[0] / 1e6:.1f} | {later / 1e6:.2f} | {total / 1e6:.1f} | {full / 1e6:.1f}"
        print(f"| {name} | {megabytes} | {total / full:.2f} |")


if __name__ == "__main__":
    main()
