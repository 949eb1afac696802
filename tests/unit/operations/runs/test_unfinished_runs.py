"""Which runs the next one continues from, and what a run that was killed leaves."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.operations.conftest import Scene

from coffre.model.backup import Backup, Failure
from coffre.model.errors import CatalogError
from coffre.model.kinds import TargetKind
from coffre.operations.runs import unfinished_runs
from coffre.operations.runs.dead_runs import settle_backup
from coffre.operations.runs.unfinished_runs import find_unfinished, reopened
from coffre.vault.bucket_progress import EarlierRun, RecordNames
from coffre.vault.part_records import HISTORY_FROM, StoredPart, write_part

SHA256 = "f" * 64
NO_RUN = "01K9X0000000000000000000AB"


def unfinished(scene: Scene, age_days: float, *, target: str = "shop", records: int = 1) -> Backup:
    """Leave a run that failed a minute after it began."""
    backup = scene.begin(age_days, target=target)
    for number in range(records):
        scene.catalog.parts.add(backup.id, number, SHA256, scene.now)
    failure = Failure(code="DEADLINE", message="There was no time left.")
    return scene.catalog.fail_backup(backup.id, failure, backup.created_at + timedelta(minutes=1))


def found(scene: Scene, previous: Backup | None) -> list[str]:
    return [run.backup.id for run in find_unfinished(scene.catalog, "shop", previous, scene.now)]


def test_runs_that_failed_since_the_previous_backup_and_within_a_day_are_found_the_newest_first(scene: Scene) -> None:
    unfinished(scene, 1.1)
    before = unfinished(scene, 0.9)
    previous = scene.backup(0.8)
    early, without_records = unfinished(scene, 0.7), unfinished(scene, 0.6, records=0)
    late = unfinished(scene, 0.1, records=2)
    unfinished(scene, 0.2, target="blog")
    scene.begin(0.01)

    assert found(scene, previous) == [late.id, early.id]
    assert without_records.id not in found(scene, None)
    assert found(scene, None) == [late.id, early.id, before.id]
    assert dict(find_unfinished(scene.catalog, "shop", previous, scene.now)[0].records) == {0: SHA256, 1: SHA256}


def test_a_run_that_pointed_at_a_backup_that_is_gone_or_damaged_does_not_count(scene: Scene) -> None:
    """What was wrong with that backup's packs went with it."""
    older, lost = scene.backup(3), scene.backup(0.9)
    unfinished(scene, 0.7)
    assert found(scene, lost) != []
    scene.catalog.keeping.delete(lost, "coffre delete", scene.now)
    later = unfinished(scene, 0.2)

    assert found(scene, older) == []
    assert found(scene, None) == []
    newer = scene.backup(0.3)
    assert found(scene, newer) == [later.id]


def test_of_very_many_records_the_newest_are_read(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in (("_MOST_RECORDS", 3), ("_MOST_OF_A_RANGE", 2)):
        monkeypatch.setattr(unfinished_runs, name, most)
    early, late = unfinished(scene, 0.3, records=3), unfinished(scene, 0.2, records=2)

    runs = find_unfinished(scene.catalog, "shop", None, scene.now)
    assert [(run.backup.id, sorted(run.records)) for run in runs] == [(late.id, [0, 1]), (early.id, [2])]
    names = tuple(RecordNames(number=number, first="a", last="b") for number in range(3))
    again = reopened(scene.catalog, [EarlierRun(id=early.id, records=names), EarlierRun(id=late.id, records=())])
    assert [sorted(run.records) for run in again] == [[1, 2], []]


def test_of_many_only_the_newest_are_read(scene: Scene) -> None:
    runs = [unfinished(scene, age) for age in (0.5, 0.4, 0.3, 0.2)]

    assert found(scene, None) == [run.id for run in reversed(runs[1:])]


def test_a_catalog_that_does_not_say_is_no_error(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    unfinished(scene, 0.2)

    def refuse(_: str) -> dict[int, str]:
        raise CatalogError("It refuses.")

    monkeypatch.setattr(scene.catalog.parts, "of", refuse)
    assert found(scene, None) == []


def test_of_runs_that_were_found_only_the_records_of_a_range_are_read(scene: Scene) -> None:
    run = unfinished(scene, 0.2, records=3)
    places = [("b", "d"), ("d1", "f"), ("g", "h"), ("a", "z")]  # the last one is not known to the catalog
    records = tuple(RecordNames(number=number, first=first, last=last) for number, (first, last) in enumerate(places))
    earlier = EarlierRun(id=run.id, records=records)

    def read(*names: str | None) -> list[int]:
        (found,) = reopened(scene.catalog, [earlier], *names)  # type: ignore[arg-type]
        return sorted(found.records)

    assert [read(), read("d", "f"), read("d"), read("", "b"), read("h")] == [[0, 1, 2], [1], [1, 2], [0], []]
    assert reopened(scene.catalog, [EarlierRun(id=NO_RUN, records=records)]) == ()


def test_a_run_that_was_killed_says_whether_anything_of_it_is_kept(scene: Scene) -> None:
    bare, kept = scene.begin(0.2), scene.begin(0.1)
    # Of buckets, the record of a range is for the seal of its own run.
    ranges, files = (scene.begin(age).model_copy(update={"kind": TargetKind.BUCKET}) for age in (0.4, 0.3))
    file = scene.scratch / "lines"
    file.write_bytes(b"")
    for backup, number in ((kept, 0), (ranges, 100_000), (files, HISTORY_FROM)):
        write_part(scene.vault, "shop", backup.id, StoredPart(number, file, ()), ())

    failures = []
    for backup in (bare, ranges, kept, files):
        ended = settle_backup(scene.catalog, scene.vault, backup, scene.now)
        assert ended is not None
        assert ended.failure is not None
        failures.append(ended.failure.message)

    assert not [text for text in failures[:2] if "kept for a day" in text]
    for text in failures[2:]:
        assert text.endswith("is kept for a day: the next backup of this target continues from it.")
