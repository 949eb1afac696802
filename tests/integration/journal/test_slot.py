"""A slot is made, read in steps, advanced and dropped by SQL; what is not as it was left is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg2
import psycopg2.extensions
import pytest
from psycopg2.extras import LogicalReplicationConnection
from tests.integration.journal_scene import Scene

from coffre.model.errors import CoffreError
from coffre.postgres.journal import slot, slot_changes

UNINSTALL = Path(__file__).parents[3] / "docs/uninstall.md"


@contextmanager
def refused(code: str, says: str = "") -> Iterator[None]:
    with pytest.raises(CoffreError) as caught:
        yield
    assert caught.value.code == code
    assert says in caught.value.message
    assert caught.value.hint


@pytest.fixture
def scene(make_scene: Callable[[int], Scene]) -> Scene:
    made = make_scene(18)
    made.begin("CREATE TABLE t (id int PRIMARY KEY, v text)")
    return made


def test_a_slot_is_read_in_steps_and_holds_nothing_that_is_stored(scene: Scene) -> None:
    found = slot.require_ours(scene.reader, scene.ours)
    assert found.name.startswith(f"coffre_{scene.name}_")
    assert (found.plugin, found.database, found.wal_status) == ("test_decoding", scene.name, "reserved")

    for start in range(0, 40, 10):
        scene.run(f"INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series({start}, {start + 9}) i")
    steps = [len(scene.drain(most_bytes=8000)) for _ in range(12)]
    assert sum(steps) == 4 * 12
    assert set(steps) == {0, 12}  # each transaction has 10 KB, and is never divided

    with closing(psycopg2.connect(scene.server.dsn(f"{scene.name}_copy"))) as other, other.cursor() as cursor:
        cursor.execute("CREATE TABLE other AS SELECT i, repeat('x', 400) FROM generate_series(1, 5000) i")
        other.commit()
    before = slot.require_ours(scene.reader, scene.ours).retained_bytes
    for _ in range(4):  # servers write such a record every 15 seconds: where it is a slot can begin
        scene.run("SELECT pg_log_standby_snapshot(), pg_current_xact_id()")  # the commit flushes it
        assert scene.drain() == []  # nothing of this database
    assert before > 2_000_000 > 100_000 > slot.require_ours(scene.reader, scene.ours).retained_bytes
    # A person who has deleted the stack finds it
    [listed] = re.findall(r"```sql\n(SELECT slot_name.*?)```", UNINSTALL.read_text(), re.DOTALL)
    with scene.reader.cursor() as cursor:
        cursor.execute(listed)
        assert (scene.ours.name, scene.name) in [row[:2] for row in cursor]
    scene.reader.rollback()

    assert slot.drop(scene.reader, scene.ours.name)
    assert not slot.drop(scene.reader, scene.ours.name)
    with refused("JOURNAL_SLOT_MISSING"):
        slot.require_ours(scene.reader, scene.ours)
    with refused("JOURNAL_SLOT_MISSING"):
        list(slot_changes.lines(scene.reader, scene.ours.name, scene.ours.stored_lsn))


def test_a_slot_that_is_not_as_it_was_left_is_refused(scene: Scene) -> None:
    scene.run("INSERT INTO t VALUES (1, 'x')")
    scene.drain(loses_advance=True)
    assert scene.drain() == scene.segments[0]  # it comes again
    ours = scene.ours

    for wrong in (
        replace(ours, stored_lsn=ours.stored_lsn - 1),  # advanced by another program
        replace(ours, database="another"),
        replace(ours, plugin="pgoutput"),
    ):
        with refused("JOURNAL_SLOT_FOREIGN"):
            slot.require_ours(scene.reader, wrong)
    for wrong in (replace(ours, timeline=ours.timeline + 1), replace(ours, stored_lsn=1 << 60)):
        with refused("JOURNAL_TIMELINE"):
            slot.require_ours(scene.reader, wrong)

    slot.drop(scene.reader, ours.name)
    scene.run(f"SELECT pg_create_logical_replication_slot('{ours.name}', 'test_decoding')")
    with refused("JOURNAL_SLOT_FOREIGN"):  # the same name, and a later beginning
        slot.require_ours(scene.reader, ours)
    slot.drop(scene.reader, ours.name)
    scene.run(f"SELECT pg_create_logical_replication_slot('{ours.name}', 'test_decoding', twophase => true)")
    with refused("JOURNAL_SLOT_FOREIGN"):
        slot.require_ours(scene.reader, replace(ours, stored_lsn=ours.stored_lsn + 100_000))


def test_what_the_server_does_not_allow_is_explained(scene: Scene) -> None:
    scene.run("INSERT INTO t SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 1000) i")
    with scene.reader.cursor() as cursor:
        cursor.execute("SET temp_file_limit = '64kB'; SET work_mem = '64kB'")
        scene.reader.commit()
    with refused("JOURNAL_TOO_LARGE"):
        scene.drain()
    with scene.reader.cursor() as cursor:
        cursor.execute("RESET temp_file_limit")
        scene.reader.commit()
    assert len(scene.drain()) == 1002

    scene.run("DELETE FROM t WHERE id = 1")
    with (
        closing(
            psycopg2.connect(scene.server.dsn(scene.name), connection_factory=LogicalReplicationConnection)
        ) as other,
        other.cursor() as cursor,
    ):
        cursor.start_replication(scene.ours.name)
        for use in (slot.require_ours, slot.advance, lambda session, ours: slot.drop(session, ours.name)):
            with refused("JOURNAL_SLOT_BUSY"):
                use(scene.reader, replace(scene.ours, stored_lsn=scene.ours.stored_lsn + 1))

    open_one = scene.writer()
    with open_one.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (0, '')")
    with refused("JOURNAL_WAITS"):
        slot.create(scene.reader, "coffre_waits", patience_seconds=0.05)
    assert slot.inspect(scene.reader, "coffre_waits") is None
    open_one.rollback()

    scene.run("CREATE ROLE journal_reader")
    with scene.reader.cursor() as cursor:
        cursor.execute("SET SESSION AUTHORIZATION journal_reader")
        scene.reader.commit()
        with refused("JOURNAL_NOT_POSSIBLE"):
            slot.create(scene.reader, "coffre_refused", patience_seconds=1)
        cursor.execute("RESET SESSION AUTHORIZATION; DROP ROLE journal_reader")
        scene.reader.commit()


def test_an_answer_that_is_left_or_cut_leaves_no_session_in_its_middle(scene: Scene) -> None:
    scene.run("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 30000) i")
    upto = slot.require_ours(scene.reader, scene.ours).flush_lsn
    with closing(slot_changes.pieces(scene.reader, scene.ours.name, upto)) as pieces:
        assert next(pieces).count(b"\n") > 100
    assert slot.require_ours(scene.reader, scene.ours).active_pid is None  # the session says so itself

    # A session that is gone in the middle is closed, and the slot is free
    other = scene.connect()
    with refused("JOURNAL_INTERRUPTED"), closing(slot_changes.pieces(other, scene.ours.name, upto)) as pieces:
        next(pieces)
        scene.run(f"SELECT pg_terminate_backend({other.info.backend_pid}, 5000)")
        list(pieces)
    assert other.closed
    assert len(scene.drain()) == 30002


@contextmanager
def server_setting(scene: Scene, name: str, value: str) -> Iterator[psycopg2.extensions.cursor]:
    with scene.session.cursor() as cursor:
        scene.session.autocommit = True
        cursor.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        cursor.execute("SELECT pg_reload_conf()")
        try:
            yield cursor
        finally:
            cursor.execute(f"ALTER SYSTEM RESET {name}")
            cursor.execute("SELECT pg_reload_conf()")


def test_a_slot_that_nothing_has_used_for_long_is_given_up_by_the_server(scene: Scene) -> None:
    with server_setting(scene, "idle_replication_slot_timeout", "1s") as cursor:
        cursor.execute("SELECT '1'")
        while cursor.fetchall() != [("lost",)]:  # after a second, with the next checkpoint
            cursor.execute("SELECT pg_sleep(0.1)")
            cursor.execute("CHECKPOINT")
            cursor.execute("SELECT wal_status FROM pg_replication_slots WHERE slot_name = %s", (scene.ours.name,))

    with refused("JOURNAL_SLOT_LOST", "idle_replication_slot_timeout"):
        slot.require_ours(scene.reader, scene.ours)


def test_a_slot_whose_wal_is_gone_is_lost(scene: Scene) -> None:
    with server_setting(scene, "max_slot_wal_keep_size", "1MB") as cursor:
        for number in range(3):
            cursor.execute("INSERT INTO t VALUES (%s, 'x')", (number,))
            cursor.execute("SELECT pg_switch_wal()")
        cursor.execute("CHECKPOINT")

    with refused("JOURNAL_SLOT_LOST"):
        slot.require_ours(scene.reader, scene.ours)
    with refused("JOURNAL_SLOT_LOST"):
        list(slot_changes.lines(scene.reader, scene.ours.name, scene.ours.stored_lsn + (1 << 20)))
