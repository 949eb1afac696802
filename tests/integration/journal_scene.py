"""A database whose changes are drained, and a copy of it that a journal is applied to (also for benchmarks)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import psycopg2
import psycopg2.extensions
from tests.integration.exports import program, psql

from coffre.model.journal_options import PUBLICATION
from coffre.model.names import qualified
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.connect import connect
from coffre.postgres.destination import marks
from coffre.postgres.journal import pgoutput, slot, slot_changes, test_decoding
from coffre.postgres.journal.barriers import barriers, marks_of
from coffre.postgres.journal.changes import Line, Lines, parse_lsn
from coffre.postgres.journal.definitions import Definitions, read_definitions
from coffre.postgres.journal.publication import asking, followed, read_publication
from coffre.postgres.journal.replay import Replay
from coffre.postgres.journal.replay_source import Source
from coffre.postgres.journal.transactions import BaseSnapshot, Moment, outline
from coffre_local.postgres_server import PostgresServer, ServerOptions

# A commit is in the stream when its WAL is flushed: with asynchronous commits, some moments later.
SETTINGS = {
    "wal_level": "logical",
    "max_prepared_transactions": "5",
    "max_replication_slots": "5",
    "max_wal_senders": "2",
    "synchronous_commit": "on",
}
OPTIONS = ServerOptions(settings=SETTINGS)
_NOT_AN_END = 1 << 62


@dataclass
class Mark:
    """What every table had after a commit: the hash of all rows of each."""

    moment: Moment
    hashes: dict[str, str]
    at: datetime


@dataclass
class Scene:
    """A source with a slot, its segments, and a destination with the base."""

    server: PostgresServer
    home: Path
    scratch: Path
    name: str
    stack: ExitStack
    plugin: str = test_decoding.PLUGIN
    segments: list[list[Line]] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    properties: str = ""
    """Of both databases: what `CREATE DATABASE` takes."""
    settings: Sequence[str] = ()
    """Of both databases, which every session has that does not set its own."""

    def __post_init__(self) -> None:
        for name in (self.name, f"{self.name}_copy"):
            with closing(psycopg2.connect(self.server.dsn())) as session, session.cursor() as cursor:
                session.autocommit = True
                cursor.execute(f"CREATE DATABASE {name} {self.properties}")
                for setting in self.settings:
                    cursor.execute(f"ALTER DATABASE {name} SET {setting}")
            self.stack.callback(self.server.drop_database, name)
        self.session = self.writer()
        self.reader = self.connect()

    def connection(self, database: str) -> Connection:
        return Connection("127.0.0.1", self.server.port, "postgres", "", database, sslmode="disable")

    def connect(self, database: str | None = None) -> psycopg2.extensions.connection:
        return self.stack.enter_context(connect(self.connection(database or self.name)))

    def writer(self) -> psycopg2.extensions.connection:
        """A session of the application."""
        session = self.connect()
        self.run("SET search_path = public", session=session)
        return session

    def run(self, *statements: str, session: psycopg2.extensions.connection | None = None) -> None:
        """Run statements in one transaction."""
        session = session or self.session
        with session, session.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def begin(self, *statements: str) -> None:
        """Make the tables and the slot."""
        self.run(*statements)
        if self.plugin == pgoutput.PLUGIN:
            self.publish()
        self.ours = slot.create(self.reader, slot.new_name(self.name), patience_seconds=20, plugin=self.plugin)
        self.stack.callback(lambda: slot.drop(self.reader, self.ours.name))

    def publish(self) -> None:
        """Make the publication that the plugin needs, of all tables whose rows can be identified."""
        with self.reader:
            definitions = read_definitions(self.reader)
        names = definitions.tables.keys() - set(definitions.without_identity())
        self.run(f"CREATE PUBLICATION {PUBLICATION} FOR TABLE {', '.join(qualified(*name) for name in sorted(names))}")

    def followed(self, session: psycopg2.extensions.connection) -> Definitions:
        """Return the definitions of what the plugin sends."""
        definitions = read_definitions(session)
        return (
            followed(definitions, read_publication(asking(session))) if self.plugin == pgoutput.PLUGIN else definitions
        )

    def take_base(self) -> None:
        """Copy the database as of a snapshot, while its transactions go their way."""
        with self.connect() as session, session.cursor() as cursor:
            session.set_session(isolation_level="REPEATABLE READ")
            cursor.execute(
                "SELECT pg_export_snapshot(), pg_current_snapshot()::text, pg_current_wal_insert_lsn()::text"
            )
            ((snapshot, text, lsn),) = cursor.fetchall()
            script = self.scratch / "base.sql"
            program(
                self.home, "pg_dump", f"--snapshot={snapshot}", "--file", script, "--dbname", self.server.dsn(self.name)
            )
            self.source = Source(BaseSnapshot.parse(text, parse_lsn(lsn)), self.followed(session))
        psql(self.home, self.server.dsn(f"{self.name}_copy"), script)
        self.copy = self.connect(f"{self.name}_copy")
        marks.begin(self.copy, marks.SCHEMA, "a test")

    def drain(self, *, most_bytes: int = 1 << 30, loses_advance: bool = False) -> list[Line]:
        """Read what the slot has, as a function would, and return the segment."""
        found = slot.require_ours(self.reader, self.ours)
        upto = slot.bound(found, most_bytes)
        segment = list(slot_changes.lines(self.reader, self.ours.name, upto, self.plugin))
        ends = [transaction.commit_lsn for transaction in outline(segment)]
        self.ours = replace(self.ours, stored_lsn=max(upto, self.ours.stored_lsn, *ends))
        self.segments.append(segment)
        if not loses_advance:
            slot.advance(self.reader, self.ours)
        return segment

    def mark(self) -> None:
        """Remember what all tables have now."""
        with self.reader, self.reader.cursor() as cursor:
            cursor.execute("SELECT pg_current_wal_insert_lsn()::text, clock_timestamp()")
            ((lsn, at),) = cursor.fetchall()
        self.marks.append(Mark(Moment(lsn=parse_lsn(lsn)), self.hashes(self.reader), at))

    def replay(self) -> Replay:
        return Replay(self.copy, self.source)

    def replay_to(self, moment: Moment | None = None, *, kills: Iterable[int] = ()) -> Replay:
        """Apply all segments up to a moment; after this number of lines the process is gone, each time."""
        deaths = iter(kills)
        for segment in self.segments:
            while True:
                try:
                    replay = self.replay()
                    is_reached = replay.apply(dying(segment, next(deaths, _NOT_AN_END)), moment)
                    break
                except Death:
                    continue
            if is_reached:
                break
        return replay

    def hashes(self, session: psycopg2.extensions.connection) -> dict[str, str]:
        """Return a hash over every row of every table that is followed, whatever their order."""
        found = {}
        with session, session.cursor() as cursor:
            for name, table in self.followed(session).tables.items():
                if not table.is_partitioned and name[0] != marks.SCHEMA:
                    cursor.execute(
                        "SELECT count(*) || ' ' || md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\"))"
                        f" FROM ONLY {qualified(*name)} AS t"
                    )
                    found[qualified(*name)] = str(cursor.fetchall()[0][0])
        return found

    def require_equal(self) -> None:
        """Compare the copy with the source as it is now."""
        assert self.hashes(self.copy) == self.hashes(self.reader)

    def definitions(self) -> Definitions:
        with self.reader:
            return self.followed(self.reader)


class Death(BaseException):
    """The process that applies a journal is killed here."""


def dying(segment: list[Line], after: int) -> Lines:
    """Open a segment whose second reading ends with the process, after a number of lines."""
    opened = 0

    def lines() -> Iterator[Line]:
        nonlocal opened
        opened += 1
        for number, line in enumerate(segment):
            if opened > 1 and number == after:
                raise Death
            yield line

    return lines


@contextmanager
def scene(
    server: PostgresServer, home: Path, scratch: Path, name: str, plugin: str = test_decoding.PLUGIN
) -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(server, home, scratch, name, stack, plugin)


TABLES = '''
CREATE TABLE acc (gone int, id int PRIMARY KEY, n numeric, t text, gone_too text, u int UNIQUE, f float8);
ALTER TABLE acc DROP COLUMN gone, DROP COLUMN gone_too;
CREATE TABLE doc (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, own int, body text, data jsonb, blob bytea, list text[],
    short text GENERATED ALWAYS AS (left(body, 3)) STORED
);
ALTER TABLE doc ALTER body SET STORAGE EXTERNAL, ALTER blob SET STORAGE EXTERNAL;
CREATE SCHEMA "Odd ""Schema.";
CREATE TABLE "Odd ""Schema."."t'able: [x] INSERT:" (
    "key ""x""" text, "k]2:'" int, "v'al[text]:'x'" text, PRIMARY KEY ("key ""x""", "k]2:'")
);
CREATE TABLE "Odd ""Schema.".acc (LIKE acc INCLUDING ALL);
CREATE TABLE whole (own int, a text, j json, b boolean, c char(5), p point, l int[]);
ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE TABLE lines (at timestamptz, line text);
CREATE TABLE named (a int NOT NULL, b text NOT NULL, own int, c text, UNIQUE (b, a));
ALTER TABLE named REPLICA IDENTITY USING INDEX named_b_a_key;
CREATE TABLE part (id int, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE part_a PARTITION OF part FOR VALUES IN ('a');
CREATE TABLE "part B" PARTITION OF part FOR VALUES IN ('b');
CREATE TABLE part_rest PARTITION OF part DEFAULT;
CREATE TABLE parent (id int PRIMARY KEY, x text);
CREATE TABLE child (y text, PRIMARY KEY (id)) INHERITS (parent);
CREATE TABLE ref (id int PRIMARY KEY REFERENCES acc ON DELETE CASCADE ON UPDATE CASCADE, note text);
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.lines VALUES (now(), NEW.t); RETURN NEW; END $$;
CREATE TRIGGER noted AFTER UPDATE ON acc FOR EACH ROW EXECUTE FUNCTION noted();
'''
_SCHEMA = '"Odd ""Schema."'
_ODD = '"t\'able: [x] INSERT:"'
_WORKERS = 3
_KEYS = 40


class Workload:
    """Random transactions of a few sessions, always the same ones for a seed. Each session has keys of its own."""

    def __init__(self, scene: Scene, seed: int) -> None:
        self.scene = scene
        self.random = random.Random(seed)
        self.sessions = [scene.writer() for _ in range(_WORKERS)]
        self.prepared: set[str] = set()
        scene.stack.callback(self.finish)

    def step(self) -> None:
        """Do something in one of the sessions: a statement, a savepoint, or the end of its transaction."""
        worker = self.random.randrange(_WORKERS)
        session = self.sessions[worker]
        kind = self.random.random()
        if kind < 0.2:
            session.commit()
        elif kind < 0.25:
            session.rollback()
        elif kind < 0.3:
            self._prepare(session, worker)
        elif kind < 0.36:
            self._undone(session, worker)
        else:
            self._execute(session, self._statement(worker))

    def finish(self) -> None:
        """End all transactions."""
        for session in self.sessions:
            if not session.closed:
                session.commit()
        for gid in sorted(self.prepared):
            self._end_prepared(gid)

    def empty(self) -> None:
        """Empty tables, when no session has locks."""
        self.finish()
        name = self.random.choice(("part", "lines", "parent", "acc, ref", '"Odd ""Schema.".acc', "doc"))
        self.scene.run(f"TRUNCATE {name} RESTART IDENTITY CASCADE")

    def _execute(self, session: psycopg2.extensions.connection, statement: str) -> None:
        with session.cursor() as cursor:
            cursor.execute("SAVEPOINT one; SET LOCAL lock_timeout = 20")
            try:
                cursor.execute(statement)
            except psycopg2.Error:  # a key that exists already
                cursor.execute("ROLLBACK TO SAVEPOINT one")

    def _undone(self, session: psycopg2.extensions.connection, worker: int) -> None:
        self._execute(session, "SAVEPOINT undone")
        self._execute(session, self._statement(worker))
        with session.cursor() as cursor:
            cursor.execute("ROLLBACK TO SAVEPOINT one")

    def _prepare(self, session: psycopg2.extensions.connection, worker: int) -> None:
        gid = f"{self.scene.name} '{worker}"
        if gid in self.prepared:
            self._end_prepared(gid)
            return
        session.commit()
        self._execute(session, f"INSERT INTO lines VALUES (now(), 'prepared {self.random.random()}')")
        with session.cursor() as cursor:
            cursor.execute("PREPARE TRANSACTION %s", (gid,))
        session.commit()  # the driver does not know that none is open
        self.prepared.add(gid)

    def _end_prepared(self, gid: str) -> None:
        self.prepared.discard(gid)
        how = self.random.choice(("COMMIT", "ROLLBACK"))
        self.scene.session.autocommit = True
        with self.scene.session.cursor() as cursor:
            cursor.execute(f"{how} PREPARED %s", (gid,))
        self.scene.session.autocommit = False

    def _key(self, worker: int) -> int:
        return self.random.randrange(_KEYS) * _WORKERS + worker

    def _text(self) -> str:
        pieces = ("it''s", '"', "\\", "\n", "null", " new-tuple:", "é🙂", "x[text]:1", "''''", " ", "")
        return "'" + "".join(self.random.choices(pieces, k=self.random.randrange(6))) + "'"

    def _statement(self, worker: int) -> str:
        key, other, text = self._key(worker), self._key(worker), self._text()
        long = f"repeat(md5('{key}'), {self.random.choice((1, 200))})"
        number = self.random.choice(("1.50", "'NaN'", "-0.0", "1e40", "NULL", "0.1"))
        mine = f"own = {worker}"
        acc, odd = self.random.choice(("acc", f"{_SCHEMA}.acc")), f"{_SCHEMA}.{_ODD}"
        some = f"id % {_WORKERS} = {worker} AND id < {key}"
        every = f"i * {_WORKERS} + {worker}"
        series = f"FROM generate_series(0, {_KEYS}) i"
        swap = f"UPDATE {acc} SET id = -1 - id WHERE id = {key}; UPDATE {acc} SET id = {key} WHERE id = {other};"
        swap += f" UPDATE {acc} SET id = {other} WHERE id = -1 - {key}"
        json = f"to_jsonb({text}::text)"
        mixed = f"{worker}, {long}, {json}, convert_to({long}, 'UTF8'), ARRAY[{text}]"
        region = self.random.choice("abc")
        odd_value = f"\"v'al[text]:'x'\" = {text}"
        first = f"ctid IN (SELECT ctid FROM whole WHERE {mine} LIMIT 2)"
        return self.random.choice(
            (
                f"INSERT INTO {acc} SELECT {every}, 1, {text}, {every}, {number} {series} ON CONFLICT DO NOTHING",
                f"INSERT INTO {acc} VALUES ({key}, {number}, {text}, {other}, {number}) ON CONFLICT DO NOTHING",
                f"UPDATE {acc} SET n = {number}, t = {text} WHERE {some}",
                f"UPDATE {acc} SET u = -u WHERE {some}",
                f"UPDATE {acc} SET id = {other} WHERE id = {key}",
                swap,
                f"DELETE FROM {acc} WHERE id = {key}",
                f"INSERT INTO doc (own, body, data, blob, list) VALUES ({mixed})",
                f"UPDATE doc SET data = to_jsonb({number}::numeric) WHERE {mine} AND id % 3 = 0",
                f"UPDATE doc SET body = {long} WHERE {mine} AND id % 5 = 1",
                f"UPDATE doc SET id = DEFAULT WHERE {mine} AND id % 7 = 1",
                f"DELETE FROM doc WHERE {mine} AND id % 9 = 1",
                f"INSERT INTO {odd} VALUES ({text}, {key}, {text}) ON CONFLICT DO NOTHING",
                f'UPDATE {odd} SET {odd_value} WHERE "k]2:\'" % {_WORKERS} = {worker}',
                f'DELETE FROM {odd} WHERE "k]2:\'" = {key}',
                f"INSERT INTO whole SELECT {worker}, {text}, '{{}}', true, 'x', '(1,2)', '{{1}}' {series} WHERE i < 3",
                f"INSERT INTO whole (own, a, b) VALUES ({worker}, NULLIF({text}, ''), {key} < 9 OR NULL)",
                f"UPDATE whole SET j = '[{key}]', b = false WHERE {first}",
                f"DELETE FROM whole WHERE {first}",
                f"INSERT INTO lines VALUES (now(), {text})",
                f"INSERT INTO named VALUES ({key}, {text}, {worker}, {text}) ON CONFLICT DO NOTHING",
                f"UPDATE named SET b = {text} WHERE {mine} AND a = {key}",
                f"UPDATE named SET c = {text} WHERE {mine}",
                f"DELETE FROM named WHERE {mine} AND a < {key} / 2",
                f"INSERT INTO part VALUES ({key}, '{region}', {text}) ON CONFLICT DO NOTHING",
                f"UPDATE part SET region = '{region}' WHERE id = {key}",
                f"UPDATE part SET v = {text} WHERE {some}",
                f"INSERT INTO child VALUES ({key}, {text}, {text}) ON CONFLICT DO NOTHING",
                f"INSERT INTO parent VALUES ({key}, {text}) ON CONFLICT DO NOTHING",
                f"UPDATE parent SET x = {text} WHERE {some}",
                f"DELETE FROM parent WHERE id = {key}",
                f"INSERT INTO ref SELECT id, {text} FROM acc WHERE {some} ON CONFLICT DO NOTHING",
            )
        )


def play(
    scene: Scene, seed: int, *, steps: int = 150, drain: Callable[[random.Random], list[list[Line]]] | None = None
) -> int:
    """Run a workload with a base in its middle, and compare the copy at several moments; returns the changes applied.

    Drains lose their advance, and processes that apply are killed, as the seed says. Another `drain` returns all
    segments; it is called before the workload, too.
    """
    scene.begin(TABLES)
    work = Workload(scene, seed)
    chance = work.random
    if drain is not None:
        drain(chance)
    base_at = chance.randrange(steps // 4)
    for number in range(steps):
        work.step()
        if number == base_at:
            scene.take_base()
        if chance.random() < 0.06:
            if drain is not None:
                drain(chance)
            else:
                scene.drain(most_bytes=chance.choice((20_000, 1 << 30)), loses_advance=chance.random() < 0.3)
        if number > base_at and chance.random() < 0.02:
            scene.mark()
        if number % (steps // 4) == steps // 8:
            work.empty()
    work.finish()
    scene.drain()
    scene.mark()
    if drain is not None:
        scene.segments = drain(chance)
    assert barriers(marks_of(scene.definitions()), marks_of(scene.definitions())) == []
    for mark in scene.marks:
        kills = [chance.randrange(1, 200) for _ in range(chance.randrange(3))]
        replay = scene.replay_to(mark.moment, kills=kills)
        different = {name: (rows, mark.hashes[name]) for name, rows in scene.hashes(scene.copy).items()}
        different = {name: pair for name, pair in different.items() if pair[0] != pair[1]}
        assert not different, f"seed {seed}, {mark.moment}: {different}"
    return replay.position.changes
