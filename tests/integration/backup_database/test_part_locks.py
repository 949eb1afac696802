"""A part is what the snapshot has, or a clear error, whatever others do before, while and after it is read."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field

import psycopg2
import psycopg2.extensions
import pytest
from tests.integration.contents import rows, run, value

from coffre.model.errors import DumpTransientError, LockYieldedError, SchemaChangedError
from coffre.policy.slicing import Slice, TableExtent
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.postgres.source.dump import SliceReader
from coffre.postgres.source.present_catalog import PresentCatalog, present_catalog
from coffre_local.postgres_server import PostgresServer

_SETUP = (
    "DROP SCHEMA IF EXISTS s CASCADE",
    "DROP SCHEMA IF EXISTS other CASCADE",
    "DROP SCHEMA IF EXISTS gone CASCADE",
    "CREATE SCHEMA s",
    "CREATE SCHEMA other",
    "CREATE TYPE s.mood AS ENUM ('fine', 'bad')",
    "CREATE TYPE s.pair AS (a integer, m s.mood)",
    "CREATE DOMAIN s.moods AS s.mood[]",
    "CREATE TABLE s.named (n integer)",
    "CREATE TABLE s.parent (id integer, a text, b text, m s.moods, p s.pair) PARTITION BY LIST (id)",
    "CREATE TABLE s.t PARTITION OF s.parent DEFAULT",
    "INSERT INTO s.t SELECT n, 'a', 'b', '{fine,bad}', ROW(n, 'bad')::s.pair FROM generate_series(1, 50) n",
    "CREATE TABLE s.naming AS SELECT 's.named'::regclass AS r",
    "CREATE TABLE other.t (LIKE s.t)",
    "CREATE TABLE s.plain (id integer, v varchar(10), i integer)",
    "INSERT INTO s.plain SELECT n, 'v' || n, -n FROM generate_series(1, 2000) n",
    "CREATE INDEX by_id ON s.plain (id)",
    "CREATE VIEW s.v AS SELECT id FROM s.plain",
)
# What may be done to s.plain and s.t, and to what their rows are printed with.
_CHANGED = {
    "truncated": "TRUNCATE s.t",
    "truncated and filled": "TRUNCATE s.plain; INSERT INTO s.plain VALUES (1)",
    "rewritten": "ALTER TABLE s.plain ALTER i TYPE bigint",
    "moved": "VACUUM FULL s.plain",
    "clustered": "CLUSTER s.plain USING by_id",
    "unlogged": "ALTER TABLE s.plain SET UNLOGGED",
    "a type without a rewrite": "ALTER TABLE s.plain ALTER i TYPE oid",
    "a column dropped": "ALTER TABLE s.plain DROP COLUMN v",
    "a column renamed": "ALTER TABLE s.plain RENAME v TO w",
    "columns swapped": "ALTER TABLE s.plain RENAME id TO z; ALTER TABLE s.plain RENAME i TO id;"
    " ALTER TABLE s.plain RENAME z TO i",
    "a column replaced": "ALTER TABLE s.plain DROP COLUMN v; ALTER TABLE s.plain ADD v varchar(10) DEFAULT 'new'",
    "dropped": "DROP TABLE s.plain CASCADE",
    "renamed": "ALTER TABLE s.plain RENAME TO plainer",
    "swapped": "ALTER TABLE s.plain RENAME TO old; CREATE TABLE s.plain (LIKE s.old); INSERT INTO s.plain VALUES (7)",
    "moved to a schema": "ALTER TABLE s.plain SET SCHEMA other",
    "a column of the root renamed": "ALTER TABLE s.parent RENAME a TO z",
    "schemas swapped": "ALTER SCHEMA s RENAME TO gone; ALTER SCHEMA other RENAME TO s",
    "a label renamed": "ALTER TYPE s.mood RENAME VALUE 'fine' TO 'well'",
    "labels swapped": "ALTER TYPE s.mood RENAME VALUE 'fine' TO 'x'; ALTER TYPE s.mood RENAME VALUE 'bad' TO 'fine';"
    " ALTER TYPE s.mood RENAME VALUE 'x' TO 'bad'",
    "a label renamed and back": "ALTER TYPE s.mood RENAME VALUE 'fine' TO 'x';"
    " ALTER TYPE s.mood RENAME VALUE 'x' TO 'fine'",
    "a field added": "ALTER TYPE s.pair ADD ATTRIBUTE late integer CASCADE",
    "a name renamed": "ALTER TABLE s.named RENAME TO nameless",
}
_HARMLESS = {
    "rows changed": "UPDATE s.plain SET v = 'new'; DELETE FROM s.t",
    "a column added": "ALTER TABLE s.plain ADD late integer DEFAULT 7; ALTER TABLE s.parent ADD late integer DEFAULT 7",
    "a wider type": "ALTER TABLE s.plain ALTER v TYPE varchar(20)",
    "a column renamed and back": "ALTER TABLE s.plain RENAME v TO w; ALTER TABLE s.plain RENAME w TO v",
    "an index": "CREATE INDEX ON s.plain (v); DROP INDEX s.by_id",
    "a constraint": "ALTER TABLE s.plain ADD CHECK (id > 0); ALTER TABLE s.plain ALTER id SET NOT NULL",
    "defaults, statistics": "ALTER TABLE s.plain ALTER v SET DEFAULT 'x', ALTER id SET STATISTICS 7",
    "a label added": "ALTER TYPE s.mood ADD VALUE 'late' BEFORE 'fine'",
    "a partition added": "CREATE TABLE other.late PARTITION OF s.parent FOR VALUES IN (1000)",
    "detached": "ALTER TABLE s.parent DETACH PARTITION s.t",
    "inheriting": "CREATE TABLE other.base (id integer); ALTER TABLE s.plain INHERIT other.base",
    "owner and privileges": "GRANT SELECT ON s.plain TO PUBLIC; ALTER TABLE s.plain OWNER TO pg_monitor",
    "row security": "ALTER TABLE s.plain ENABLE ROW LEVEL SECURITY",
    "a trigger": "CREATE TRIGGER t BEFORE UPDATE ON s.plain FOR EACH ROW"
    " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "a view dropped": "DROP VIEW s.v",
    "vacuumed": "DELETE FROM s.plain WHERE id > 10; VACUUM s.plain; ANALYZE s.plain; REINDEX TABLE s.plain",
    "other things": "CREATE TABLE other.u (i serial); DROP TABLE other.t; CREATE TYPE other.e AS ENUM ('x')",
}
_COLUMNS = {"plain": ("id", "v", "i"), "t": ("id", "a", "b", "m", "p"), "naming": ("r",)}


@dataclass
class Scene:
    """A database, a snapshot of it, what the snapshot has, and a reader of it."""

    url: str
    present: PresentCatalog
    children: Children = field(default_factory=Children)
    stack: ExitStack = field(default_factory=ExitStack)
    expected: dict[str, bytes] = field(default_factory=dict)
    oids: dict[str, int] = field(default_factory=dict)

    def begin(self, *more: str) -> SliceReader:
        """Set everything up again, take a snapshot, and open a reader in it."""
        self.stack.close()
        run(self.url, *_SETUP, *more)
        self.oids = {name: value(self.url, f"SELECT 's.{name}'::regclass::oid::bigint") for name in _COLUMNS}
        holder = self.stack.enter_context(closing(psycopg2.connect(self.url)))
        holder.set_session(isolation_level="REPEATABLE READ")
        with holder.cursor() as cursor:
            cursor.execute("SELECT pg_export_snapshot()")
            ((snapshot,),) = cursor.fetchall()
        connection = parse_secret(self.url, where="test")
        reader = SliceReader(
            connection, self.children, snapshot=snapshot, encoding="UTF8", buffer_bytes=2**20, present=self.present
        )
        self.stack.enter_context(reader)
        self.expected = {name: b"".join(self.read(reader, name)) for name in _COLUMNS}
        return reader

    def slices(self, name: str, blocks: tuple[int | None, int | None] = (None, None)) -> list[Slice]:
        """Return a slice of a table of the schema `s`."""
        return [Slice(TableExtent(self.oids[name], "s", name, _COLUMNS[name], 1, 1), 0, *blocks, 1)]

    def read(self, reader: SliceReader, *names: str, meanwhile: Callable[[], object] = lambda: None) -> Iterator[bytes]:
        """Yield the text of tables, read as one part; something happens when the first rows are there."""
        for number, (_, chunks) in enumerate(reader.read([piece for name in names for piece in self.slices(name)])):
            if number == 0:
                meanwhile()
            yield b"".join(bytes(chunk) for chunk in chunks)

    def change(self, change: str) -> None:
        """Let another session make a change, for which it does not wait long."""
        run(self.url, "SET lock_timeout = '50ms'", *change.split("; "))


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Iterator[str]:
    yield postgres_server.create_database("part_locks")
    postgres_server.drop_database("part_locks")


@pytest.fixture
def scene(database: str) -> Iterator[Scene]:
    with (
        present_catalog(parse_secret(database, where="test"), Children(), patience_seconds=5) as present,
        ExitStack() as stack,
    ):
        yield Scene(database, present, stack=stack)


@pytest.mark.parametrize("change", _CHANGED.values(), ids=_CHANGED)
def test_a_change_of_what_rows_are_read_by_is_found(scene: Scene, change: str) -> None:
    # When it is tried while the part is read: it waits, or it is found
    reader = scene.begin()
    try:
        found = list(scene.read(reader, *_COLUMNS, meanwhile=lambda: _try(scene, change)))
    except SchemaChangedError:
        assert change not in _LOCKED
    else:
        assert found == list(scene.expected.values())
        assert change in _LOCKED

    # When it is made afterwards: nothing keeps it waiting, and the reader has what the snapshot has
    reader = scene.begin()
    assert list(scene.read(reader, *_COLUMNS)) == list(scene.expected.values())
    scene.change(change)

    # When it is made before the part is read
    with pytest.raises(SchemaChangedError):
        list(scene.read(reader, *_COLUMNS))


# Changes of which the first statement has to wait for a session that reads the tables.
_LOCKED = {change for name, change in _CHANGED.items() if " TABLE s.named" not in change and "TYPE s" not in change}
_LOCKED -= {_CHANGED["schemas swapped"]}


def _try(scene: Scene, change: str) -> None:
    try:
        scene.change(change)
    except psycopg2.errors.LockNotAvailable:
        assert change in _LOCKED


@pytest.mark.parametrize("change", _HARMLESS.values(), ids=_HARMLESS)
def test_any_other_change_does_no_harm(scene: Scene, change: str) -> None:
    reader = scene.begin()
    scene.change(change)
    assert list(scene.read(reader, "plain", "t")) == [scene.expected["plain"], scene.expected["t"]]


def test_a_table_that_is_moved_between_two_of_its_slices_is_found(scene: Scene) -> None:
    """Its old rows are there for the snapshot, but in other blocks: some would be read twice, and others never."""
    reader = scene.begin()
    for _, chunks in reader.read(scene.slices("plain", (0, 4))):
        assert b"".join(bytes(chunk) for chunk in chunks)
    scene.change("DELETE FROM s.plain WHERE id % 2 = 0; VACUUM FULL s.plain")

    with pytest.raises(SchemaChangedError) as caught:
        list(reader.read(scene.slices("plain", (4, None))))

    assert caught.value.tables == ('ONLY "s"."plain"',)
    assert caught.value.message.startswith('The table "s"."plain" was truncated, rewritten')


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_migration_that_is_under_way_is_waited_for(scene: Scene, end: str) -> None:
    reader = scene.begin()
    with closing(psycopg2.connect(scene.url)) as session:
        session.cursor().execute("ALTER TABLE s.plain ADD late integer" if end == "commit" else "TRUNCATE s.plain")

        def finish() -> None:
            _until_waited_for(scene.url)
            getattr(session, end)()

        ended = threading.Thread(target=finish)
        ended.start()
        assert list(scene.read(reader, "plain")) == [scene.expected["plain"]]
        ended.join()


def test_a_lock_that_stays_is_an_error(scene: Scene) -> None:
    scene.present.patience_seconds = 0
    reader = scene.begin()
    with closing(psycopg2.connect(scene.url)) as session:
        session.cursor().execute("LOCK TABLE s.plain IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DumpTransientError) as caught:
            list(scene.read(reader, "plain"))
    assert caught.value.code == "LOCK_TIMEOUT"


def test_a_migration_is_never_the_victim_of_a_deadlock_with_a_reader(scene: Scene) -> None:
    """It has one table and wants the other, as the reader has."""
    reader = scene.begin()
    with closing(psycopg2.connect(scene.url)) as session, session.cursor() as cursor:
        cursor.execute("ALTER TABLE s.t ADD CHECK (id > 0)")
        found: list[bytes] = []
        reading = threading.Thread(target=lambda: found.extend(scene.read(reader, "plain", "t")))
        reading.start()
        _until_waited_for(scene.url)
        cursor.execute("ALTER TABLE s.plain ADD CHECK (id > 0)")
        session.commit()
        reading.join()
    assert found == [scene.expected["plain"], scene.expected["t"]]


def test_a_part_that_others_wait_for_is_given_up_and_can_be_read_again(scene: Scene) -> None:
    # Given more rows than the network holds
    reader = scene.begin("INSERT INTO s.plain SELECT n, 'x', n FROM generate_series(1, 700000) n")
    waiting = threading.Thread(target=lambda: run(scene.url, "ALTER TABLE s.plain ADD late integer"))
    ((backend,),) = rows(
        scene.url,
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        " AND query LIKE 'ROLLBACK TO SAVEPOINT part%'",
    )

    def wait() -> None:
        waiting.start()
        _until_waited_for(scene.url)
        scene.present.let_go(backend)

    with pytest.raises(LockYieldedError) as caught:
        list(scene.read(reader, "plain", meanwhile=wait))

    waiting.join()
    assert "s.plain" in caught.value.message
    assert list(scene.read(reader, "plain")) == [scene.expected["plain"]]


@pytest.mark.parametrize("seed", range(2))
def test_random_changes_between_parts_are_found_or_do_no_harm(scene: Scene, seed: int) -> None:
    chance = random.Random(seed)
    kinds = [*_CHANGED.values(), *_HARMLESS.values()]
    for _ in range(4):
        reader = scene.begin()
        for _ in range(6):
            name = chance.choice(["plain", "t"])
            try:
                assert list(scene.read(reader, name)) == [scene.expected[name]]
            except SchemaChangedError:
                break
            with suppress(psycopg2.Error):  # what does not fit to those before
                scene.change(chance.choice(kinds))


def _until_waited_for(url: str) -> None:
    waiting = "SELECT pid FROM pg_locks WHERE NOT granted AND locktype = 'relation'"
    while not rows(url, waiting):
        threading.Event().wait(0.02)
