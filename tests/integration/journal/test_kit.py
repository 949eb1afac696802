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
from tests.integration.contents import RoundTrip, RoundTripOn, rows, run, value
from tests.integration.journal_story import Story, journal_of
from tests.integration.vault.test_format_document import SCRIPT

from coffre.model.restore_report import RestoreReport
from coffre.operations.journal.drain import drain
from coffre.operations.journal.switch_off import switch_off
from coffre_local.postgres_server import PostgresServer
from coffre_local.sample import fingerprint, sequences
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
    interval, *_ = sorted((tmp_path / "vault/v1/journal/shop").iterdir())
    records = sorted(interval.glob("[0-9]*.json"))
    records[-1].write_text(records[-1].read_text().replace('"previous":"', '"previous":"0', 1))
    assert "does not follow the one before it" in restore("--at", "end").stderr
    switch_off(story.job)


def test_the_kit_restores_the_moments_of_a_tail_as_coffre_does(
    round_trip: RoundTrip, toolchain: Toolchain, tmp_path: Path
) -> None:
    story, copy = Story(round_trip), round_trip.copy

    def now() -> str:
        return str(value(story.source, "SELECT clock_timestamp()::text"))

    def by_coffre(at: dict[str, str]) -> tuple[object, object, RestoreReport]:
        answer = round_trip.coffre.restore("latest", copy, target="shop", at=at)
        found = fingerprint(copy), sequences(copy), story.report(answer)
        story.drop_copy()
        return found

    story.go_on()
    drain(story.job)
    # Given a tail with a sequence that is set back, a row that a constraint of before refuses, and one that did not fit
    story.go_on()
    run(story.source, "SELECT setval('customer_id_seq', 2)", "ALTER TABLE bill DROP CONSTRAINT bill_cents_check")
    run(story.source, "INSERT INTO part VALUES (60, 'before')")
    run(story.source, "DELETE FROM named; INSERT INTO bill (customer, cents) SELECT min(id), -1 FROM customer")
    run(story.source, "INSERT INTO part VALUES (61, 'after')")
    behind = now()
    run(story.source, "DROP TABLE bill CASCADE", "ALTER TABLE customer ADD COLUMN more int DEFAULT 3")
    run(story.source, "INSERT INTO customer (id, name, more) VALUES (7000, 'later', 4)")
    last = now()
    drain(story.job)
    _, turn = story.turns
    restore = kit_of(story, toolchain.postgresql(18), tmp_path)

    # Before the change all is there, and the kit says what the report says
    kit = restore("--at", turn.at)
    assert (kit.returncode, kit.stderr) == (0, "")
    turn.require(copy)
    of_kit = fingerprint(copy), sequences(copy)
    story.drop_copy()
    *of_coffre, report = by_coffre({"time": turn.at})
    assert list(of_kit) == of_coffre
    [warning] = [note for note in report.notes if note.startswith("WARNING: definitions")]
    assert re.findall(r"^WARNING: definitions were .* this moment\.", kit.stdout, re.MULTILINE)
    for pattern in (r"Definitions have changed: .+ The definitions", r"Rows of .+ are those of the moment only if"):
        [said] = re.findall(pattern, kit.stdout)
        assert said in warning
    assert 'set back around the moment, and are restored to the furthest value known: "public"."customer_id_seq".' in (
        kit.stdout
    )
    assert 'not read after the moment, and are restored to the furthest value known: "public"."bill_id_seq".' in (
        kit.stdout
    )

    # A transaction that the server refuses is left out, with all after it
    kit = restore("--at", behind)
    assert "violates check constraint" in kit.stderr
    assert "NOT COMPLETE: the moment is not reached" in kit.stderr
    assert kit.returncode == 1
    assert rows(copy, "SELECT id FROM part WHERE id > 59") == [(60,)]
    assert value(copy, "SELECT count(*) FROM named") != 0
    of_kit = fingerprint(copy), sequences(copy)
    story.drop_copy()
    *of_coffre, report = by_coffre({"time": behind})
    assert list(of_kit) == of_coffre
    assert any("[JOURNAL_REPLAY]" in one for one in report.exceptions)

    # The end is there, and a moment behind what does not fit is refused before anything is made
    kit = restore("--at", "end")
    assert kit.returncode == 0
    assert re.search(
        r"^The transaction \d+, committed at .* is not applied, and none after it", kit.stdout, re.MULTILINE
    )
    assert (fingerprint(copy), sequences(copy)) == of_kit
    story.drop_copy()
    refused = restore("--at", last)
    assert '"public"."customer" had no column \'more\'. The last moment before it: --at ' in refused.stderr
    assert refused.stdout == ""
    assert (
        value(round_trip.server.dsn(), f"SELECT count(*) FROM pg_database WHERE datname = '{copy.rpartition('/')[2]}'")
        == 0
    )
    switch_off(story.job)


def test_the_kit_restores_a_journal_by_pgoutput(
    round_trip: RoundTrip, toolchain: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = "bare, emptied, pointing, shifted, customer, bill, named, part_low"
    monkeypatch.setattr(journal_story, "journal_of", lambda trip: replace(journal_of(trip), plugin="pgoutput"))
    story = Story(round_trip, f"CREATE PUBLICATION coffre FOR TABLE {tables}")
    story.go_on(*CHANGES[3:])
    drain(story.job)
    run(story.source, "UPDATE bare SET note = NULL; DELETE FROM bare WHERE yes; DELETE FROM pointing")
    run(story.source, "ALTER TABLE noted ADD COLUMN more int")
    drain(story.job)

    ended = kit_of(story, toolchain.postgresql(18), tmp_path)("--at", "end")

    assert ended.returncode == 0, ended.stderr
    assert "WARNING: definitions were changed since" in ended.stdout
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
