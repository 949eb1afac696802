"""The replication protocol gives what a SELECT gives, and what a SELECT has no room for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from tests.integration.journal_scene import TABLES, Scene, Workload
from tests.integration.journal_tails import require, tail_of
from tests.integration.journal_vault import Journal

from coffre.model.errors import ConnectError, ConnectTransientError, JournalError, JournalTransientError
from coffre.model.journal import JournalEnd
from coffre.postgres.journal import slot, slot_changes
from coffre.postgres.journal import stream as stream_module
from coffre.postgres.journal.changes import Line
from coffre.postgres.journal.stream import stream


def streamed(scene: Scene, upto: int) -> list[Line]:
    return list(stream(scene.connection(scene.name), scene.ours, upto, lambda: None))


@pytest.mark.parametrize(("major", "plugin"), [(14, "pgoutput"), (18, "test_decoding"), (18, "pgoutput")])
def test_a_stream_has_the_lines_of_a_select_and_moves_nothing(
    make_scene: Callable[..., Scene], major: int, plugin: str
) -> None:
    scene = make_scene(major, plugin)
    scene.begin(TABLES)
    before = slot.require_ours(scene.reader, scene.ours)
    assert streamed(scene, before.flush_lsn) == []
    work = Workload(scene, major)
    for _ in range(60):
        work.step()
    work.empty()
    scene.run("INSERT INTO doc (own, body) SELECT i, repeat('é', 9000) FROM generate_series(1, 20) i")
    for upto in (before.flush_lsn + 30_000, slot.require_ours(scene.reader, scene.ours).flush_lsn):
        expected = list(slot_changes.lines(scene.reader, scene.ours.name, upto, plugin))
        found = streamed(scene, upto)
        assert found[: len(expected)] == expected
        assert {bool(line.lsn) for line in found if line.data.startswith("table ")} == {False}
        assert all(line.lsn for line in found if not line.data.startswith("table "))
        # Where a transaction ends is known at its beginning by pgoutput alone.
        further = [line for line in found[len(expected) :] if line.data.startswith("BEGIN")]
        assert len(further) <= (plugin == "test_decoding")
        assert found
    after = slot.require_ours(scene.reader, scene.ours)
    assert after.confirmed_lsn == before.confirmed_lsn
    with scene.reader, scene.reader.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_replication_slots WHERE temporary AND database = %s", (scene.name,))
        [(left,)] = cursor.fetchall()
    assert left <= 1  # that of the last session is gone when the server has noticed its end


def test_what_a_select_has_no_room_or_no_time_for_is_streamed(make_journal: Callable[..., Journal]) -> None:
    journal = make_journal(18, "CREATE TABLE one (id int PRIMARY KEY, v text)")
    scene, run = journal.scene, journal.scene.run
    run(
        f"ALTER DATABASE {scene.name} SET temp_file_limit = '1MB'", f"ALTER DATABASE {scene.name} SET work_mem = '64kB'"
    )
    journal.drain()
    scene.take_base()
    # What has emptied a table is searched for in the same way
    run("TRUNCATE one", "INSERT INTO one VALUES (1, 'before')")
    run("INSERT INTO one SELECT i, repeat(md5(i::text), 100) FROM generate_series(1000, 1999) i")
    run("INSERT INTO one VALUES (2, 'after')")
    report = journal.drain()
    assert (report.transactions, report.ended, report.is_complete) == (3, (), True)
    journal.replay_all()

    # The time was not enough for a SELECT: a stream is next
    run("DELETE FROM one WHERE id = 2")
    with pytest.raises(JournalTransientError):
        journal.drain(remaining_seconds=lambda: 5.0)
    with patch.object(slot_changes, "pieces", side_effect=JournalError("A SELECT.", code="JOURNAL_TOO_LARGE")):
        report = journal.drain()
    assert (report.transactions, report.ended, report.state.slow) == (1, (), 0)
    journal.replay_all()

    # ... and if the address allows none, a SELECT of a smaller step
    run("INSERT INTO one VALUES (3, 'x')")
    with pytest.raises(JournalTransientError):
        journal.drain(remaining_seconds=lambda: 5.0)
    pooled = ConnectError("A pooler knows no replication.", code="CONNECTION_REFUSED")
    with patch.object(stream_module, "connect_replicating", side_effect=pooled):
        report = journal.drain()
    assert (report.transactions, report.ended, report.state.slow) == (1, (), 0)

    # What passes ends nothing: the next drain may have a stream
    run("INSERT INTO one VALUES (4, 'x')")
    large = patch.object(slot_changes, "pieces", side_effect=JournalError("A SELECT.", code="JOURNAL_TOO_LARGE"))
    passing = ConnectTransientError("Not now.", code="CONNECTION_LOST")
    with (
        large,
        patch.object(stream_module, "connect_replicating", side_effect=passing),
        pytest.raises(ConnectTransientError),
    ):
        journal.drain()
    limit = "SELECT %s, %s; DO $$ BEGIN RAISE SQLSTATE '53400' USING MESSAGE = 'all slots are in use'; END $$"
    with (
        large,
        patch.object(stream_module, "_COPY", limit),
        pytest.raises(JournalTransientError, match="No replication slot is free"),
    ):
        journal.drain()
    report = journal.drain()
    assert (report.transactions, report.ended) == (1, ())


def test_transactions_without_rows_take_none_of_the_next_one_along(make_journal: Callable[..., Journal]) -> None:
    journal = make_journal(18, "CREATE TABLE one (id int PRIMARY KEY)")
    scene, run = journal.scene, journal.scene.run
    journal.drain()
    scene.take_base()
    for number in (1, 2, 3):
        run("CREATE TEMPORARY TABLE passing (id int) ON COMMIT DROP")
        run(f"INSERT INTO one VALUES ({number})")
    scene.mark()
    run("ALTER TABLE one ADD COLUMN v text")
    refusal = JournalError("A SELECT.", code="JOURNAL_TOO_LARGE")
    pieces = slot_changes.pieces

    def refused(*args: Any, **named: Any) -> Any:
        if named.get("options") == slot.WITH_EMPTY:
            raise refusal
        return pieces(*args, **named)

    with patch.object(slot_changes, "pieces", refused):
        [(_, end)] = journal.drain().ended
    _, lines = tail_of(journal)
    assert end.tail is not None
    begun = {(line.lsn, line.xid) for line in lines if line.data.startswith("BEGIN")}
    assert end.tail.transactions == len(begun) == 7
    scene.segments = [*journal.lines(journal.intervals()[-2]), lines]
    require(scene, scene.marks[-1], ())


def test_a_tail_that_no_server_gives_keeps_no_interval_from_ending(
    make_journal: Callable[..., Journal],
) -> None:
    journal = make_journal(18, "CREATE TABLE one (id int PRIMARY KEY)")
    journal.drain()
    pieces, refusals = slot_changes.pieces, list[str]()

    def refused(*args: Any, **named: Any) -> Any:
        if named.get("options") == slot.WITH_EMPTY:
            refusals.append("a SELECT")
            raise JournalError("No room.", code="JOURNAL_TOO_LARGE")
        return pieces(*args, **named)

    passing = ConnectTransientError("Not now.", code="CONNECTION_LOST")
    journal.scene.run("INSERT INTO one VALUES (1)", "ALTER TABLE one ADD COLUMN v text")
    with (
        patch.object(slot_changes, "pieces", refused),
        patch.object(stream_module, "connect_replicating", side_effect=passing),
    ):
        report = journal.drain()
    [(_, end)] = report.ended
    assert (end.reason, end.tail, len(refusals), report.is_complete) == (JournalEnd.DEFINITIONS, None, 3, True)


def test_a_row_of_any_size_is_followed_or_ends_the_interval(make_journal: Callable[..., Journal]) -> None:
    table = "CREATE TABLE one (id int PRIMARY KEY, v text)"
    rows = "INSERT INTO one SELECT i, repeat(E'x\\\\\"é', i * 20000) FROM generate_series(1, 5) i"
    journal = make_journal(18, table)
    journal.drain()
    journal.scene.take_base()
    with patch.object(slot_changes, "LONG_LINE_BYTES", 150_000):
        journal.scene.run(rows)
        report = journal.drain()
    assert (report.lines, report.ended) == (7, ())
    journal.replay_all()

    # Each step reads a transaction that is not at its end from its beginning: there are few of them
    with patch.object(slot_changes, "pieces", wraps=slot_changes.pieces) as read:
        journal.scene.run("INSERT INTO one SELECT i, 'x' FROM generate_series(10, 4000) i")
        report = journal.drain(step_bytes=10_000)
    assert (report.transactions, report.is_complete) == (1, True)
    assert 4 < read.call_count < 9
    journal.replay_all()

    # A message of pgoutput is held in memory
    journal = make_journal(18, table, "CREATE PUBLICATION coffre FOR TABLE one", plugin="pgoutput")
    journal.drain()
    with patch.object(slot_changes, "MOST_MESSAGE_BYTES", 100_000):
        journal.scene.run("INSERT INTO one VALUES (0, 'before')")
        journal.scene.run(rows)
        report = journal.drain()
    [(_, end)] = report.ended
    assert (end.reason, report.transactions) == (JournalEnd.UNREADABLE, 1)
    assert "too large for pgoutput" in end.text
