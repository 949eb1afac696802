"""Statements of a replay that wait while others run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.integration.journal_scene import Scene

from coffre.model.errors import JournalError
from coffre.postgres.destination import marks
from coffre.postgres.journal.applying import Applier, Position
from coffre.postgres.journal.search_path import Paths
from coffre.postgres.journal.statements import Statement

ITEM = ("public", "item")


def test_nothing_that_waits_is_committed_after_a_statement_that_failed(make_scene: Callable[[int], Scene]) -> None:
    scene = make_scene(18)
    scene.run("CREATE TABLE item (id int PRIMARY KEY)")
    scene.take_base()
    applier = Applier(scene.copy, marks.SCHEMA, "position", Paths())
    slow = Statement("SELECT FROM pg_catalog.pg_sleep(0.2)", 2, ITEM)  # one row: not what the journal continues

    def begin() -> None:
        with applier.at_work():
            applier.commit([Statement("INSERT INTO public.item VALUES (1)", 1, ITEM)], Position(10, 1, 1))
            applier.run([slow])
            applier.commit([Statement("INSERT INTO public.item VALUES (2)", 1, ITEM)], Position(20, 2, 2))

    with pytest.raises(JournalError, match="1 rows instead of 2") as diverged:
        begin()

    assert diverged.value.code == "JOURNAL_DIVERGED"
    assert applier.position == Position(10, 1, 1)
    with applier.at_work():
        applier.commit([Statement("INSERT INTO public.item VALUES (3)", 1, ITEM)], Position(30, 2, 2))
    assert Applier(scene.copy, marks.SCHEMA, "position", Paths()).position == Position(30, 2, 2)
    with scene.copy, scene.copy.cursor() as cursor:
        cursor.execute("SELECT id FROM public.item ORDER BY id")
        assert cursor.fetchall() == [(1,), (3,)]
