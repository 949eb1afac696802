"""A page of backups is one call, however many exist, and pages together are the whole list."""

from datetime import timedelta
from typing import Any

import pytest
from tests.console_scene import NOW, ConsoleScene

from coffre.catalog import run_listings
from coffre.model.backup import Status
from coffre.model.kinds import TargetKind
from coffre_console.reading.backups import BackupPage, Filter, count_backups, list_backups


@pytest.fixture
def calls(scene: ConsoleScene, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that the table gets from now on."""
    made: list[str] = []
    connection = scene.catalog._table._connection
    query = connection.query

    def noted(*args: Any, **options: Any) -> Any:
        made.append(args[0])
        return query(*args, **options)

    monkeypatch.setattr(connection, "query", noted)
    return made


def _all(scene: ConsoleScene, wanted: Filter, size: int, **options: Any) -> list[str]:
    pages: list[BackupPage] = [list_backups(scene.source, wanted, size=size, **options)]
    while pages[-1].next is not None:
        pages.append(list_backups(scene.source, wanted, size=size, cursor=pages[-1].next, **options))
    return [backup.id for page in pages for backup in page.backups]


def test_pages_are_the_list_and_each_is_one_call(scene: ConsoleScene, calls: list[str]) -> None:
    made = [scene.begin(hours).id for hours in range(7)]
    calls.clear()

    found = _all(scene, Filter(), 3)

    assert found == made
    assert len(calls) == 3


def test_a_filter_looks_at_a_little_more_until_the_page_is_full(
    scene: ConsoleScene, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_listings, "_LOOKED_AT", (2, 2, 2, 2))
    made = [scene.begin(hours, target="billing" if hours < 12 else "shop").id for hours in range(14)]
    calls.clear()

    dense = list_backups(scene.source, Filter(kind=TargetKind.DATABASE), size=1)
    dense_calls = len(calls)
    rare = list_backups(scene.source, Filter(), size=1, may=lambda target: target == "shop")

    assert (dense.backups[0].id, dense_calls) == (made[0], 1)
    assert (rare.backups, len(calls) - dense_calls) == ((), 4)
    # The place in the list is the time of the last one that was looked at, and no id
    assert (rare.next in made, (rare.next or "")[:10]) == (False, made[7][:10])
    assert _all(scene, Filter(), 1, may=lambda target: target == "shop") == made[12:]


@pytest.mark.parametrize("size", [1, 2, 50])
def test_filters_keep_the_order_and_lose_nothing(scene: ConsoleScene, size: int) -> None:
    for hours in range(1, 9):
        scene.begin(hours, target="billing" if hours % 2 else "shop")
        scene.failed(hours + 0.5)

    failed = _all(scene, Filter(target="shop", status=Status.FAILED), size)
    running = _all(scene, Filter(status=Status.IN_PROGRESS, target="billing"), size)
    recent = _all(scene, Filter(since=NOW - timedelta(hours=3), until=NOW - timedelta(hours=1)), size)
    seen = _all(scene, Filter(), size, may=lambda target: target == "billing")

    assert len(failed) == 8
    assert failed == sorted(failed, reverse=True)
    assert len(running) == 4
    assert len(recent) == 4  # 1.5, 2, 2.5 and 3 hours ago: since is inclusive, until is not
    assert seen == running


def test_the_end_of_the_list_has_no_next_page(scene: ConsoleScene) -> None:
    first = scene.begin(1)

    page = list_backups(scene.source, Filter(), size=50)
    after = list_backups(scene.source, Filter(), size=50, cursor=first.id)

    assert (len(page.backups), page.next) == (1, None)
    assert after == BackupPage((), None)
    assert list_backups(scene.source, Filter(), cursor="0" * 26) == BackupPage((), None)


def test_statistics_count_a_period(scene: ConsoleScene) -> None:
    scene.backup(1)
    scene.failed(2)
    scene.backup(24 * 40)

    found = count_backups(scene.source, Filter())
    longer = count_backups(scene.source, Filter(since=NOW - timedelta(days=50)))

    assert found.by_status == {Status.COMPLETED: 1, Status.FAILED: 1}
    assert longer.by_status[Status.COMPLETED] == 2
