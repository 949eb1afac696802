"""The recovery kit's script restores a base and its journal, with psql and nothing of Coffre."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from tests.integration import journal_story
from tests.integration.contents import RoundTrip, RoundTripOn, rows, run
from tests.integration.journal_story import Story, journal_of
from tests.integration.vault.test_format_document import SCRIPT

from coffre.operations.journal.drain import drain
from coffre.operations.journal.switch_off import switch_off
from coffre_local.postgres_server import PostgresServer
from coffre_local.toolchain import Toolchain

# What a careless script trips over: kinds of identities, values that are left out, names, literals of the shell.
CASES = (
    """CREATE TABLE "odd $(x) :y ""q"" t" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "It's" text, b bit(3),
    twice int GENERATED ALWAYS AS (2) STORED)""",
    'ALTER TABLE "odd $(x) :y ""q"" t" ALTER "It\'s" SET STORAGE EXTERNAL',
    "CREATE TABLE bare (yes boolean, note text, n numeric)",
    "ALTER TABLE bare REPLICA IDENTITY FULL",
    "CREATE TABLE emptied (id int PRIMARY KEY)",
    "CREATE TABLE pointing (id int PRIMARY KEY REFERENCES emptied)",
    "CREATE TABLE shifted (id int PRIMARY KEY, place int UNIQUE DEFERRABLE)",
    "INSERT INTO emptied VALUES (1); INSERT INTO pointing VALUES (1)",
    "INSERT INTO shifted SELECT g, g FROM generate_series(1, 5) g",
)
CHANGES = (
    """INSERT INTO "odd $(x) :y ""q"" t" ("It's", b) VALUES (repeat('''\\x:y', 2000), B'101'), (E'a\\nb\\\\', NULL)""",
    'UPDATE "odd $(x) :y ""q"" t" SET b = B\'000\' WHERE id = 1',
    'UPDATE "odd $(x) :y ""q"" t" SET id = DEFAULT WHERE id = 1',
    "INSERT INTO bare VALUES (true, 'x', 1.10), (true, 'x', 1.10), (false, '', NULL), (NULL, NULL, NULL)",
    "UPDATE bare SET n = 2 WHERE note = ''; DELETE FROM bare WHERE ctid = (SELECT min(ctid) FROM bare)",
    "DELETE FROM bare WHERE num_nulls(yes, note, n) = 3",
    "TRUNCATE emptied, pointing",
    "INSERT INTO emptied VALUES (7); INSERT INTO pointing VALUES (7)",
    "UPDATE shifted SET place = place + 1",
)


@pytest.fixture
def round_trip(logical_server: Callable[[int], PostgresServer], round_trip_on: RoundTripOn) -> RoundTrip:
    found = round_trip_on(logical_server(18))
    run(found.source, *CASES)
    return found


def kit_of(story: Story, home: Path, folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return what runs the kit's script on a copy of the vault, into the copy."""
    for key, body in story.round_trip.coffre.objects().items():
        file = folder / "vault" / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    (folder / "identity.txt").write_text(story.round_trip.coffre.identity)
    url = urlsplit(story.round_trip.copy)

    def restore(*options: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{home / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "LD_LIBRARY_PATH": str(home / "lib"),
            "PGHOST": str(url.hostname),
            "PGPORT": str(url.port),
            "PGUSER": str(url.username),
        }
        command = [sys.executable, "-I", "-S", str(SCRIPT), "vault", "shop", "--identity", "identity.txt"]
        command += ["--database", unquote(url.path[1:]), *options]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    return restore


def test_the_kit_restores_a_base_and_its_journal(round_trip: RoundTrip, toolchain: Toolchain, tmp_path: Path) -> None:
    story = Story(round_trip)
    story.go_on()
    run(story.source, *CHANGES)
    drain(story.job)
    story.go_on()
    drain(story.job)
    first, last = story.turns
    restore = kit_of(story, toolchain.postgresql(18), tmp_path)

    ended = restore("--at", "end")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.search(r"^Applied \d\d transactions of the journal", ended.stdout, re.MULTILINE)
    last.require(story.round_trip.copy)
    story.drop_copy()
    ended = restore("--at", first.at)
    assert (ended.returncode, ended.stderr) == (0, "")
    first.require(story.round_trip.copy)
    story.drop_copy()

    # Moments that are not stored, and a journal that lacks a part, are refused before anything is made
    assert "STOP: the journal of this backup is stored up to" in restore("--at", "2999-01-01").stderr
    assert "STOP: no backup of shop before this moment" in restore("--at", "2001-01-01").stderr
    assert "STOP: --at soon is no time" in restore("--at", "soon").stderr
    records = sorted((tmp_path / "vault/v1/journal/shop").glob("*/[0-9]*.json"))
    records[-1].write_text(records[-1].read_text().replace('"previous":"', '"previous":"0', 1))
    assert "does not follow the one before it" in restore("--at", "end").stderr
    switch_off(story.job)


def test_the_kit_restores_a_journal_by_pgoutput(
    round_trip: RoundTrip, toolchain: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = "bare, emptied, pointing, shifted, customer, bill, named, part_low"
    monkeypatch.setattr(journal_story, "journal_of", lambda trip: replace(journal_of(trip), plugin="pgoutput"))
    story = Story(round_trip, f"CREATE PUBLICATION coffre FOR TABLE {tables}")
    story.go_on(*CHANGES[3:])
    drain(story.job)

    ended = kit_of(story, toolchain.postgresql(18), tmp_path)("--at", "end")

    assert ended.returncode == 0, ended.stderr
    for name in tables.split(", "):
        query = f"SELECT {name}::text FROM {name} ORDER BY 1"
        assert rows(round_trip.copy, query) == rows(round_trip.source, query)
    switch_off(story.job)
