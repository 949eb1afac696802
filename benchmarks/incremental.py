"""Thirty daily backups of three databases: what is stored, against one full backup of the last day.

(a) append-mostly: 1 % new rows a day. (b) 1 % of the rows updated a day, all among the newest 5 %, and 1 % new rows.
(c) 1 % of the rows updated a day, anywhere.

Counts bytes, not time: it may share the machine. For each day it also compresses the rows alone that were written since
the day before: no scheme that knows the single row could store less.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
import psycopg2.extensions
from backports import zstd

from benchmarks.backup_job import RECIPIENT, run_backup
from benchmarks.harness import progress, tree_size
from benchmarks.newest import newest
from coffre_local.postgres_server import PostgresServer
from coffre_local.toolchain import Toolchain

_ROW = """SELECT g, md5(g::text), timestamptz '2024-01-01' + g * interval '7 seconds', (g::bigint * 7919) %% 100003,
    repeat(md5((g / 3)::text), 1 + g %% 4), 0 FROM generate_series(%(first)s, %(last)s) g"""
CREATE = """CREATE TABLE events (id bigint PRIMARY KEY, session text, at timestamptz, user_id bigint, data text,
    version int NOT NULL)"""
APPEND = f"INSERT INTO events {_ROW}"
_UPDATE_RECENT = """UPDATE events SET version = version + 1
    WHERE id IN (SELECT id FROM events WHERE id > (SELECT max(id) * 0.95 FROM events)
                 ORDER BY md5(id::text || %(day)s) LIMIT (SELECT count(*) / 100 FROM events))"""
_UPDATE_ANY = """UPDATE events SET version = version + 1 WHERE abs(hashtext(id::text || %(day)s)) %% 100 = 0"""

SCENARIOS = {
    "(a) append-mostly": (APPEND,),
    "(b) recent rows updated": (APPEND, _UPDATE_RECENT),
    "(c) random rows updated": (_UPDATE_ANY,),
}


def day_of(day: int, rows: int) -> dict[str, object]:
    """Return what a day's statements need: all rows are new on day 0, 1 % on each later one."""
    first = rows + (day - 1) * (rows // 100) + 1
    last = first + rows // 100 - 1
    return {"first": first, "last": last, "day": str(day)} if day else {"first": 1, "last": rows, "day": "0"}


@dataclass
class Month:
    """Bytes: what each backup added to the vault, what each day's rows alone take, one full backup of the last day."""

    stored: list[int] = field(default_factory=list)
    changed_rows: list[int] = field(default_factory=list)
    full: int = 0


def run_month(url: str, home: Path, directory: Path, changes: tuple[str, ...], rows: int, days: int) -> Month:
    """Change the database and back it up, day after day."""
    month = Month()
    session = psycopg2.connect(url)
    session.autocommit = True
    cursor = session.cursor()
    cursor.execute(CREATE)
    cursor.execute(APPEND, day_of(0, rows))
    for day in range(days):
        if day:
            cursor.execute("SELECT pg_current_xact_id()::text::bigint")
            (before,) = cursor.fetchone() or (0,)
            for change in changes:
                cursor.execute(change, day_of(day, rows))
            month.changed_rows.append(_size_of_rows_since(cursor, before))
        cursor.execute("VACUUM events")
        month.stored.append(_back_up(url, home, directory))
        progress(f"  day {day + 1}: {month.stored[-1] / 1e6:.1f} MB")
    session.close()
    with tempfile.TemporaryDirectory(prefix="coffre-bench-") as full:
        month.full = _back_up(url, home, Path(full))
    return month


def _back_up(url: str, home: Path, directory: Path) -> int:
    """Return what the vault grew by, records included."""
    before = tree_size(directory)
    run_backup(url, home, directory, recipient=RECIPIENT, streams=2, previous=newest(directory))
    return tree_size(directory) - before


def _size_of_rows_since(cursor: psycopg2.extensions.cursor, transaction: int) -> int:
    text = io.BytesIO()
    rows = f"SELECT * FROM events WHERE xmin::text::bigint > {transaction}"
    cursor.copy_expert(f"COPY ({rows}) TO STDOUT", text)
    return len(zstd.compress(text.getbuffer(), level=3))


def main() -> None:
    """Run all scenarios and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--days", type=int, default=30)
    arguments = parser.parse_args()
    home = Toolchain().postgresql(18)
    print(f"{arguments.days} daily backups, {arguments.rows:,} rows on the first day\n")
    print("| database | first MB | a later day, median MB | its rows alone, MB | all MB | full, last day MB | ratio |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, changes in SCENARIOS.items():
        progress(name)
        with tempfile.TemporaryDirectory(prefix="coffre-bench-") as directory, PostgresServer(home) as server:
            url = server.create_database("bench")
            month = run_month(url, home, Path(directory), changes, arguments.rows, arguments.days)
        later, alone = statistics.median(month.stored[1:]), statistics.median(month.changed_rows)
        total = sum(month.stored)
        print(
            f"| {name} | {month.stored[0] / 1e6:.1f} | {later / 1e6:.2f} | {alone / 1e6:.2f} | {total / 1e6:.1f} "
            f"| {month.full / 1e6:.1f} | {total / month.full:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
