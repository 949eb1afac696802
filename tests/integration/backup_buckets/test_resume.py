"""A run of buckets that does not finish leaves what it has stored to the next run of its target."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from tests.integration.backup_buckets.test_invocations import ending, scene_of, undisturbed
from tests.integration.backup_buckets.test_ranges import Players
from tests.integration.capture_scene import Scene
from tests.memory_store import MemoryStore

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Status
from coffre.model.manifest import Manifest
from coffre.operations.backup_buckets import plan as storage_plan
from coffre.operations.backup_buckets import stored_before
from coffre.operations.backup_buckets.part_files import PartLines
from coffre.operations.runs import part_recorder
from coffre.operations.runs.run import Paused
from coffre.operations.runs.unfinished_runs import UnfinishedRun
from coffre.policy import ranges as policy
from coffre.stores.s3_errors import Call
from coffre.vault.bucket_progress import read_progress
from coffre.vault.layout import part_key, writer_of
from coffre.vault.part_records import HISTORY_FROM

OBJECTS = 200
MOST_AGAIN = 0.12


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let 200 objects have as many parts and ranges as millions have, and let a run record at every look."""
    monkeypatch.setattr(storage_plan, "_READ_OBJECTS", 3)
    monkeypatch.setattr(policy, "_LEAST_OBJECTS", 25)


@pytest.fixture
def scene() -> Iterator[Scene]:
    chance = random.Random(7)
    with scene_of({("a", f"{number:04}"): chance.randbytes(20_000) for number in range(OBJECTS)}) as made:
        made.workers = 1
        made.document["limits"] = {"streams": 1}
        yield made


class Dead(BaseException):
    """All functions of a run are killed: nothing of it runs any more, and none begins."""


@contextmanager
def dying_at_nine_tenths(scene: Scene) -> Iterator[None]:
    """Kill a run when nine tenths of the objects were read. Until then it records after each part, as by the clock."""
    finish = part_recorder.PartRecorder.finish_packed

    def finish_and_record(self: part_recorder.PartRecorder, number: int, packed: part_recorder.Packed) -> None:
        finish(self, number, packed)
        self._record()

    def die(operation: str, _: Call, number: int) -> None:
        if operation == "get" and number > 0.9 * OBJECTS:
            raise Dead

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part_recorder.PartRecorder, "finish_packed", finish_and_record)
        patch.setattr(part_recorder.PartRecorder, "__exit__", lambda self, *_: self._stop())
        scene.store.before = die  # type: ignore[union-attr]
        with pytest.raises(Dead):
            yield
    undisturbed(scene)


def killed_chain(scene: Scene) -> UnfinishedRun:
    """A run that pauses once, and is killed in its second invocation."""
    records: dict[int, str] = {}
    scene.recorded = records.__setitem__
    backup = scene.begin()
    ending(scene, "short", 80)
    assert isinstance(scene.invoke(backup), Paused)
    undisturbed(scene)
    with dying_at_nine_tenths(scene):
        scene.invoke(backup, read_progress(scene.vault, "files", backup.id))
    scene.recorded = None
    return UnfinishedRun(backup.model_copy(update={"status": Status.FAILED}), records)


def is_mostly_of(made: Manifest, run: UnfinishedRun) -> bool:
    """Whether a backup stored only what a run had not, and says so."""
    taken = sum(pack.live_bytes for pack in made.packs if writer_of(pack.key) == run.backup.id)
    whole = sum(pack.live_bytes for pack in made.packs)
    (note,) = [note for note in made.notes if "were stored already by the run that ended at" in note]
    return run.backup.id in note and made.stored_bytes <= MOST_AGAIN * whole and taken >= (1 - MOST_AGAIN) * whole


def test_after_a_run_that_was_killed_the_next_stores_the_rest(scene: Scene) -> None:
    killed = killed_chain(scene)
    read = scene.store.requests["get"]
    scene.unfinished = (killed,)

    # When the next run begins in one invocation, and ends in another, which knows the runs from its progress
    backup = scene.begin()
    ending(scene, "short", 3)
    assert isinstance(scene.invoke(backup), Paused)
    undisturbed(scene)
    begun = read_progress(scene.vault, "files", backup.id)
    assert [one.id for one in begun.unfinished] == [killed.backup.id]
    made = scene.invoke(backup, begun)
    assert not isinstance(made, Paused)

    # Then it reads and stores what was not stored, counts as if there had been no other run, and is whole
    assert scene.store.requests["get"] - read <= MOST_AGAIN * OBJECTS
    assert is_mostly_of(made[0], killed)
    assert (made[0].storage.added, made[0].storage.changed) == (OBJECTS, 0)
    assert scene.bodies(made[0]) == scene.store.bodies()  # type: ignore[union-attr]
    assert {pack.key for pack in made[0].packs} >= {
        frame.pack for entry in scene.entries(made[0]).values() for frame in entry.frames
    }


def test_what_changed_is_read_and_what_nobody_vouches_for_is_left_out(scene: Scene) -> None:
    killed = killed_chain(scene)
    store = cast("MemoryStore", scene.store)
    store.put("a", "0003", b"another object")
    del store.buckets["a"]["0004"]
    *_, missing, forged, swapped = sorted(killed.records)
    vault = scene.vault.store
    keys = [part_key("files", killed.backup.id, number) for number in (missing, forged, swapped)]
    body = vault.get(keys[2])
    vault.delete(keys[0])
    (scene.root / "vault" / keys[1]).write_bytes(body)
    lost, cut, *_ = sorted((scene.root / "vault/v1/packs" / killed.backup.id).iterdir())
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])
    scene.unfinished = (killed,)

    made = scene.backup()

    assert any(f"2 records of the unfinished run {killed.backup.id} cannot be used" in note for note in made.notes)
    assert scene.bodies(made) == store.bodies()
    assert (made.storage.added, made.storage.removed) == (OBJECTS - 1, 0)
    taken = [name for name, one in scene.entries(made).items() if writer_of(one.frames[0].pack) == killed.backup.id]
    assert len(taken) > 0.8 * OBJECTS
    assert "a/0003" not in taken
    assert not [pack.key for pack in made.packs if pack.key.endswith((lost.name, cut.name))]


def test_a_disk_without_room_for_records_costs_the_records_alone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Path] = []

    def full(_lines: object, file: Path) -> None:
        file.touch()
        begun.append(file)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(PartLines, "write_new", full)
    records: dict[int, str] = {}
    scene.recorded = records.__setitem__

    made = scene.backup()

    assert len(scene.entries(made)) == OBJECTS
    assert made.exceptions == ()
    assert begun != []
    assert not any(file.exists() for file in begun)


def test_what_does_not_fit_on_the_disk_is_stored_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    backup = scene.begin()
    job = replace(scene.job(), unfinished=(UnfinishedRun(backup, {HISTORY_FROM: "0" * 64}),))

    def full(*_: object) -> None:
        (job.scratch / "unfinished" / "half").touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stored_before, "read_runs", full)

    stored = stored_before.open_stored(job, stored_before.PreviousBackup())

    (note,) = stored.notes
    assert "stored again: the scratch space has no room for its list (No space left on device)" in note
    assert "RepositoryStorageSize" in note
    assert not list(stored.entries("", None))
    assert not list(job.scratch.iterdir())


class SeveralRuns(Players):
    """The state machine, and the catalog that knows an unfinished run."""

    earlier: UnfinishedRun

    @property
    def catalog(self) -> Catalog:
        found = cast("Any", super().catalog)
        own, earlier = found.parts.of, self.earlier
        found.parts.of = lambda run_id: dict(earlier.records) if run_id == earlier.backup.id else own(run_id)
        found.get_backup = lambda _: earlier.backup
        return cast("Catalog", found)


def test_after_ranges_that_were_killed_the_next_ranges_store_the_rest(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a run over several functions, all of which are killed when nine tenths were read
    players, backup = Players(scene, width=4), scene.begin()
    scene.spread = players.hand_over
    scene.hand_over(backup)
    monkeypatch.setattr(f"{Players.__module__}.undisturbed", lambda _: None)
    with dying_at_nine_tenths(scene):
        players.play(backup)
    killed = UnfinishedRun(backup.model_copy(update={"status": Status.FAILED}), players.history)
    read = scene.store.requests["get"]

    # When the next one is taken by several functions too
    scene.unfinished = (killed,)
    following, backup = SeveralRuns(scene, width=4), scene.begin()
    following.earlier = killed
    scene.spread = following.hand_over
    scene.hand_over(backup)
    made = following.play(backup)

    assert scene.store.requests["get"] - read <= MOST_AGAIN * OBJECTS
    assert is_mostly_of(made, killed)
    assert made.storage.added == OBJECTS
    assert scene.bodies(made) == scene.store.bodies()  # type: ignore[union-attr]
