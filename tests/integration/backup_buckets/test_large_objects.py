"""An object that one invocation cannot read is read by several, and comes to what a single reading would give."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.integration.backup_buckets.test_invocations import ending, scene_of, undisturbed
from tests.integration.capture_scene import Scene
from tests.memory_store import MemoryStore

from coffre.buckets.reader import PIECE_BYTES
from coffre.model.errors import DeadlineError
from coffre.model.manifest import Manifest
from coffre.operations.backup_buckets import job as jobs
from coffre.operations.runs.run import Paused
from coffre.stores.s3_errors import Call
from coffre.stores.s3_exchange import Answer
from coffre.vault.bucket_progress import BucketProgress, read_progress
from coffre.vault.entry_files import lists_as_packs

pytestmark = pytest.mark.usefixtures("copydata")
SMALL = {("a", "before"): b"1", ("a", "later"): b"2", ("b", "last"): b"3"}
PIECES = 5
SIZE = PIECES * PIECE_BYTES - 1000


@pytest.fixture(autouse=True)
def large_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LARGE_BYTES", 2 * PIECE_BYTES)


def with_large(scene: Scene, *keys: str, size: int = SIZE, workers: int = 1, **how: Any) -> MemoryStore:
    """Put large objects into the store. With one worker, the order of all reads is that of the names."""
    assert isinstance(scene.store, MemoryStore)
    scene.workers = workers
    scene.document["limits"] = {"invocations": 50, "streams": 1}
    for key in keys:
        scene.store.put_huge("a", key, size, **how)
    return scene.store


def until_done(scene: Scene, stops: list[int], limit: int = 30) -> tuple[Manifest, int]:
    """Take a backup whose invocations are stopped after these numbers of reads; the rest is not disturbed."""
    backup = scene.begin()
    begun: BucketProgress | None = None
    for invocation in range(limit):
        if invocation < len(stops):
            ending(scene, "stopped", stops[invocation])
        else:
            undisturbed(scene)
        try:
            made = scene.invoke(backup, begun)
        except DeadlineError:  # it stored nothing: Lambda tries again
            continue
        if not isinstance(made, Paused):
            return made[0], made[0].storage.invocations
        begun = read_progress(scene.vault, "files", backup.id)
    raise AssertionError("It does not come to an end.")


@given(
    stops=st.lists(st.integers(1, 6), max_size=6),
    keys=st.sets(st.sampled_from(["aa", "large", "z"]), min_size=1),
)
@settings(max_examples=6)
def test_any_borders_give_the_object_that_one_reading_gives(stops: list[int], keys: set[str]) -> None:
    with scene_of(SMALL) as scene:
        store = with_large(scene, *keys, workers=3)

        manifest, _ = until_done(scene, stops)

        assert scene.bodies(manifest) == store.bodies()
        entries = scene.entries(manifest)
        undisturbed(scene)
        again = {name: entry.sha256 for name, entry in scene.entries(scene.backup()).items()}
        assert {name: entry.sha256 for name, entry in entries.items()} == again
        used = {frame.pack for entry in entries.values() for frame in entry.frames}
        assert {pack.key for pack in manifest.packs} == used | lists_as_packs(manifest.entries).keys()


def test_no_piece_is_read_twice() -> None:
    with scene_of({}) as scene:
        store = with_large(scene, "large")

        manifest, invocations = until_done(scene, [1, 1, 1])

        assert invocations >= 3
        assert sum(entry.size for entry in scene.entries(manifest).values()) == SIZE
        assert store.requests["get"] <= PIECES + 3  # and one for each that was stopped


def test_an_object_that_changes_between_two_invocations_is_read_as_it_is_now() -> None:
    with scene_of(SMALL) as scene:
        store = with_large(scene, "large")
        backup = scene.begin()
        ending(scene, "stopped", 3)
        assert isinstance(scene.invoke(backup), Paused)
        begun = read_progress(scene.vault, "files", backup.id)
        assert [one.name for one in begun.begun] == ["a/large"]
        undisturbed(scene)
        store.put("a", "large", b"new" * PIECE_BYTES)

        made = scene.invoke(backup, begun)

        assert not isinstance(made, Paused)
        assert scene.bodies(made[0]) == store.bodies()
        # What was stored of the older object is in no pack that the backup names.
        old = {frame.pack for frame in begun.begun[0].frames}
        assert not old & {pack.key for pack in made[0].packs}


def test_an_object_that_is_deleted_between_two_invocations_is_not_in_the_backup() -> None:
    with scene_of(SMALL) as scene:
        store = with_large(scene, "large")
        backup = scene.begin()
        ending(scene, "stopped", 3)
        assert isinstance(scene.invoke(backup), Paused)
        undisturbed(scene)
        store.delete("a", "large")

        made = scene.invoke(backup, read_progress(scene.vault, "files", backup.id))

        assert not isinstance(made, Paused)
        assert scene.bodies(made[0]) == store.bodies()


def test_an_object_that_changes_while_a_later_invocation_reads_it_is_never_mixed() -> None:
    with scene_of({}) as scene:
        store = with_large(scene, "large")
        backup = scene.begin()
        ending(scene, "stopped", 3)
        assert isinstance(scene.invoke(backup), Paused)
        undisturbed(scene)
        first = store.requests["get"]

        def change(operation: str, call: Any, number: int) -> None:
            if operation == "get" and number == first + 2:
                store.put("a", "large", b"other" * PIECE_BYTES)

        store.before = change
        made = scene.invoke(backup, read_progress(scene.vault, "files", backup.id))

        assert not isinstance(made, Paused)
        assert scene.bodies(made[0]) == store.bodies()


def test_an_object_beyond_the_limit_is_named_and_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MOST_OBJECT_BYTES", SIZE - 1)
    with scene_of(SMALL) as scene:
        store = with_large(scene, "large")

        manifest = scene.backup()

        assert "the most that is backed up of one object" in manifest.exceptions[0]
        assert "'a/large'" in manifest.exceptions[0]
        bodies = store.bodies()
        del bodies["a/large"]
        assert scene.bodies(manifest) == bodies


def test_what_changed_little_is_not_stored_again_by_any_invocation() -> None:
    with scene_of({}) as scene:
        store = with_large(scene, "large")
        scene.backup()
        # Lists of entries have other names.
        packs = set((scene.root / "vault/v1/packs").rglob("*-????"))
        kept = store.buckets["a"]["large"]
        whole = kept.body(0, SIZE)
        store.put("a", "large", b"!" + whole[1:])

        manifest, invocations = until_done(scene, [1, 1])

        assert invocations >= 2
        new = set((scene.root / "vault/v1/packs").rglob("*-????")) - packs
        assert len(new) == 1
        assert scene.bodies(manifest) == store.bodies()


def test_a_piece_that_came_short_does_not_shift_what_the_next_invocation_reads() -> None:
    with scene_of(SMALL) as scene:
        store = with_large(scene, "large")
        cut: list[str] = []

        def shorten(call: Call, answer: Answer) -> Answer:
            said = f"bytes {PIECE_BYTES}-"
            if cut or call.key != "large" or not answer.headers.get("content-range", "").startswith(said):
                return answer
            cut.append(call.key)
            body = answer.body[: PIECE_BYTES // 2]
            headers = {**answer.headers, "content-range": f"{said}{PIECE_BYTES + len(body) - 1}/{SIZE}"}
            return Answer(answer.status, headers, body)

        store.change = shorten
        manifest, _ = until_done(scene, [5, 5])

        assert cut
        assert scene.bodies(manifest) == store.bodies()
