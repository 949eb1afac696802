"""Rotation that is killed at every step, and beside which backups run and are deleted at every step."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from tests.unit.operations.conftest import NOW, Scene

from coffre.model.backup import Backup, Status
from coffre.operations.admin.pin_and_delete import BackupAdmin
from coffre.operations.stored_backup.catalog_record import completed

STORE_WRITES, TABLE_WRITES = ("delete",), ("update", "put")
STORE_STEPS, TABLE_STEPS = ("delete", "get", "list"), ("update", "put", "query")


class Killed(BaseException):
    """What ends a process is no exception that somebody could catch."""


def around(
    scene: Scene, patch: pytest.MonkeyPatch, of_store: Sequence[str], of_table: Sequence[str], do: Callable[[], None]
) -> None:
    """Call `do` before each of these calls of the store and of the catalog's table: after one is before the next."""

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **named: Any) -> Any:
            do()
            return original(*arguments, **named)

        return step

    for place, names in ((scene.store, of_store), (scene.catalog._table, of_table)):
        for name in names:
            patch.setattr(place, name, wrapped(getattr(place, name)))


def history(scene: Scene) -> list[Backup]:
    """Two that go (one of them is shared with the newest), a failed run, and what stays."""
    first = scene.backup(10, own=2)
    second = scene.backup(9, own=1)
    third = scene.backup(2)
    fourth = scene.begin(1)
    packs = (scene.packs_of(first)[0], scene.pack(fourth.id))
    scene.catalog.complete_backup(completed(fourth, *scene.commit(fourth, packs)))
    scene.catalog.keeping.mark_verified(fourth.id, NOW)
    failed = scene.failed(4)
    return [first, second, third, fourth, failed]


def outcome(scene: Scene) -> tuple[object, ...]:
    """What is left, without the ids, which differ from run to run."""
    statuses = [backup.status for backup in scene.catalog.backups()]
    ids = {backup.id: number for number, backup in enumerate(scene.catalog.backups())}
    keys = sorted((ids[part], key.count("/")) for key in scene.objects() for part in key.split("/") if part in ids)
    return statuses, keys


def test_a_rotation_that_is_killed_at_any_step_is_finished_by_the_next(
    new_scene: Callable[[], Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = new_scene()
    history(undisturbed)
    undisturbed.rotate()
    expected = outcome(undisturbed)

    for step in itertools.count():
        scene = new_scene()
        backups = history(scene)
        count = 0

        def kill(step: int = step) -> None:
            nonlocal count
            count += 1
            if count == step + 1:
                raise Killed

        with monkeypatch.context() as patch:
            around(scene, patch, STORE_WRITES, TABLE_WRITES, kill)
            try:
                scene.rotate(id="killed")
            except Killed:
                pass
            else:
                break

        # Whatever is listed can be restored
        for backup in backups:
            assert scene.status(backup) is not Status.COMPLETED or scene.is_whole(backup), step
        scene.catalog.locks.release("*rotation", "killed")
        scene.rotate()
        assert outcome(scene) == expected, step

    assert step > 10


def running_backup(scene: Scene) -> Iterator[None]:
    """Do what a backup does, one step at a time: record, choice of the previous one, its packs, manifest, end."""
    backup = scene.begin(0.001)
    yield
    previous = scene.catalog.latest_completed("shop")
    yield
    # A manifest that is gone by now means that everything is stored anew (backup_plan).
    found = scene.vault.find_manifest("shop", previous.id) if previous else None
    named = tuple(pack for pack in found[0].packs if pack.key in scene.objects("v1/packs/")) if found else ()
    yield
    packs = (*named, scene.pack(backup.id))
    yield
    manifest, committed = scene.commit(backup, packs)
    yield
    scene.catalog.complete_backup(completed(backup, manifest, committed))
    yield


@pytest.mark.parametrize("steps", [2, 5])
def test_whatever_a_backup_points_at_stays_however_the_two_run(
    new_scene: Callable[[], Scene], monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """A backup begins at every moment of a rotation, and after some steps of it somebody deletes the newest backup, at
    which it points; a second rotation, which took the first for dead, removes that one's manifest. The backup ends
    when the rotations have.
    """
    for moment in itertools.count(1):
        scene = new_scene()
        newest = scene.backup(2, own=2)
        backup = running_backup(scene)
        calls = 0

        def meanwhile(
            moment: int = moment, scene: Scene = scene, newest: Backup = newest, backup: Iterator[None] = backup
        ) -> None:
            nonlocal calls
            calls += 1
            if calls == moment:
                for _ in range(steps):
                    next(backup)
                BackupAdmin(scene.catalog, scene.vault, "somebody", NOW).delete(newest.id, force=True)
                scene.catalog.locks.release("*rotation", "first")
                scene.rotate(id="second")

        with monkeypatch.context() as patch:
            around(scene, patch, STORE_STEPS, TABLE_STEPS, meanwhile)
            scene.rotate(id="first")
        assert list(backup) or calls >= moment
        scene.rotate(id="third")

        for found in scene.catalog.backups():
            assert found.status is not Status.COMPLETED or scene.is_whole(found), (moment, found)
        if calls < moment:
            break
    assert moment > 8
