"""What runs that failed have stored waits a day for the next run, and then goes."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from tests.unit.operations.conftest import Scene

from coffre.model.backup import Backup, Failure
from coffre.model.manifest import PackReference
from coffre.operations.rotate import sweep_manifests
from coffre.operations.stored_backup.catalog_record import completed
from coffre.stores.store import Store, put_small
from coffre.vault.layout import part_key
from coffre.vault.part_records import HISTORY_FROM, StoredPart, write_part

MINUTE = 1 / 24 / 60


def recorded(scene: Scene, backup: Backup, *packs: PackReference, number: int = 0) -> str:
    """Let a run record what it points at, and return the record's key."""
    file = scene.scratch / "lines"
    file.write_bytes(b"")
    assert write_part(scene.vault, backup.target, backup.id, StoredPart(number, file, packs), ())
    return part_key(backup.target, backup.id, number)


def fail(scene: Scene, backup: Backup) -> None:
    failure = Failure(code="DEADLINE", message="There was no time left.")
    scene.catalog.fail_backup(backup.id, failure, backup.created_at + timedelta(minutes=15))


@pytest.fixture
def chain(scene: Scene) -> tuple[PackReference, PackReference, str]:
    """A run that failed over a day ago, and one that points at a pack of it and failed less than a day ago."""
    scene.backup(3)
    first = scene.begin(1.5)
    old = scene.pack(first.id)
    recorded(scene, first, old)
    fail(scene, first)
    second = scene.begin(0.9)
    own = scene.pack(second.id)
    key = recorded(scene, second, old, own, number=HISTORY_FROM)  # as runs of buckets number them
    fail(scene, second)
    return old, own, key


def test_packs_that_a_run_of_the_last_day_had_used_wait_whoever_wrote_them(
    scene: Scene, chain: tuple[PackReference, PackReference, str]
) -> None:
    old, own, key = chain

    report = scene.rotate()

    assert {old.key, own.key, key} <= scene.objects()
    assert report.sweep is not None
    assert "a run of shop that failed less than 24 hours ago had used them" in report.sweep.waits
    assert not [problem for problem in report.problems if problem.code == "PACK_MISSING"]
    # The records of the first run, which is over for more than a day, are gone
    assert [name for name in scene.objects() if "/parts/" in name] == [key]
    # And everything is, when a day is over
    scene.now += timedelta(days=1)
    scene.rotate()
    assert not {old.key, own.key, key} & scene.objects()


def test_the_records_of_a_run_are_read_several_at_a_time_and_no_more_than_memory_allows(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a run that failed with twelve records, each of which names a pack of an earlier run
    first = scene.begin(1.5)
    old = [scene.pack(first.id) for _ in range(12)]
    fail(scene, first)
    second = scene.begin(0.9)
    keys = [recorded(scene, second, pack, number=number) for number, pack in enumerate(old)]
    fail(scene, second)
    get, reading, most = type(scene.vault.store).get, [0], [0]
    changed = threading.Condition()

    def get_when_so_many_read(store: Store, key: str, **how: int) -> bytes:
        """Let the first reads end when `together` of them are under way: if they never are, this fails."""
        if key not in keys:
            return get(store, key, **how)
        with changed:
            reading[0] += 1
            most[0] = max(most[0], reading[0])
            changed.notify_all()
            is_met = changed.wait_for(lambda: most[0] >= together, timeout=30)
        body = get(store, key, **how)
        with changed:
            reading[0] -= 1
        assert is_met
        return body

    monkeypatch.setattr(type(scene.vault.store), "get", get_when_so_many_read)
    together = sweep_manifests._READ_TOGETHER

    scene.rotate()

    # Then as many are read together as there may be, and each counts
    assert most == [together]
    assert {pack.key for pack in old} <= scene.objects()

    # And one after another, if there is no memory for two
    size = max(len(get(scene.vault.store, key)) for key in keys)
    monkeypatch.setattr(sweep_manifests, "_READ_BYTES", 2 * size - size // 2)
    most[0], together = 0, 1
    scene.rotate()
    assert most == [1]


def test_a_record_that_cannot_be_read_keeps_nothing_and_stops_nothing(
    scene: Scene, chain: tuple[PackReference, PackReference, str]
) -> None:
    old, own, key = chain
    put_small(scene.store, key, b"no record")

    scene.rotate()

    assert old.key not in scene.objects()
    assert own.key in scene.objects()  # its writer failed less than a day ago


def test_records_go_when_a_later_backup_is_complete(
    scene: Scene, chain: tuple[PackReference, PackReference, str]
) -> None:
    old, _, key = chain
    third = scene.begin(0.1)
    scene.catalog.complete_backup(completed(third, *scene.commit(third, (old,))))

    scene.rotate()

    assert key not in scene.objects()
    assert old.key in scene.objects()  # the backup points at it


def test_records_of_a_complete_backup_go_when_nobody_can_write_them_any_more(scene: Scene) -> None:
    made = [scene.backup(age) for age in (2, 0.5)]
    keys = [recorded(scene, backup, *scene.packs_of(backup)) for backup in made]

    scene.rotate()

    assert [key in scene.objects() for key in keys] == [False, True]
    assert all(scene.is_whole(backup) for backup in made)


def test_the_packs_of_a_run_that_fails_while_the_vault_is_swept_wait(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a pack of a run that failed long ago, and a run that uses it and fails between the two looks of a sweep
    first = scene.begin(1.5)
    old = scene.pack(first.id)
    fail(scene, first)
    second = scene.begin(MINUTE)
    look = scene.catalog.backups
    looks: list[None] = []

    def fail_before_the_third(**arguments: object) -> object:
        looks.append(None)
        if len(looks) == 3:  # rotation looks, then the sweep twice
            recorded(scene, second, old)
            fail(scene, second)
        return look(**arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(scene.catalog, "backups", fail_before_the_third)

    report = scene.rotate()

    assert len(looks) >= 3
    assert old.key in scene.objects()
    assert report.sweep is not None
    assert f"backup {second.id} of shop has just ended" in report.sweep.waits
