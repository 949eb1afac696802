"""Options that only the source's server knows: PostgreSQL 15.20 counts changes of types among a column's options."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path
from typing import Final

import pytest
from tests.integration.contents import RoundTrip, run, value

from coffre.postgres.archive.reader import read_archive

_CONTENT: Final = (
    "CREATE TABLE t (id int PRIMARY KEY, n text, \"SET (pg_attver=1);\" text DEFAULT 'SET (pg_attver=1);')",
    "INSERT INTO t SELECT g, 'n' || g FROM generate_series(1, 50) g",
    "ALTER TABLE t ALTER COLUMN n SET (n_distinct = 5)",
    "CREATE MATERIALIZED VIEW m AS SELECT id, n FROM t",
    "CREATE TABLE p (a int) PARTITION BY RANGE (a)",
    "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (9)",
)
# As such a server does when a column's type is set. Its own pg_dump knows the option, and leaves it out.
_COUNTED: Final = """
UPDATE pg_attribute SET attoptions = ARRAY['pg_attver=22158952'] || coalesce(attoptions, '{}')
WHERE attrelid IN ('t'::regclass, 'm'::regclass, 'p'::regclass, 'p1'::regclass) AND attnum > 0
"""
_OPTIONS: Final = """
SELECT string_agg(attrelid::regclass || '.' || attname || attoptions::text, ' ' ORDER BY 1)
FROM pg_attribute WHERE attoptions IS NOT NULL AND attrelid >= 16384
"""


@pytest.fixture
def counting(round_trip: RoundTrip) -> RoundTrip:
    """A source whose server keeps something for itself in its columns' options."""
    round_trip.fill(*_CONTENT, _COUNTED)
    return round_trip


def test_what_a_server_keeps_for_itself_is_not_in_its_backups(counting: RoundTrip) -> None:
    backup = counting.back_up()

    # Then it comes back anywhere, also by plain pg_restore, and nothing else is missing
    report = counting.restore(backup)
    assert report.exceptions == ()
    assert value(counting.copy, _OPTIONS) == "t.n{n_distinct=5}"
    run(counting.source, _COUNTED.replace("ARRAY['pg_attver=22158952'] || coalesce(attoptions, '{}')", _WITHOUT))
    counting.assert_equal()


_WITHOUT: Final = "CASE attname WHEN 'n' THEN CASE attrelid WHEN 't'::regclass THEN ARRAY['n_distinct=5'] END END"


def test_a_drill_proves_such_a_backup(counting: RoundTrip) -> None:
    counting.back_up()

    assert counting.coffre.drill()["outcome"] == "passed"


def test_a_backup_of_before_is_read_without_it(counting: RoundTrip) -> None:
    """Backups that were made while nobody knew of it have it in their archives."""
    command: list[str | Path] = [
        counting.home / "bin" / "pg_dump",
        "--format=custom",
        "--schema-only",
        "--dbname",
        counting.source,
    ]
    environment = {**os.environ, "LD_LIBRARY_PATH": str(counting.home / "lib")}
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert b"ALTER COLUMN id SET (pg_attver=22158952);" in done.stdout

    archive = read_archive(io.BytesIO(done.stdout))

    definitions = {entry.tag: entry.definition for entry in archive.entries if entry.description.endswith("TABLE")}
    assert "ALTER TABLE ONLY public.t ALTER COLUMN n SET (n_distinct=5);" in definitions["t"]
    assert definitions["t"].count("pg_attver") == 2  # in the column's name and in its default
    assert all("pg_attver" not in definitions[name] for name in ("p", "p1"))
