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
    run(story.source, "DELETE FROM bill", "DROP TABLE bill CASCADE")
    drain(story.job)
    restore = kit_of(story, toolchain.postgresql(18), tmp_path)

    ended = restore("--at", "end")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.search(r"^Applied \d\d transactions of the journal", ended.stdout, re.MULTILINE)
    assert "is stored too (the tail), and is not applied here" in ended.stdout
    last.require(story.round_trip.copy)
    story.drop_copy()
    ended = restore("--at", first.at)
    assert (ended.returncode, ended.stderr) == (0, "")
    first.require(story.round_trip.copy)
    story.drop_copy()

    # Moments that are not stored, and a journal that lacks a part, are refused before anything is made
    refused = restore("--at", "2999-01-01").stderr
    assert "STOP: the journal of this backup is stored up to" in refused
    assert "(the tail)" in refused
    assert "STOP: no backup of shop before this moment" in restore("--at", "2001-01-01").stderr
    assert "STOP: --at soon is no time" in restore("--at", "soon").stderr
    interval, *_ = sorted((tmp_path / "vault/v1/journal/shop").iterdir())
    records = sorted(interval.glob("[0-9]*.json"))
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


# Code that names things without their schema, keys whose operators are in one that no path has, and a covering key.
CODE = (
    "CREATE SCHEMA kinds; CREATE EXTENSION citext SCHEMA kinds; CREATE EXTENSION ltree SCHEMA kinds",
    "CREATE SCHEMA app; SET search_path = public, app; CREATE TABLE app.rate (cents int)",
    "INSERT INTO app.rate VALUES (7)",
    "CREATE FUNCTION app.factor() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT max(cents) FROM rate'",
    "CREATE FUNCTION app.priced(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 * factor(); END'",
    "CREATE FUNCTION low(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN below($1); END'",
    "CREATE FUNCTION below(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 < 1000'",
    "CREATE DOMAIN few AS int CHECK (low(VALUE))",
    """CREATE TABLE item (id int PRIMARY KEY, n int CHECK (app.priced(n) > 0), note text,
    cents int GENERATED ALWAYS AS (app.priced(n)) STORED)""",
    "CREATE TABLE counted (id int PRIMARY KEY, n few)",
    "CREATE TABLE by_text (id kinds.citext, n int, t text, PRIMARY KEY (id, n))",
    "CREATE TABLE by_tree (id kinds.ltree PRIMARY KEY, t text)",
    "CREATE TABLE covered (id int, n int, PRIMARY KEY (id) INCLUDE (n))",
    "DO 'BEGIN EXECUTE format(''ALTER DATABASE %I SET search_path = public, app'', current_database()); END'",
    "INSERT INTO item VALUES (1, 1), (2, 2)",
    "INSERT INTO by_text VALUES ('A', 1), ('a', 2); INSERT INTO by_tree VALUES ('a.B'), ('a.C')",
    "INSERT INTO covered VALUES (1, 1), (2, 2)",
)
CODED = (
    "UPDATE item SET n = n + 1; INSERT INTO item VALUES (3, 3, E'two\\nlines'), (4, 4, E'three\\n\\nlines')",
    "INSERT INTO counted VALUES (1, 1), (2, 2); UPDATE counted SET n = 5 WHERE id = 1",
    "UPDATE by_text SET t = 'x' WHERE n = 1; DELETE FROM by_text WHERE n = 2",
    "UPDATE by_tree SET t = 'x' WHERE id::text = 'a.B'; DELETE FROM by_tree WHERE id::text = 'a.C'",
    "UPDATE covered SET n = 5 WHERE id = 1; DELETE FROM covered WHERE id = 2",
)


def test_the_kit_and_coffre_restore_the_same_where_code_needs_a_search_path(
    round_trip: RoundTrip, toolchain: Toolchain, tmp_path: Path
) -> None:
    story = Story(round_trip, *CODE)
    run(story.source, *CODED)
    story.go_on()
    drain(story.job)
    [turn] = story.turns
    story.restored(turn, at={"time": turn.at})
    story.drop_copy()

    restore = kit_of(story, toolchain.postgresql(18), tmp_path)
    ended = restore("--at", "end")

    assert (ended.returncode, ended.stderr) == (0, "")
    turn.require(story.round_trip.copy)
    said = "with the search_path public, app: without, the server refuses them."
    assert [line for line in ended.stdout.splitlines() if "search_path" in line] == [
        f'Rows of "public"."item" were loaded {said}',
        f'Changes of "public"."item" were applied {said}',
        f'Changes of "public"."counted" were applied {said}',
    ]
    story.drop_copy()

    # What each path refuses is reported as under the first
    refused = restore("--at", "end", "--leave-out", "FUNCTION public below")
    assert refused.returncode == 1
    assert re.findall("ERROR: .*", refused.stderr) == ["ERROR:  function below(integer) does not exist"]
    switch_off(story.job)
