"""A drain goes from the slot into the vault, and whatever happens on the way, no change is lost or unfollowed."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from tests.integration.backup_database.killed_run import backup_job, one_run
from tests.integration.journal_vault import Journal, Killed, killed_at

from coffre.model.errors import ConnectError, ConnectTransientError, JournalError, JournalTransientError, StoreError
from coffre.model.journal import JournalEnd
from coffre.model.journal_options import JournalOptions
from coffre.operations.journal import barrier, drain, segment
from coffre.operations.journal.catalog_state import keep
from coffre.operations.journal.guard import guard
from coffre.operations.journal.job import DrainReport
from coffre.operations.journal.switch_off import switch_off
from coffre.policy.journal import bases_of
from coffre.policy.journal_health import Guarding
from coffre.postgres.journal import drain_view, fingerprint, slot, slot_changes, stream, stream_scan
from coffre.postgres.journal.changes import Begin, Line
from coffre.postgres.journal.slot_errors import lost
from coffre.postgres.journal.test_decoding import begin_of, unreadable
from coffre.stores.directory import DirectoryStore
from coffre.vault.codec import FrameEncoder, new_identity, public_key


def test_a_drain_that_is_killed_at_any_step_loses_and_repeats_nothing(make_journal: Callable[..., Journal]) -> None:
    journal = make_journal(
        18, "CREATE TABLE one (id int PRIMARY KEY, v text); CREATE SEQUENCE numbers", "CREATE TABLE emptied (id int)"
    )
    scene = journal.scene
    step = 0
    while True:  # the beginning
        with killed_at(step):
            try:
                journal.drain()
                break
            except Killed:
                step += 1
    assert step > 5
    assert [one.slot for one in journal.intervals()][-1] == journal.state.slot
    with scene.reader, scene.reader.cursor() as cursor:
        cursor.execute("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()")
        assert cursor.fetchall() == [(journal.state.slot,)]
    scene.take_base()
    journal.known.append(journal.base())

    number = step = 0
    while True:
        number += 1
        scene.run(f"INSERT INTO one VALUES ({number}, 'x')", f"UPDATE one SET v = 'y' WHERE id < {number}")
        with killed_at(step):
            try:
                journal.drain()
                break
            except Killed:
                step += 1
    assert step > 4
    transactions = [line.xid for lines in journal.lines() for line in lines if line.data.startswith("BEGIN")]
    assert len(transactions) == len(set(transactions)) == number
    journal.replay_all()


def ended(report: DrainReport) -> list[tuple[JournalEnd, tuple[str, ...]]]:
    """Return why intervals ended in a drain, and what it was about."""
    assert len(report.begun) == len(report.ended)
    return [(end.reason, end.about) for _, end in report.ended]


def test_what_cannot_be_followed_ends_an_interval_and_everything_else_does_not(
    make_journal: Callable[..., Journal],
) -> None:
    journal = make_journal(
        18,
        "CREATE TABLE one (id int PRIMARY KEY, v text); CREATE TABLE two (id int PRIMARY KEY)",
        "CREATE TABLE bare (id int); CREATE SEQUENCE numbers CACHE 1",
    )
    scene, run = journal.scene, journal.scene.run
    first = journal.drain()
    assert first.begun == (journal.state.interval,)
    assert journal.asked == ["The journal has no base."]

    def segments() -> int:
        return len(journal.segments())

    # Nothing has changed: only the slot moves, and what counts as stored.
    count, before = segments(), journal.state
    run("CREATE TEMPORARY TABLE passing (id int); INSERT INTO passing VALUES (1)", "ANALYZE one")
    report = journal.drain()
    assert (report.segments, report.is_complete, ended(report)) == (0, True, [])
    assert segments() == count
    assert journal.state.seen_at > before.seen_at  # type: ignore[operator]
    assert journal.state.stored_lsn > before.stored_lsn
    assert slot.inspect(scene.reader, journal.state.slot or "").confirmed_lsn == journal.state.stored_lsn  # type: ignore[union-attr]

    # Sequences move without a transaction; a COMMIT that did not wait for the disk is stored all the same.
    run("SELECT nextval('numbers')")
    scene.session.rollback()
    assert journal.drain().segments == 1
    assert [(one.sequence_name, one.last_value) for one in journal.segments()[-1].sequences] == [("numbers", 1)]
    run("SET synchronous_commit = off")
    run("INSERT INTO one VALUES (1, 'late')")
    assert journal.drain().transactions == 1
    run("SET synchronous_commit = on")

    # A transaction that is open over drains, and one that is prepared, come with their COMMIT.
    scene.take_base()
    (scene.scratch / "backup").mkdir()
    backup = backup_job(scene.server.dsn(scene.name), scene.home, scene.scratch / "backup", scene.scratch)
    assert one_run(backup, None).database.journal is None, "the target has no journal"
    backup = replace(backup, target=backup.target.model_copy(update={"journal": JournalOptions()}))
    for failing in ("SELECT 1 / 0", "SELECT pg_nothing()"):
        with patch.object(fingerprint, "_NUMBERS", failing):
            manifest = one_run(backup, None)
        assert manifest.database.journal is None
        assert any("The journal cannot continue from this backup" in note for note in manifest.notes)
    base = one_run(backup, None).database.journal
    assert base is not None
    journal.known.append(base)
    open_one = scene.writer()
    run("INSERT INTO one VALUES (2, 'open')", "INSERT INTO one VALUES (3, 'open')")
    with open_one.cursor() as cursor:
        cursor.execute("UPDATE one SET v = 'opened' WHERE id = 2")
    with scene.writer() as prepared, prepared.cursor() as cursor:
        cursor.execute(f"UPDATE one SET v = 'prepared' WHERE id = 3; PREPARE TRANSACTION '{scene.name}'")
    assert [journal.drain().transactions for _ in range(2)] == [1, 0]
    open_one.commit()
    scene.session.autocommit = True
    with scene.session.cursor() as cursor:
        cursor.execute(f"COMMIT PREPARED '{scene.name}'")
    scene.session.autocommit = False
    report = journal.drain()
    assert (report.transactions, report.state.base_wanted_at) == (2, None)

    # Emptied tables are no barrier, wherever the TRUNCATE falls: also between the bound and the look.
    run("TRUNCATE two", "INSERT INTO two VALUES (1)")
    real = drain_view.until_on_disk

    def then_emptied(*args: Any) -> Any:
        found = real(*args)
        run("TRUNCATE one")
        return found

    with patch.object(drain_view, "until_on_disk", then_emptied):
        assert ended(journal.drain()) == []
    assert {mark.name for mark in journal.segments()[-1].marks} == {"one", "two"}
    run("INSERT INTO one VALUES (4, 'x')")
    assert ended(journal.drain()) == []
    run("TRUNCATE two", "INSERT INTO two VALUES (2)")
    journal.catalog.journals.forget(journal.state)  # the catalog is another one: the vault has it all
    assert ended(journal.drain()) == []
    assert {mark.name for mark in journal.segments()[-1].marks} == {"one", "two"}
    with scene.session.cursor() as cursor:  # the first step has no change, and stores nothing
        cursor.execute("INSERT INTO one SELECT i, repeat('x', 1000) FROM generate_series(100, 200) i")
    scene.session.rollback()
    run("TRUNCATE two", "INSERT INTO two VALUES (3)")
    assert ended(journal.drain(step_bytes=20_000)) == []
    journal.catalog.journals.forget(journal.state)
    assert ended(journal.drain()) == []
    assert (len(journal.intervals()), journal.state.seen_at) != (2, None)
    journal.replay_all()

    # What is on disk and not visible yet is stored by the next drain.
    run("INSERT INTO one VALUES (5, 'x')")
    snapshot = scene_snapshot(journal)
    run("INSERT INTO one VALUES (6, 'not seen')")
    run("INSERT INTO one VALUES (7, 'not seen')")
    real_look = drain_view.look
    with patch.object(drain, "look", lambda *args: replace(real_look(*args), snapshot=snapshot)):
        report = journal.drain()
    assert (report.transactions, report.is_complete) == (1, False)
    assert report.notes
    assert journal.drain().transactions == 2
    journal.replay_all()

    # Definitions: the rows after the change are never read with the old ones.
    for statement, reason, about in (
        ("ALTER TABLE one ADD COLUMN w int", JournalEnd.DEFINITIONS, ("public.one",)),
        ("GRANT SELECT ON two TO public", JournalEnd.DEFINITIONS, ("public.two",)),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", JournalEnd.DEFINITIONS, ()),
        ("ALTER TABLE one RENAME TO x; ALTER TABLE x RENAME TO one", JournalEnd.DEFINITIONS, ("public.one",)),
        ("VACUUM FULL two", JournalEnd.REWRITTEN, ("public.two",)),
        ("CREATE TABLE brief (id int); INSERT INTO brief VALUES (1); DROP TABLE brief", JournalEnd.UNKNOWN_TABLE, None),
        ("INSERT INTO bare VALUES (1)", None, None),
        ("UPDATE bare SET id = 2; DELETE FROM bare", JournalEnd.NO_IDENTITY, ("public.bare",)),
    ):
        stored = journal.state.stored_lsn
        run("INSERT INTO two SELECT 1 + max(id) FROM two")
        good = current_lsn(journal)
        scene.session.autocommit = True
        with scene.session.cursor() as cursor:
            for part in statement.split("; "):
                cursor.execute(part)
        scene.session.autocommit = False
        report = journal.drain()
        if reason is None:
            assert ended(report) == [], statement
            continue
        assert ended(report) == [(reason, ("public.brief",) if about is None else about)], statement
        assert report.ended[0][1].text
        from_stream = reason in (JournalEnd.UNKNOWN_TABLE, JournalEnd.NO_IDENTITY)
        assert report.ended[0][1].stored_lsn == (good if from_stream else stored), statement
        assert journal.state.slot == first.state.slot
        assert journal.state.base_wanted_at is not None
        assert ended(journal.drain()) == [], statement
    assert journal.asked[1:] == ["Definitions have changed: public.one."]  # not again within some minutes
    journal.drain(now=lambda: datetime.now(UTC) + timedelta(hours=1))
    assert len(journal.asked) == 3

    [begun, *_, newest] = journal.intervals()
    backups = [("first", scene.name, base), ("newest", scene.name, journal.base()), ("other", "other", base)]
    assert [one for one, _ in bases_of(begun, journal.end(0), backups)] == ["first"]
    assert [one for one, _ in bases_of(newest, None, [*backups, ("none", scene.name, None)])] == ["newest"]
    journal.known.append(journal.base())
    run("INSERT INTO two SELECT 1 + max(id) FROM two")
    state = journal.drain().state
    assert (state.base_wanted_at, state.base_asked_at) == (None, None)
    assert len(state.bases_asked) == 2, "those since the catalog was lost stay known when a base has come"


def scene_snapshot(journal: Journal) -> Any:
    return drain_view.look(journal.scene.connect(), time.sleep).snapshot


def current_lsn(journal: Journal) -> int:
    return journal.base().before_lsn


def test_a_slot_that_is_gone_lost_foreign_or_a_danger_is_answered_by_a_new_one(
    make_journal: Callable[..., Journal],
) -> None:
    journal = make_journal(15, "CREATE TABLE one (id int PRIMARY KEY, v text)")
    scene, run = journal.scene, journal.scene.run
    journal.drain()
    number = iter(range(100))

    def changed() -> None:
        run(f"INSERT INTO one VALUES ({next(number)}, repeat('x', 2000))")

    def slots() -> list[tuple[Any, ...]]:
        with scene.reader, scene.reader.cursor() as cursor:
            cursor.execute("SELECT slot_name FROM pg_replication_slots WHERE database = %s", (scene.name,))
            return cursor.fetchall()

    def again(reason: JournalEnd, report: DrainReport | None = None) -> DrainReport:
        """A new slot and interval have begun, for this reason; no other slot is left; the next drain stores rows."""
        report = report or journal.drain()
        assert [one for one, _ in ended(report)] == [reason]
        assert report.state.base_wanted_at is not None
        assert slots() == [(report.state.slot,)]
        assert journal.intervals()[-1].id == report.begun[0]
        changed()
        assert (journal.drain().transactions, journal.end(-2).reason) == (1, reason)
        return report

    before = journal.state
    changed()
    slot.drop(scene.reader, before.slot or "")
    assert "does not exist" in again(JournalEnd.SLOT_MISSING).ended[0][1].text
    # The catalog is an older one: what the newest interval names is not forgotten
    assert journal.catalog.journals.keep(before, journal.state) is not None
    assert [(journal.drain().state.slot,)] == slots()

    changed()
    run(f"SELECT pg_replication_slot_advance('{journal.state.slot}', pg_current_wal_flush_lsn())")
    again(JournalEnd.SLOT_FOREIGN)

    slot_name = journal.state.slot or ""
    slot.drop(scene.reader, slot_name)
    run(f"SELECT pg_create_logical_replication_slot('{slot_name}', 'pgoutput')")
    report = journal.drain()
    assert "was left alone" in report.notes[0]
    slot.drop(scene.reader, slot_name)
    again(JournalEnd.SLOT_FOREIGN, report)

    gone = lost(journal.state.slot or "")
    # The new one is lost as well: a drain makes no more than one.
    with patch.object(slot_changes, "pieces", side_effect=gone), pytest.raises(JournalError):
        journal.drain()
    assert journal.state.error == "JOURNAL_SLOT_LOST"
    assert journal.end(-2).reason is JournalEnd.SLOT_LOST
    journal.drain()

    # A line that is not understood, or that the server cannot print: the next drain would not read it either.
    changed()
    with patch.object(stream_scan, "begin_of", side_effect=unread_once()):
        assert "no line" in again(JournalEnd.UNREADABLE, journal.drain()).ended[0][1].text
    for line in ("a change that stands alone", "UNPRINTABLE"):  # what was committed before it is stored first
        changed()
        changed()
        good = current_lsn(journal)
        run(f"INSERT INTO one VALUES ({next(number)}, '{line}')")
        changed()
        with patch.object(slot_changes, "_COPY", _UNREAD):
            report = again(JournalEnd.UNREADABLE, journal.drain())
        assert (report.transactions, report.ended[0][1].stored_lsn >= good) == (2, True)
    changed()
    with patch.object(slot_changes, "_COPY", _NOTHING_PRINTED):
        with pytest.raises(JournalError) as unread:
            journal.drain()  # the new slot would not be read any better
        assert unread.value.code == "JOURNAL_UNREADABLE"
    assert journal.end(-2).reason is JournalEnd.UNREADABLE
    journal.drain()

    for wrong in ({"timeline": 9}, {"system": "another"}):
        keep(journal.job, journal.state, **wrong)
        again(JournalEnd.TIMELINE)

    # One transaction that the server may not keep, or that takes longer than a function runs.
    run(
        f"ALTER DATABASE {scene.name} SET temp_file_limit = '1MB'", f"ALTER DATABASE {scene.name} SET work_mem = '64kB'"
    )
    journal.drain()  # a setting of a database is one of its definitions
    other = scene.writer()
    with other, other.cursor() as cursor:
        cursor.execute("INSERT INTO one SELECT i, repeat(md5(i::text), 100) FROM generate_series(1000, 1999) i")
        for _ in range(3):
            changed()
    pooled = ConnectError("A pooler knows no replication.", code="CONNECTION_REFUSED")
    with patch.object(stream, "connect_replicating", side_effect=pooled):
        report = again(JournalEnd.TOO_LARGE, journal.drain())
    assert report.transactions == 3  # what was committed before it
    run(f"ALTER DATABASE {scene.name} RESET ALL")
    journal.drain()
    changed()
    with pytest.raises(JournalTransientError) as caught:
        journal.drain(remaining_seconds=lambda: 5.0)
    failed = journal.state
    assert (caught.value.code, failed.error, failed.slow) == ("JOURNAL_TOO_SLOW", "JOURNAL_TOO_SLOW", 1)
    report = again(JournalEnd.TOO_SLOW, journal.drain(remaining_seconds=slow_once()))
    assert (report.state.error, report.state.slow) == (None, 0)

    # What has emptied a table can be read in neither way; not in time; not for now
    run("TRUNCATE one")
    large = patch.object(barrier, "in_time", side_effect=JournalError("too much", code="JOURNAL_TOO_LARGE"))
    refused = ConnectTransientError("Not now.")
    with large, patch.object(stream, "connect_replicating", side_effect=refused), pytest.raises(ConnectTransientError):
        journal.drain()
    with pytest.raises(JournalTransientError):
        journal.drain(remaining_seconds=lambda: 5.0)
    assert journal.state.slow == 1
    with large, patch.object(stream, "connect_replicating", side_effect=pooled):
        assert ended(journal.drain()) == [(JournalEnd.REWRITTEN, ("public.one",))]

    # The guard, in a drain and on its own, also if its database has another name; another slot of this name is left.
    changed()
    again(JournalEnd.GUARD, journal.drain(guarding=Guarding(maximum_lag_bytes=0)))
    assert guard(journal.job) is None
    at_server = replace(journal.job, connection=scene.connection("no_more"))
    later = replace(at_server, now=lambda: datetime.now(UTC) + timedelta(hours=25))
    assert guard(replace(later, guarding=Guarding(silent_after=timedelta(hours=26)))) is None
    found = guard(later)
    assert found is not None
    assert (found.reason, journal.state.slot) == (JournalEnd.GUARD, None)
    assert "more than 24 hours" in found.text
    assert guard(later) is None
    journal.drain()
    slot_name = journal.state.slot or ""
    slot.drop(scene.reader, slot_name)
    run(f"SELECT pg_create_logical_replication_slot('{slot_name}', 'pgoutput')")
    with patch.object(DirectoryStore, "get", side_effect=StoreError("No.")), pytest.raises(StoreError) as refused_by:
        guard(replace(later, guarding=Guarding(maximum_lag_bytes=-1)))
    found = guard(replace(later, guarding=Guarding(maximum_lag_bytes=-1)))
    assert found is not None
    left = f"The replication slot {slot_name} was left alone"
    assert left in refused_by.value.__notes__[0]
    assert left in found.text
    run(found.text[found.text.index("SELECT pg_drop") :])
    assert slot.inspect(scene.reader, slot_name) is None
    journal.drain()

    # Another database has taken the name: the slot in the one that has another name since is still the journal's.
    keep(journal.job, journal.state, database=f"{scene.name}_copy")
    report = journal.drain(connection=scene.connection(f"{scene.name}_copy"))
    assert [one for one, _ in ended(report)] == [JournalEnd.SLOT_FOREIGN]
    assert report.notes == ()
    with scene.reader, scene.reader.cursor() as cursor:
        statement = "SELECT pg_drop_replication_slot(slot_name)::text, slot_name, database FROM pg_replication_slots"
        cursor.execute(f"{statement} WHERE slot_name LIKE 'coffre_shop_%' AND database LIKE '{scene.name}%'")
        assert [(name, database) for _, name, database in cursor] == [(report.state.slot, f"{scene.name}_copy")]
    journal.drain()

    # Two drains at the same time, in the beginning and later.
    changed()

    def beaten(where: Any, name: str) -> Any:
        real = getattr(where, name)

        def stepped(*args: Any, **named: Any) -> Any:
            patched.stop()
            journal.drain()
            return real(*args, **named)

        patched = patch.object(where, name, stepped)
        return patched

    for where, name in ((segment, "commit_segment"), (segment, "store_lines"), (drain, "look")):
        changed()
        patched = beaten(where, name)
        patched.start()
        with pytest.raises(JournalTransientError) as caught:
            journal.drain()
        assert caught.value.code == "JOURNAL_TWO_DRAINS"
        assert journal.state.error is None
    assert sum(one.transactions for one in journal.segments()) == 4

    # A server that does not answer: nothing changes but what is said of it.
    before = journal.state
    with pytest.raises(ConnectError):
        journal.drain(connection=replace(journal.job.connection, port=1))
    assert journal.state.error == "CONNECTION_REFUSED"
    said = {"revision": 0, "failed_at": None, "error": None, "message": None}
    assert journal.state.model_copy(update=said) == before.model_copy(update=said)

    # In steps, as long as there is time.
    for _ in range(4):
        changed()
    stored = journal.state.number
    report = journal.drain(step_bytes=3000, remaining_seconds=lambda: 20.0 if journal.state.number > stored else 300.0)
    assert (report.segments, report.is_complete) == (1, False)
    rest = journal.drain(step_bytes=3000)
    assert (report.transactions + rest.transactions, rest.is_complete) == (4, True)
    assert rest.segments > 1

    # Other keys: what was committed before is stored for those of before, and another stretch begins, once.
    changed()
    keep(journal.job, journal.state, recipients=None)  # of an earlier version
    recipient = public_key(new_identity())
    journal.job = replace(journal.job, encoder=FrameEncoder([recipient]), recipients=(recipient,))
    report = journal.drain()
    assert (report.transactions, [one for one, _ in ended(report)]) == (1, [JournalEnd.SWITCHED_OFF])
    assert [one.recipients == (recipient,) for one in journal.intervals()[-2:]] == [False, True]
    assert journal.end(-2).stored_lsn == journal.intervals()[-1].from_lsn
    assert (report.state.base_wanted_at is not None, journal.drain().ended) == (True, ())

    # Off, killed at each step; the slot is the journal's though its database was renamed since, and cannot be entered.
    renamed = journal.state.model_copy(update={"database": "before_it_was_renamed"})
    assert journal.catalog.journals.keep(renamed, journal.state) is not None
    step = 0
    while True:
        with killed_at(step):
            try:
                off = switch_off(replace(journal.job, connection=scene.connection("no_more")))
                break
            except Killed:
                step += 1
    assert step > 0
    assert off is not None
    assert off.left is None
    assert journal.end().reason is JournalEnd.SWITCHED_OFF
    assert journal.catalog.journals.all() == {}
    assert switch_off(journal.job) is None

    # Another program has made a slot of its name: it is left, and said to be.
    journal.drain()
    name = journal.state.slot or ""
    slot.drop(scene.reader, name)
    run(f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")
    off = switch_off(journal.job)
    assert off is not None
    assert (off.is_dropped, off.left) == (False, name)
    slot.drop(scene.reader, name)
    with scene.reader, scene.reader.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_replication_slots WHERE database = %s", (scene.name,))
        assert cursor.fetchall() == [(0,)]


# Some values make lines that have no table, or that the server cannot print.
_UNREAD = slot_changes._COPY.replace(
    "data FROM",
    "CASE WHEN strpos(data, 'stands alone') > 0 THEN 'table x' ELSE convert_from("
    "CASE WHEN strpos(data, 'UNPRINTABLE') > 0 THEN '\\xff' ELSE convert_to(data, 'UTF8') END, 'UTF8') END FROM",
)


_NOTHING_PRINTED = """
COPY (SELECT 1, NULL, 1, convert_from('\\xff', 'UTF8') WHERE %s || %s || %s::text <> '') TO STDOUT (NULL ',')
"""


def test_a_drain_in_which_no_transaction_ends_is_not_good_and_the_next_one_reads_more(
    make_journal: Callable[..., Journal],
) -> None:
    """Given so little time that one look is possible: steps of one size would take longer than the server writes."""
    journal = make_journal(18, "CREATE TABLE one (id int PRIMARY KEY, v text)")
    journal.drain()
    journal.scene.take_base()
    journal.scene.run("INSERT INTO one SELECT i, 'x' FROM generate_series(1, 3000) i")
    drained, before = journal.state.drained_at, journal.state.stored_lsn

    def one_look() -> float:
        return 300.0 if journal.state.stored_lsn == before else 20.0

    failed = list[tuple[str | None, int]]()
    pooled = patch.object(stream, "connect_replicating", side_effect=ConnectError("A pooler."))
    with pooled, patch.object(drain, "_SLOW_STEP_BYTES", 10_000):
        while journal.state.drained_at == drained:
            before = journal.state.stored_lsn
            with suppress(JournalTransientError):
                report = journal.drain(step_bytes=10_000, remaining_seconds=one_look)
                break
            assert journal.state.stored_lsn > before
            failed.append((journal.state.error, journal.state.slow))

    assert failed == [("JOURNAL_TOO_SLOW", number + 1) for number in range(len(failed))]
    assert 3 < len(failed) < 9
    assert (report.transactions, report.is_complete, report.ended, report.state.slow) == (1, True, (), 0)
    journal.replay_all()


def unread_once() -> Callable[[Line], Begin]:
    """What begins a transaction, which is not understood the first time."""
    real, first = begin_of, iter([True])

    def begin(line: Line) -> Begin:
        if next(first, False):
            raise unreadable(line, "no line of this kind is known")
        return real(line)

    return begin


def slow_once() -> Callable[[], float]:
    """A function that has no time left when it first reads, and all the time afterwards."""
    left = iter([300.0, 5.0])
    return lambda: next(left, 300.0)
