"""A drain goes from the slot into the vault, and whatever happens on the way, no change is lost or unfollowed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import pytest
from moto import mock_aws
from tests.catalog_table import create
from tests.integration.journal_scene import Scene
from tests.integration.journal_vault import Journal, journal_of

from coffre.catalog.catalog import Catalog
from coffre.catalog.journals import Journals
from coffre.postgres.journal import slot
from coffre.stores.directory import DirectoryStore


class Killed(BaseException):
    """The process is gone here."""


@pytest.fixture
def make_journal(
    make_scene: Callable[[int], Scene], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Journal]]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    monkeypatch.delenv("AWS_ENDPOINT_URL_DYNAMODB", raising=False)
    with mock_aws():
        catalog = Catalog("journals")
        create(catalog._table)

        def make(major: int, *statements: str) -> Journal:
            scene = make_scene(major)
            scene.run(*statements)
            return journal_of(scene, catalog)

        yield make


def killed_at(step: int) -> ExitStack:
    """Within this, the process ends before the step of this number that changes something outside of it."""
    left = iter(range(step))
    stack = ExitStack()

    def deadly(where: Any, name: str) -> None:
        real = getattr(where, name)

        def stepped(*args: Any, **named: Any) -> Any:
            if next(left, None) is None:
                raise Killed
            return real(*args, **named)

        stack.enter_context(patch.object(where, name, stepped))

    deadly(DirectoryStore, "put")
    deadly(Journals, "keep")
    for name in ("create", "advance", "drop"):
        deadly(slot, name)
    return stack


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
