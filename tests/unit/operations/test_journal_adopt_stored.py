"""What a drain takes up of what is stored, where records are damaged: nothing of it makes each drain fail."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest
from tests.unit.operations.conftest import Scene
from tests.unit.operations.stored_journal import journal_of, lsn_at

from coffre.model.journal import IntervalEnd, JournalEnd, JournalState
from coffre.operations.journal.adopt_stored import Adopted, adopt
from coffre.operations.journal.job import JournalJob
from coffre.vault import journal
from coffre.vault.layout import interval_end_key, interval_key


def job_of(scene: Scene) -> JournalJob:
    job = SimpleNamespace(target="shop", vault=scene.vault, journals=scene.catalog.journals, now=lambda: scene.now)
    return cast("JournalJob", job)


def state_of(found: Adopted) -> JournalState:
    assert found.state is not None
    return found.state


def key_of(number: int) -> Callable[[Scene, str], str]:
    return lambda scene, interval: journal.listed_segments(scene.vault, "shop", interval)[number].key


@pytest.mark.parametrize("body", [None, b"{}"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_lost_record_in_the_middle_is_passed(scene: Scene, number: int, body: bytes | None) -> None:
    interval = journal_of(scene, (8, 7, 6, 5))
    damage(scene, key_of(number)(scene, interval), body)

    found = adopt(job_of(scene))

    assert found.damage is None
    assert (state_of(found).interval, state_of(found).number) == (interval, 3)
    assert state_of(found).stored_lsn == lsn_at(5)
    assert state_of(found).base_wanted_at == scene.now
    # Only a backup that was taken after it is a base: no older one can be brought past it
    assert state_of(found).from_lsn == lsn_at((8, 7, 6)[number + 1])


def test_a_whole_interval_keeps_its_bases(scene: Scene) -> None:
    journal_of(scene, (8, 7, 6, 5))
    assert state_of(adopt(job_of(scene))).from_lsn == lsn_at(8)


def test_a_damaged_last_record_ends_the_interval_before_it(scene: Scene) -> None:
    interval = journal_of(scene, (8, 7, 6, 5))
    damage(scene, key_of(2)(scene, interval), b"{}")
    found = adopt(job_of(scene))
    assert found.damage is not None
    assert (state_of(found).interval, state_of(found).number, found.unread) == (interval, 2, None)
    # ... also one that a drain has stored and not kept
    again = adopt(job_of(scene))
    assert (again.damage is not None, state_of(again).number) == (True, 2)


@pytest.mark.parametrize(("key", "slot"), [(interval_key, None), (interval_end_key, "coffre_shop_1")])
def test_an_interval_whose_own_records_are_damaged_is_not_continued(
    scene: Scene, key: Callable[[str, str], str], slot: str | None
) -> None:
    journal_of(scene, (20, 19))
    interval = journal_of(scene, (8, 7, 6), ended=5, print_="e" * 64)
    damage(scene, key("shop", interval), b"{}")

    found = adopt(job_of(scene))

    assert (found.unread, found.damage is not None) == (interval, True)
    assert (found.state.slot if found.state else None) == slot
    assert found.state is None or found.state.interval is None


def test_an_end_that_cannot_be_read_is_not_written_again(scene: Scene) -> None:
    interval = journal_of(scene, (8, 7, 6), ended=5)
    damage(scene, interval_end_key("shop", interval), b"{}")
    end = IntervalEnd(reason=JournalEnd.SLOT_LOST, stored_lsn=1, ended_at=scene.now)
    assert journal.end_interval(scene.vault, "shop", interval, end) == end
    assert (scene.root / interval_end_key("shop", interval)).read_bytes() == b"{}"


def damage(scene: Scene, key: str, body: bytes | None) -> None:
    if body is None:
        scene.store.delete(key)
    else:
        (scene.root / key).write_bytes(body)
