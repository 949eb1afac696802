"""A database is restored to a moment between its backups: the rows of then, and what continues from there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from tests.integration.conftest import Coffre, new_id
from tests.integration.contents import RoundTripOn, run, value
from tests.integration.here_scene import here, stack
from tests.integration.journal_story import Story, attempt, killed_at_commit
from tests.integration.vault_copies import Command

from coffre.model.backup import Status
from coffre.model.moment import Moment
from coffre.model.restore import Scope
from coffre.operations.journal.drain import drain
from coffre.operations.journal.switch_off import switch_off
from coffre.postgres.journal import replay
from coffre_local.postgres_server import PostgresServer

__all__ = ["here", "stack"]


def rows_of_a_change(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Execute a statement that returns what it has changed."""
    with closing(psycopg2.connect(url)) as session, session, session.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


@pytest.fixture
def story(logical_server: Callable[[int], PostgresServer], round_trip_on: RoundTripOn) -> Iterator[Story]:
    story = Story(round_trip_on(logical_server(18)))
    yield story
    switch_off(story.job)


def test_a_moment_is_restored_by_time_position_and_transaction_continued_and_in_place(
    story: Story, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source, coffre = story.source, story.round_trip.coffre
    for _ in range(3):
        story.go_on()
        drain(story.job)
    first, second, third = story.turns
    report = story.restored(second, at={"time": second.at})
    assert report.backup_id == story.base.id
    # An unlogged table is in no journal. The report says so, and has no other exception.
    assert [said for said in report.exceptions if "cached" not in said] == []
    assert any("The journal is applied" in note for note in report.notes)
    assert value(story.round_trip.copy, "SELECT count(*) FROM pg_constraint WHERE contype = 'f'") == 1
    run(story.round_trip.copy, "INSERT INTO customer (name) VALUES ('later'); INSERT INTO part VALUES (70, '')")
    story.drop_copy()
    story.restored(first, at={"lsn": first.lsn})
    # A transaction that is an accident; the next backup is too late to be its base.
    ((xid,), *_) = rows_of_a_change(source, "DELETE FROM bill RETURNING txid_current()")
    drain(story.job)
    late = story.round_trip.back_up(journal={})
    assert story.round_trip.manifest(late).database.journal
    story.drop_copy()
    # Killed in the middle of the journal, again and again.
    monkeypatch.setattr(replay, "_MOST_TRANSACTIONS", 1)
    restore_id = new_id()
    scope = Scope(at=Moment(before_transaction=xid))
    for _ in range(2):
        killed_at_commit(3, lambda: attempt(story, story.round_trip.copy, restore_id, scope, tmp_path))
    report = attempt(story, story.round_trip.copy, restore_id, scope, tmp_path)
    third.require(story.round_trip.copy)
    assert report.backup_id == story.base.id
    # In place of the database in use, which is kept.
    monkeypatch.undo()
    answer = coffre.restore("latest", None, target="shop", replace=True, accept_exceptions=True, at={"time": second.at})
    second.require(source)
    assert [kept.what for kept in story.report(answer).kept]


def test_a_moment_is_restored_here_and_recorded_as_by_the_function(
    story: Story, stack: Coffre, here: Command, postgresql_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stack is story.round_trip.coffre
    story.go_on()
    turn, copy = story.turns[0], story.round_trip.copy
    run(story.source, "DELETE FROM bill")
    drain(story.job)
    monkeypatch.setenv("NEW", copy)
    to = ("restore", "database", "latest", "--target", "shop", "--to", "env:NEW", "--here")

    said = here(*to, "--at", turn.at, "--postgres-home", postgresql_home)

    assert said.status == 4, said.err  # an unlogged table is as of the backup
    turn.require(copy)
    [restore] = [one for one in stack.catalog.restores() if not one.dry_run]
    assert (restore.backup_id, restore.status) == (story.base.id, Status.COMPLETED)
    assert "The journal is applied" in said.out
