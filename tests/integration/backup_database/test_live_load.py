"""Backups while others write: each is the database of one moment, or a clear error that published nothing."""

from __future__ import annotations

import random
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import psycopg2
import psycopg2.extensions
import pytest
from tests.integration.contents import (
    RoundTrip,
    after_plan,
    before_locks,
    rows,
    run,
    schema_of,
    value,
    while_reading,
)
from tests.integration.expect import lock_is_free, manifests

from coffre.model.backup import Backup
from coffre.model.errors import DumpTransientError
from coffre.policy import slicing
from coffre.postgres.source.present_catalog import PresentCatalog
from coffre.postgres.source.snapshot import Holder
from coffre_local.postgres_server import PostgresServer
from coffre_local.sample import fingerprint

_SCHEMA: Final = (
    "CREATE TABLE accounts (id integer PRIMARY KEY, balance bigint NOT NULL, note text)",
    "INSERT INTO accounts SELECT n, 1000, repeat('n', 200) FROM generate_series(1, 3000) n",
    "CREATE TABLE orders (id bigserial PRIMARY KEY, lines integer NOT NULL)",
    "CREATE TABLE lines (order_id bigint NOT NULL REFERENCES orders ON DELETE CASCADE, number integer, text text)",
    "CREATE TABLE emptied (id integer)",
    "CREATE TABLE emptied_twin (id integer)",
    "INSERT INTO emptied SELECT generate_series(1, 100)",
    "INSERT INTO emptied_twin SELECT generate_series(1, 100)",
    "CREATE TABLE shaped (id integer PRIMARY KEY, a text, b text)",
    "INSERT INTO shaped SELECT n, 'a' || n, 'b' || n FROM generate_series(1, 500) n",
    "CREATE TABLE events (id integer, at date) PARTITION BY RANGE (at)",
    "CREATE TABLE events_rest PARTITION OF events DEFAULT",
    "INSERT INTO events SELECT n, date '2024-01-01' + n FROM generate_series(1, 300) n",
    "CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS orders FROM orders",
    "CREATE TYPE mood AS ENUM ('fine')",
    "CREATE TABLE moods (m mood)",
    "INSERT INTO moods VALUES ('fine')",
)
# Each in one transaction; {n} is a random number. What must hold in every moment: the balances' sum, as many lines as
# each order says, and as many rows in `emptied` as in its twin.
_WRITES: Final = {
    "transfer": "UPDATE accounts SET balance = balance - {n} WHERE id = 1 + {n} % 3000;"
    " UPDATE accounts SET balance = balance + {n} WHERE id = 1 + {m} % 3000",
    "order": "WITH o AS (INSERT INTO orders (lines) VALUES (1 + {n} % 5) RETURNING id, lines)"
    " INSERT INTO lines SELECT id, n, repeat('x', {n} % 300) FROM o, generate_series(1, lines) n",
    "delete orders": "DELETE FROM lines WHERE order_id IN (SELECT min(id) FROM orders);"
    " DELETE FROM orders WHERE id IN (SELECT min(id) FROM orders)",
    "rewrite": "DELETE FROM accounts WHERE id = 1 + {n} % 3000 AND balance = 1000;"
    " INSERT INTO accounts SELECT 1 + {n} % 3000, 1000, 'new' ON CONFLICT DO NOTHING",
    "event": "INSERT INTO events VALUES ({n}, date '2024-01-01' + {n} % 400)",
    "mood": "INSERT INTO moods SELECT (enum_range(NULL::mood))[1]",
}
_CHANGES: Final = {
    "truncate": "TRUNCATE emptied, emptied_twin; INSERT INTO emptied SELECT generate_series(1, 1 + {n} % 200);"
    " INSERT INTO emptied_twin SELECT * FROM emptied",
    "create": "CREATE TABLE made_{n} (id serial PRIMARY KEY, t text); INSERT INTO made_{n} (t) SELECT 'x' FROM"
    " generate_series(1, 50)",
    "drop": "DO $$DECLARE t regclass := (SELECT min(oid::bigint) FROM pg_class WHERE relname ~ '^made_[0-9]+$');"
    " BEGIN IF t IS NOT NULL THEN EXECUTE format('DROP TABLE %s', t); END IF; END$$",
    "rename": "DO $$DECLARE t regclass := (SELECT max(oid::bigint) FROM pg_class WHERE relname ~ '^made_[0-9]+$');"
    " BEGIN IF t IS NOT NULL THEN EXECUTE format('ALTER TABLE %s RENAME TO made_{n}', t); END IF; END$$",
    "swap": "ALTER TABLE shaped RENAME TO shaped_old; CREATE TABLE shaped (LIKE shaped_old INCLUDING ALL);"
    " INSERT INTO shaped SELECT * FROM shaped_old; DROP TABLE shaped_old",
    "add column": "ALTER TABLE shaped ADD COLUMN c_{n} integer DEFAULT {n}",
    "rename columns": "ALTER TABLE shaped RENAME a TO z; ALTER TABLE shaped RENAME b TO a;"
    " ALTER TABLE shaped RENAME z TO b",
    "type": "ALTER TABLE shaped ALTER id TYPE bigint; ALTER TABLE shaped ALTER id TYPE integer",
    "partition": "CREATE TABLE IF NOT EXISTS events_{n} (LIKE events); ALTER TABLE events ATTACH PARTITION events_{n}"
    " FOR VALUES FROM (date '2040-01-01' + {n}) TO (date '2040-01-02' + {n}); ALTER TABLE events DETACH PARTITION"
    " events_{n}; DROP TABLE events_{n}",
    "view": "DROP VIEW IF EXISTS seen; CREATE VIEW seen AS SELECT id, {n} AS n FROM orders",
    "function": "DROP FUNCTION IF EXISTS made(); CREATE FUNCTION made() RETURNS integer LANGUAGE sql AS 'SELECT {n}'",
    "schema": "DROP SCHEMA IF EXISTS side CASCADE; CREATE SCHEMA side; CREATE TABLE side.t AS SELECT {n} AS n;"
    " CREATE SEQUENCE side.s",
    "index": "DROP INDEX IF EXISTS by_a; CREATE INDEX by_a ON shaped (a, (id + {n}))",
    "trigger": "DROP TRIGGER IF EXISTS noted ON orders; CREATE TRIGGER noted BEFORE UPDATE ON orders FOR EACH ROW"
    " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "refresh": "REFRESH MATERIALIZED VIEW totals",
    "enum": "ALTER TYPE mood RENAME VALUE 'fine' TO 'well'; ALTER TYPE mood RENAME VALUE 'well' TO 'fine'",
}
_ALONE: Final = {"vacuum": "VACUUM FULL shaped", "enum value": "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'm{n}'"}
_CLEAR: Final = frozenset({"LOCK_TIMEOUT", "SCHEMA_CHANGED", "LOCK_YIELDED"})


@dataclass
class Writers:
    """Sessions that change the database all the time, each in a thread, with random statements from a seed."""

    url: str
    seed: int
    slower: int = 1
    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _turns: list[threading.Lock] = field(default_factory=list)

    def __enter__(self) -> Self:
        jobs = [(_WRITES, 0.002), (_WRITES, 0.002), (_CHANGES | _ALONE, 0.02)]
        for number, (statements, pause) in enumerate(jobs):
            self._turns.append(threading.Lock())
            arguments = (random.Random(self.seed + number), statements, pause, self._turns[-1])
            thread = threading.Thread(target=self._write, args=arguments)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let nobody begin a statement until the block is left."""
        with ExitStack() as turns:
            for turn in self._turns:
                turns.enter_context(turn)
            yield

    def _write(self, chance: random.Random, statements: dict[str, str], pause: float, turn: threading.Lock) -> None:
        with closing(psycopg2.connect(self.url)) as session, session.cursor() as cursor:
            session.autocommit = True
            cursor.execute("SET lock_timeout = '300ms'; SET client_min_messages = error")
            while not self._stopped.wait(pause * (self.slower if statements is not _WRITES else 1)):
                name = chance.choice(list(statements))
                text = statements[name].replace("{n}", str(chance.randrange(100_000)))
                text = text.replace("{m}", str(chance.randrange(100_000)))
                with turn:
                    self._execute(cursor, name, text)

    def _execute(self, cursor: psycopg2.extensions.cursor, name: str, text: str) -> None:
        try:
            cursor.execute(text)
            self.done[name] += 1
        except psycopg2.Error as error:
            self.refused[f"{name}: {type(error).__name__}"] += 1


@dataclass
class Reference:
    """What `pg_dump` makes of the snapshots that backups are made of, while their holders are open."""

    home: Path
    url: str
    directory: Path
    files: dict[str, Path] = field(default_factory=dict)

    def dump(self, snapshot: str) -> None:
        file = self.directory / f"{len(self.files)}.dump"
        done = self._run("pg_dump", "--format=custom", f"--snapshot={snapshot}", f"--file={file}", self.url)
        if done.returncode == 0:
            self.files[snapshot] = file

    def restore(self, snapshot: str, into: str) -> None:
        done = self._run("pg_restore", "--exit-on-error", f"--dbname={into}", str(self.files[snapshot]))
        assert done.returncode == 0, done.stderr

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.home / "bin" / program), *arguments],
            env={"LD_LIBRARY_PATH": str(self.home / "lib")},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def writers(round_trip: RoundTrip, request: pytest.FixtureRequest) -> Writers:
    return Writers(round_trip.source, seed=1000 * request.param)


@pytest.fixture
def reference(round_trip: RoundTrip, writers: Writers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reference:
    """A `pg_dump` of each snapshot, made once the tables are locked.

    It believes whatever the server says of functions and views that have just been dropped: nobody writes meanwhile,
    and it is looked again whether the catalog is still the snapshot's.
    """
    made = Reference(round_trip.home, round_trip.source, tmp_path)
    take = Holder.tables

    def tables(holder: Holder, *arguments: object) -> object:
        found = take(holder, *arguments)  # type: ignore[arg-type]
        with writers.paused():
            take(holder, *arguments)  # type: ignore[arg-type]
            made.dump(holder.snapshot)
        return found

    monkeypatch.setattr(Holder, "tables", tables)
    return made


@pytest.fixture
def scratch(postgres_server: PostgresServer) -> Iterator[Callable[[], str]]:
    """Make empty databases; dropped afterwards."""
    names: list[str] = []

    def make() -> str:
        names.append(f"reference_{len(names)}")
        return postgres_server.create_database(names[-1])

    yield make
    for name in names:
        postgres_server.drop_database(name)


@pytest.mark.parametrize("writers", [2], indirect=True)
def test_backups_under_load_equal_a_pg_dump_of_the_same_snapshot(
    round_trip: RoundTrip,
    writers: Writers,
    reference: Reference,
    scratch: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given tables of many slices, and sessions that write and change them all the time
    monkeypatch.setattr(slicing, "SLICE_BLOCKS", 8)
    round_trip.fill(*_SCHEMA)
    made: list[Backup] = []

    # When backups are made meanwhile
    with writers:
        for _ in range(20):
            if (backup := _try(round_trip)) is not None:
                made.append(backup)
            else:
                writers.slower *= 2  # a busy machine needs longer, and then there is always a change in between
            if len([backup for backup in made if _snapshot_of(round_trip, backup) in reference.files]) == 4:
                break

    # Then each is what pg_dump makes of its snapshot
    compared = [backup for backup in made if _snapshot_of(round_trip, backup) in reference.files]
    assert len(compared) >= 3
    assert all(writers.done[name] for name in _WRITES)
    for backup in compared:
        expected = scratch()
        reference.restore(_snapshot_of(round_trip, backup), expected)
        round_trip.restore(backup)
        assert fingerprint(round_trip.copy) == fingerprint(expected)
        assert schema_of(round_trip.home, round_trip.copy) == schema_of(round_trip.home, expected)
        assert value(round_trip.copy, _BROKEN) == 0
        round_trip.server.drop_database(round_trip.copy.rsplit("/", 1)[1])


def _try(round_trip: RoundTrip) -> Backup | None:
    """Make a backup, or see that it ended in a clear error and that nothing was published."""
    before = manifests(round_trip.coffre)
    try:
        return round_trip.back_up()
    except DumpTransientError as error:
        code = error.code
    assert code in _CLEAR
    assert manifests(round_trip.coffre) == before
    assert lock_is_free(round_trip.coffre)
    return None


def _snapshot_of(round_trip: RoundTrip, backup: Backup) -> str:
    return round_trip.manifest(backup).database.snapshot


# How many of the things that hold in every moment do not hold.
_BROKEN: Final = """
SELECT (SELECT count(*) FROM orders o WHERE lines <> (SELECT count(*) FROM lines l WHERE l.order_id = o.id))
     + abs((SELECT count(*) FROM emptied) - (SELECT count(*) FROM emptied_twin))
"""


# What others do after the schema was dumped, that the archive would hold in a state of no moment.
_DROPS: Final = {
    "a function": "DROP FUNCTION f()",
    "a function in a view": "CREATE OR REPLACE VIEW v AS SELECT 2 AS n",
    "a renamed label": "ALTER TYPE mood RENAME VALUE 'fine' TO 'well'",
    "a renamed schema": "ALTER SCHEMA side RENAME TO aside",
    "a constraint of a domain": "ALTER DOMAIN plus DROP CONSTRAINT plus_check",
    "an index": "DROP INDEX side.by_t",
    "a view": "DROP VIEW v",
    "a column of a view": "ALTER VIEW v RENAME n TO m",
    "a policy": "DROP POLICY p ON side.t",
}


@pytest.mark.parametrize("change", _DROPS.values(), ids=_DROPS)
def test_what_is_changed_while_the_schema_is_dumped_takes_a_new_snapshot(
    round_trip: RoundTrip, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """pg_dump would write what the server says of it now: half a statement, or a name that nobody else has."""
    round_trip.fill(*_OBJECTS)
    snapshots = before_locks(monkeypatch, lambda: run(round_trip.source, change))

    round_trip.make()

    assert len(set(snapshots)) == 2
    round_trip.assert_equal()


_OBJECTS: Final = (
    "CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE VIEW v AS SELECT 1 AS n",
    "CREATE TYPE mood AS ENUM ('fine')",
    "CREATE DOMAIN plus AS integer CHECK (VALUE > 0)",
    "CREATE SCHEMA side",
    "CREATE TABLE side.t (m mood, p plus)",
    "INSERT INTO side.t VALUES ('fine', 1)",
    "CREATE INDEX by_t ON side.t (p)",
    "CREATE POLICY p ON side.t USING (p > 0)",
    "CREATE TYPE pair AS (a integer, b text)",
    "CREATE TABLE pairs (p pair)",
    "INSERT INTO pairs VALUES ((1, 'x'))",
    "CREATE SCHEMA twin",
    "CREATE TABLE twin.t (m mood, p plus)",
)


def test_things_that_are_added_meanwhile_take_no_new_snapshot(
    round_trip: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    round_trip.fill(*_OBJECTS)
    additions = "CREATE FUNCTION g() RETURNS integer LANGUAGE sql AS 'SELECT 1'; CREATE TABLE added (id serial)"
    snapshots = before_locks(
        monkeypatch,
        lambda: run(round_trip.source, f"{additions}; ALTER TYPE mood ADD VALUE 'new'; CREATE TEMP TABLE t (i serial)"),
    )

    round_trip.back_up()

    assert len(snapshots) == 1


# What no lock on a table prevents, and what would get into its rows.
_RENAMES: Final = {
    "a label of an enum": "ALTER TYPE mood RENAME VALUE 'fine' TO 'well'",
    "two schemas": "ALTER SCHEMA side RENAME TO gone; ALTER SCHEMA twin RENAME TO side",
    "a field of a composite type": "ALTER TYPE pair ADD ATTRIBUTE c integer",
}


@pytest.mark.parametrize("change", _RENAMES.values(), ids=_RENAMES)
def test_a_change_that_gets_into_the_rows_takes_a_new_snapshot(
    round_trip: RoundTrip, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    # Given another session that does that after the plan was made and before the first row is read
    round_trip.fill(*_OBJECTS)
    snapshots = after_plan(monkeypatch, lambda: run(round_trip.source, change), times=1)

    round_trip.make()

    # Then the backup is of the state after it
    assert len(set(snapshots)) == 2
    round_trip.assert_equal()


# --- those who wait ---


def test_a_part_that_others_wait_for_is_left_to_them_and_read_again(
    round_trip: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ALTER TABLE waits for the backup, and every reader waits for the ALTER TABLE (field note 23)."""
    # Given a table of more rows than the network holds, which are not taken before the backup is asked to let go
    round_trip.fill("CREATE TABLE t AS SELECT n AS id, repeat('x', 4000000) AS x FROM generate_series(1, 20) n")
    before = fingerprint(round_trip.source)
    was_asked = threading.Event()
    cancel = PresentCatalog.cancel
    readings: list[str] = []
    threads = [threading.Thread(target=lambda: run(round_trip.source, "ALTER TABLE t ADD COLUMN late integer"))]

    def let_go(present: PresentCatalog, backend: int) -> None:
        cancel(present, backend)
        was_asked.set()

    def wait(names: tuple[str, ...]) -> None:
        readings.extend(names)
        if len(readings) == 1:
            threads[0].start()
            assert was_asked.wait(60)

    monkeypatch.setattr(PresentCatalog, "cancel", let_go)
    while_reading(monkeypatch, wait)
    round_trip.make(limits={"lock_timeout_seconds": 1})

    # Then it was altered meanwhile, and the backup is of the moment before
    threads[0].join()
    assert readings == ["t", "t"]
    assert fingerprint(round_trip.copy) == before
    assert value(round_trip.source, "SELECT count(late) FROM t") == 0


def test_a_backup_that_cannot_let_go_is_cancelled(round_trip: RoundTrip, monkeypatch: pytest.MonkeyPatch) -> None:
    """Like a reader whose rows nobody takes, because the vault hangs."""
    round_trip.fill("CREATE TABLE t AS SELECT 1 AS id", "CREATE TABLE other AS SELECT 1 AS id")
    done: list[str] = []

    def alter() -> None:
        run(round_trip.source, "ALTER TABLE t ADD COLUMN late integer")
        done.append("altered")

    def read() -> None:
        done.append(f"read {value(round_trip.source, 'SELECT count(*) FROM t')}")

    threads = [threading.Thread(target=alter), threading.Thread(target=read)]

    def wait(_: tuple[str, ...]) -> None:
        for waiting, thread in enumerate(threads, start=1):
            thread.start()
            _until(lambda: len(rows(round_trip.source, _WAITING)) == waiting)  # noqa: B023 - called at once
        # Then they wait no longer than the limit: the backup, which would never have ended, lets them through
        _until(lambda: rows(round_trip.source, _WAITING) == [])

    while_reading(monkeypatch, wait)
    with pytest.raises(DumpTransientError) as caught:
        round_trip.back_up(limits={"lock_timeout_seconds": 1})

    for thread in threads:
        thread.join()
    assert caught.value.code == "LOCK_YIELDED"
    assert "on public.t that the backup held" in caught.value.message
    assert "tables.exclude_data" in (caught.value.hint or "")
    assert sorted(done) == ["altered", "read 1"]
    assert manifests(round_trip.coffre) == []
    assert lock_is_free(round_trip.coffre)


_WAITING: Final = "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 't'::regclass"


def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        threading.Event().wait(0.02)
