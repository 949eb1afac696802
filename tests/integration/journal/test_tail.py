"""The tail of an interval: moments between its last drain and changed definitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from tests.integration.contents import RoundTripOn, rows, run, value
from tests.integration.journal_story import Story
from tests.integration.journal_vault import Killed, killed_at

from coffre.model.errors import CoffreError
from coffre.model.journal import JournalEnd
from coffre.operations.journal.drain import drain
from coffre.operations.journal.switch_off import switch_off
from coffre.operations.restore_database.find_drop import Loss, losses_of, whole_stretches
from coffre.operations.restore_database.row_history import History, Period
from coffre.postgres.journal.changes import lsn_text
from coffre_local.postgres_server import PostgresServer


@pytest.fixture
def story(logical_server: Callable[[int], PostgresServer], round_trip_on: RoundTripOn) -> Iterator[Story]:
    story = Story(round_trip_on(logical_server(18)))
    yield story
    switch_off(story.job)


def found_in(story: Story) -> list[Loss]:
    """What `coffre journal find-drop` finds."""
    services = story.round_trip.coffre.restore_function().services
    backups, vault = story.round_trip.coffre.catalog.completed_backups("shop"), services.vault
    stretches = whole_stretches(vault, "shop", backups, None, lambda _: None)
    return losses_of(History(vault, stretches, services.decoder("shop")), stretches, Period(), 10).found


def refusal(story: Story, **event: Any) -> CoffreError:
    with pytest.raises(CoffreError) as caught:
        story.round_trip.coffre.restore("latest", story.round_trip.copy, target="shop", **event)
    assert caught.value.code == "JOURNAL_MOMENT"
    return caught.value


def test_the_moment_before_a_table_was_dropped_is_restored_though_no_drain_came_between(story: Story) -> None:
    story.go_on()
    drain(story.job)
    story.go_on()
    ((dropped,),) = rows(story.source, "SELECT txid_current()::text")
    run(story.source, "DROP TABLE bill CASCADE")
    run(story.source, "INSERT INTO customer (name) VALUES ('later')")
    [(_, end)] = drain(story.job).ended
    assert (end.reason, end.tail is not None) == (JournalEnd.DEFINITIONS, True)
    before = story.turns[1]

    # Rows and the sequence of the table that is gone, too
    report = story.restored(before, at={"time": before.at})
    [warning] = [note for note in report.notes if note.startswith("WARNING: definitions were changed since")]
    assert "Definitions have changed: public.bill" in warning
    assert end.touched == ("public.bill",)
    assert "Rows of public.bill are those of the moment only if the change came later" in warning
    run(story.round_trip.copy, "INSERT INTO bill (customer, cents) SELECT min(id), 1 FROM customer")
    story.drop_copy()

    # The loss is found, with the moment before it and what may have done it
    [loss] = [one for one in found_in(story) if one.xid is None]
    assert loss.backup is not None
    assert int(dropped) + 1 in [one.xid for one in loss.without_rows]
    answer = story.round_trip.coffre.restore(
        "latest", story.round_trip.copy, target="shop", at={"lsn": lsn_text(loss.before_lsn)}
    )
    assert story.report(answer).backup_id == loss.backup.id
    assert value(story.round_trip.copy, "SELECT count(*) FROM bill") == value(
        story.round_trip.copy, "SELECT count(*) FROM bill WHERE cents IS NOT NULL"
    )
    assert value(story.round_trip.copy, "SELECT count(*) FROM customer WHERE name = 'later'") == 1

    # The table alone comes back to the database in use
    story.round_trip.coffre.restore(
        "latest", None, target="shop", tables=["bill"], at={"before_transaction": int(dropped) + 1}, replace=True
    )
    assert rows(story.source, "SELECT * FROM bill ORDER BY 1") == rows(
        story.round_trip.copy, "SELECT * FROM bill ORDER BY 1"
    )
    run(story.source, "INSERT INTO bill (customer, cents) SELECT min(id), 1 FROM customer")


def test_a_moment_behind_a_transaction_that_does_not_fit_is_refused_with_the_last_one_before(story: Story) -> None:
    story.go_on("INSERT INTO bill (customer, cents) SELECT id, 5 FROM customer", "REFRESH MATERIALIZED VIEW owed")
    before = story.turns[0]
    # A statement of one transaction among others of the application, which know the new column immediately
    run(story.source, "ALTER TABLE customer ADD COLUMN more int DEFAULT 3")
    ((after,),) = rows(story.source, "SELECT clock_timestamp()::text")
    run(story.source, "UPDATE bill SET cents = 1")
    ((later,),) = rows(story.source, "SELECT pg_current_wal_insert_lsn()::text")
    run(story.source, "INSERT INTO customer (name, more) VALUES ('later', 4)")
    run(story.source, "UPDATE bill SET cents = 2")
    ((last,),) = rows(story.source, "SELECT clock_timestamp()::text")
    # Drains that are killed lose nothing of it, and of two at the same time the slower one changes nothing
    for step in range(4):
        with killed_at(step), suppress(Killed):
            drain(story.job)
    drain(story.job)

    error = refusal(story, at={"time": last})
    assert "public.customer had no column 'more'" in error.message
    assert refusal(story, at={"time": last}, dry_run=True).message == error.message
    hint = error.hint or ""
    story.restored(before, at={"time": before.at})
    story.drop_copy()
    for at in ({"lsn": hint.rpartition(" ")[2]}, {"lsn": later}):
        answer = story.round_trip.coffre.restore("latest", story.round_trip.copy, target="shop", at=at)
        [warning] = [note for note in story.report(answer).notes if note.startswith("WARNING: definitions")]
        assert "Definitions have changed: public.customer." in warning
        assert value(story.round_trip.copy, "SELECT count(*) FROM bill WHERE cents <> 1") == 0
        assert value(story.round_trip.copy, "SELECT count(*) FROM customer WHERE name = 'later'") == 0
        story.drop_copy()
    answer = story.round_trip.coffre.restore("latest", story.round_trip.copy, target="shop", at={"time": after})
    assert value(story.round_trip.copy, "SELECT count(*) FROM bill WHERE cents <> 1") > 0

    assert [one.text for one in found_in(story) if one.xid is None] == ["Definitions have changed: public.customer."]


def test_sequences_continue_behind_the_rows_though_all_were_dropped_since(story: Story) -> None:
    story.go_on()
    run(story.source, "INSERT INTO bill (customer, cents) SELECT min(id), 1 FROM customer")
    ((before,),) = rows(story.source, "SELECT clock_timestamp()::text")
    run(story.source, "DROP SCHEMA public CASCADE")
    drain(story.job)
    answer = story.round_trip.coffre.restore("latest", story.round_trip.copy, target="shop", at={"time": before})
    said = [one for one in story.report(answer).exceptions if "Not read after the moment" in one]
    assert ["bill_id_seq" in one for one in said] == [True]
    for statement in ("bill (customer, cents) SELECT min(id), 1 FROM customer", "customer (name) VALUES ('later')"):
        run(story.round_trip.copy, f"INSERT INTO {statement}")
