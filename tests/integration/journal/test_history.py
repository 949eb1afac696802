"""What an interval has is what its end says, and a server that has gone back in time is not continued."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
from tests.integration.journal_scene import SETTINGS
from tests.integration.journal_vault import TARGET, Journal, Killed, killed_at

from coffre.model.errors import JournalError, JournalTransientError, StoreError
from coffre.model.journal import JournalEnd, JournalGap, JournalState
from coffre.model.manifest import JournalBase
from coffre.operations.journal import begin_interval, drain, lost_advance
from coffre.operations.journal.adopt_stored import Adopted
from coffre.operations.journal.barrier import end
from coffre.operations.journal.guard import drop_for, guard
from coffre.operations.journal.switch_off import switch_off
from coffre.policy.journal_health import Guarding
from coffre.postgres.connection.connect import connect
from coffre.postgres.journal import slot
from coffre.postgres.journal.slot_errors import lost
from coffre.postgres.journal.transactions import Transaction
from coffre.stores.directory import DirectoryStore
from coffre.vault.journal import listed_segments, segment_keys
from coffre.vault.layout import interval_end_key, interval_key


def test_what_the_server_sends_again_has_to_be_what_is_stored(make_journal: Callable[..., Journal]) -> None:
    journal = make_journal(18, "CREATE TABLE one (id int PRIMARY KEY)")
    journal.drain()
    journal.scene.run("INSERT INTO one VALUES (1)")
    journal.drain()

    def loses_its_advance(number: int) -> None:
        journal.scene.run(f"INSERT INTO one VALUES ({number})")
        with patch.object(slot, "advance"):
            assert journal.drain().ended == ()

    loses_its_advance(2)
    loses_its_advance(3)  # and the one before has come again
    assert journal.drain().ended == ()
    journal.scene.run("SELECT txid_current()")  # the slot moves on without a segment
    assert journal.drain().segments == 0
    loses_its_advance(4)
    with patch.object(lost_advance, "outline", return_value=iter(())):  # its disk was put back: other commits come
        report = journal.drain()
    assert [end.reason for _, end in report.ended] == [JournalEnd.TIMELINE]
    assert "gone back in time" in report.ended[0][1].text
    assert journal.drain().ended == ()

    # Nor does a commit come where there was none
    def moves_on_without_a_segment() -> int:
        journal.scene.run("SELECT txid_current()")
        with patch.object(slot, "advance"):
            assert journal.drain().segments == 0
        return journal.state.stored_lsn

    loses_its_advance(5)
    assert journal.drain().ended == ()
    moves_on_without_a_segment()
    assert journal.drain().ended == ()
    another = Transaction(1, 0, moves_on_without_a_segment(), datetime.now(UTC))
    with patch.object(lost_advance, "outline", return_value=iter([another])):
        assert [end.reason for _, end in journal.drain().ended] == [JournalEnd.TIMELINE]


def test_an_interval_ends_behind_what_was_stored_last_and_is_not_continued(
    make_journal: Callable[..., Journal],
) -> None:
    journal = make_journal(18, "CREATE TABLE one (id int PRIMARY KEY)")
    run = journal.scene.run
    journal.drain()
    old = journal.state
    run("INSERT INTO one VALUES (1)")
    journal.drain()
    with pytest.raises(JournalTransientError) as caught:  # a drain that knows less ends nothing
        end(journal.job, old, JournalEnd.SLOT_LOST, "")
    assert caught.value.code == "JOURNAL_TWO_DRAINS"

    run("INSERT INTO one VALUES (2)")
    with patch.object(slot, "advance", side_effect=[lost("slot"), None]):
        [(ended, was)] = journal.drain().ended
    last = journal.segments(journal.intervals()[-2])[-1]
    assert (ended, was.reason) == (last.interval, JournalEnd.SLOT_LOST)
    assert (was.number, was.stored_lsn, last.transactions) == (last.number, last.to_lsn, 1)

    # An end that was written and not kept stays one, though the definitions are as they were again.
    run("ALTER TABLE one ADD COLUMN v int")
    with patch.object(drain, "without_interval", side_effect=Killed), pytest.raises(Killed):
        journal.drain()
    run("ALTER TABLE one DROP COLUMN v", "INSERT INTO one VALUES (3)")
    report = journal.drain()
    assert [was.reason for _, was in report.ended] == [JournalEnd.DEFINITIONS]
    assert (len(report.begun), report.transactions, journal.drain().ended) == (1, 1, ())


def test_a_damaged_record_ends_an_interval_instead_of_each_drain(make_journal: Callable[..., Journal]) -> None:
    journal = make_journal(18, "CREATE TABLE one (id int PRIMARY KEY)")
    run, damage = journal.scene.run, partial(damaged, journal)
    gaps = list[JournalGap]()
    journal.job = replace(journal.job, report_end=lambda _, __, gap: gaps.append(gap))
    journal.drain()
    journal.known.append(journal.base())
    journal.drain()
    damage(interval_key(TARGET, journal.state.interval or ""))
    since = journal.state.seen_at
    run("ALTER TABLE one ADD COLUMN v int")
    [(_, was)] = journal.drain().ended
    assert (was.reason, "cannot be compared" in was.text) == (JournalEnd.DEFINITIONS, True)

    run("INSERT INTO one VALUES (1)")
    with patch.object(slot, "advance"):
        journal.drain()
    state = journal.state
    damage(segment_keys(journal.job.vault, TARGET, state.interval or "")[-1].key)
    [(_, was)] = journal.drain().ended
    assert (was.reason, "cannot be compared" in was.text) == (JournalEnd.TIMELINE, True)
    assert journal.drain().ended == ()

    # One that a drain has stored and not kept
    run("INSERT INTO one VALUES (2)")
    with killed_at(2), pytest.raises(Killed):
        journal.drain()
    damage(listed_segments(journal.job.vault, TARGET, journal.state.interval or "")[-1].key)
    [(_, was)] = journal.drain().ended
    assert (was.reason, was.number) == (JournalEnd.GAP, 1)
    # An end of an interval that the catalog has
    run("ALTER TABLE one ADD COLUMN w int")
    with patch.object(drain, "without_interval", side_effect=Killed), pytest.raises(Killed):
        journal.drain()
    damage(interval_end_key(TARGET, journal.state.interval or ""))
    [(_, was)] = journal.drain().ended
    assert (was.reason, journal.state.base_wanted_at is not None) == (JournalEnd.GAP, True)
    assert journal.drain().ended == ()

    # From the end of the one with a base, however many have ended since; until there is another base
    assert gaps == [JournalGap(since=since, ended=number) for number in (1, 2, 3, 4, 4)]  # one drain was killed
    assert journal.state.gap == gaps[-1]
    journal.known.append(journal.base())
    journal.drain()
    assert journal.state.gap == JournalGap()

    # Of two drains the slower one drops no slot of the other
    old = journal.state
    journal.drain()
    for slower in (
        lambda session: drop_for(journal.job, session, old, "a danger"),
        lambda session: drain._Drain(journal.job, session, Adopted(old))._begin_again(old, lost("slot")),
    ):
        with connect(journal.job.connection) as session, pytest.raises(JournalTransientError, match="Another drain"):
            slower(session)
    assert slot.inspect(journal.scene.reader, journal.state.slot or "") is not None
    assert journal.drain().ended == ()


def test_a_slot_is_dropped_though_the_vault_takes_nothing_and_never_from_a_drain(
    make_journal: Callable[..., Journal],
) -> None:
    journal = make_journal(18, "CREATE TABLE one (id int PRIMARY KEY)")
    dangerous = Guarding(maximum_lag_bytes=-1)
    refused = StoreError("The key is disabled.")

    def has_slot() -> bool:
        return slot.inspect(journal.scene.reader, journal.state.slot or "") is not None

    # A drain that catches up reads it: nothing is changed
    journal.drain()
    job = replace(journal.job, guarding=dangerous)
    before, inspect = journal.state, slot.inspect

    def inspect_active(*about: Any) -> Any:
        found = inspect(*about)
        return None if found is None else replace(found, active_pid=1)

    with patch.object(slot, "inspect", inspect_active), pytest.raises(JournalTransientError) as caught:
        guard(job)
    assert (caught.value.code, journal.state, has_slot()) == ("JOURNAL_SLOT_BUSY", before, True)

    # A vault that cannot be written; that cannot be read either; a guard that is killed at that instant
    for broken, error in (
        (patch.object(DirectoryStore, "put", side_effect=refused), StoreError),
        (patch.object(DirectoryStore, "get", side_effect=refused), StoreError),
        (patch.object(DirectoryStore, "put", side_effect=Killed), Killed),
    ):
        assert has_slot()
        with broken, pytest.raises(error):
            guard(replace(job, guarding=dangerous))
        assert (has_slot(), journal.state.interval is not None) == (False, True)
        assert [was.reason for _, was in journal.drain().ended] == [JournalEnd.SLOT_MISSING]
    with patch.object(DirectoryStore, "get", side_effect=refused), pytest.raises(StoreError):
        guard(journal.job)  # none is a danger
    assert has_slot()

    # Whether there was a base is not known
    gap = journal.state.gap

    def unknown() -> list[JournalBase]:
        raise refused

    assert guard(replace(job, bases=unknown)) is not None
    assert (has_slot(), journal.state.gap) == (False, JournalGap(since=gap.since, ended=gap.ended + 1))


def test_a_backup_after_what_is_stored_ends_no_gap(make_journal: Callable[..., Journal]) -> None:
    journal, gaps = make_journal(18, "CREATE TABLE one (id int PRIMARY KEY)"), list[JournalGap]()
    journal.job = replace(journal.job, report_end=lambda _, __, gap: gaps.append(gap))
    journal.drain()
    journal.known.append(journal.base())
    journal.drain()
    since = journal.state.seen_at
    for is_backed_up in (False, True):
        slot.drop(journal.scene.reader, journal.state.slot or "")
        if is_backed_up:  # no drain comes so far
            journal.scene.run("INSERT INTO one VALUES (1)")
            journal.known.append(journal.base())
        journal.drain()
    assert gaps == [JournalGap(since=since, ended=1), JournalGap(since=since, ended=2)]


def test_an_end_is_reported_once_while_no_slot_can_be_made(make_journal: Callable[..., Journal]) -> None:
    journal = make_journal(18, "CREATE TABLE one (id int PRIMARY KEY)")
    heard = list[tuple[JournalEnd, int]]()
    journal.job = replace(journal.job, report_end=lambda _, was, gap: heard.append((was.reason, gap.ended)))
    journal.drain()
    journal.known.append(journal.base())
    journal.drain()

    def segment_is_damaged() -> None:
        journal.scene.run("INSERT INTO one VALUES (1)")
        with patch.object(slot, "advance", side_effect=Killed), pytest.raises(Killed):
            journal.drain()
        state = journal.state
        journal.catalog.journals.keep(state.model_copy(update={"number": 0, "segment_lsn": state.from_lsn}), state)
        damaged(journal, listed_segments(journal.job.vault, TARGET, state.interval or "")[0].key)

    def slot_is_dropped() -> None:
        slot.drop(journal.scene.reader, journal.state.slot or "")

    others = [f"other_{number}" for number in range(int(SETTINGS["max_replication_slots"]))]
    for count, (ends, reason) in enumerate(
        ((slot_is_dropped, JournalEnd.SLOT_MISSING), (segment_is_damaged, JournalEnd.GAP)), 1
    ):
        ends()
        taken = "SELECT slot_name::text FROM pg_replication_slots WHERE slot_name <> %s"
        with journal.scene.reader as session, session.cursor() as cursor:
            cursor.execute(taken, (journal.state.slot,))
            made = others[len(cursor.fetchall()) :]
        if count > 1:
            slot.drop(journal.scene.reader, journal.state.slot or "")
        journal.scene.run(*(f"SELECT pg_create_physical_replication_slot('{name}')" for name in made))
        try:
            for _ in range(3):
                with pytest.raises(JournalError, match="does not allow"):
                    journal.drain()
                assert (heard, journal.state.gap.ended) == ([(reason, count)], count)
        finally:
            journal.scene.run(*(f"SELECT pg_drop_replication_slot('{name}')" for name in made))
        report = journal.drain()
        assert (len(report.begun), report.ended, heard, report.state.gap.ended) == (1, (), [(reason, count)], count)
        heard.clear()


def test_a_damaged_newest_record_without_a_catalog_is_passed_and_its_slot_named(
    make_journal: Callable[..., Journal],
) -> None:
    journal = make_journal(18, "CREATE TABLE one (id int PRIMARY KEY)")
    journal.drain()

    def lose() -> str:
        """Lose the catalog and the record of the open interval; return the name of its slot."""
        state = journal.state
        assert journal.catalog.journals.forget(state)
        damaged(journal, interval_key(TARGET, state.interval or ""))
        return state.slot or ""

    name = lose()
    off = switch_off(journal.job)
    assert off is not None
    assert (off.is_dropped, off.left) == (False, name)

    # It is reported once, though what comes after that fails
    heard = list[JournalEnd]()
    journal.job = replace(journal.job, report_end=lambda _, was, __: heard.append(was.reason))
    waits = JournalTransientError("A transaction is open.", code="JOURNAL_WAITS")
    for _ in range(2):
        with (
            patch.object(begin_interval, "require_own_process", side_effect=waits),
            pytest.raises(JournalTransientError),
        ):
            journal.drain()
        assert (heard, journal.state.gap.ended) == ([JournalEnd.GAP], 1)
    report = journal.drain()
    assert (heard, len(report.begun), report.state.gap.ended) == ([JournalEnd.GAP], 1, 1)
    assert report.state.base_wanted_at is not None
    assert name in report.notes[0]
    assert "was left alone" in report.notes[0]
    slot.drop(journal.scene.reader, name)
    journal.scene.run("INSERT INTO one VALUES (1)")
    assert (journal.drain().transactions, journal.state.error) == (1, None)

    # The same where the catalog has a state without a slot
    name = lose()
    journal.catalog.journals.keep(JournalState(target=TARGET), None)
    off = switch_off(journal.job)
    assert off is not None
    assert (off.left, journal.catalog.journals.all()) == (name, {})
    slot.drop(journal.scene.reader, name)
    assert switch_off(journal.job) is None


def damaged(journal: Journal, key: str) -> None:
    store = journal.job.vault.store
    store.delete(key)
    store.put(key, b"{", sha256=hashlib.sha256(b"{").hexdigest())
