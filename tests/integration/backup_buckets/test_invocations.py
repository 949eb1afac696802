"""A backup of buckets in several invocations is the one that a single invocation would have taken."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.integration.capture_scene import Scene
from tests.memory_store import MemoryStore, directory_order, refusal

from coffre.model.backup import Backup
from coffre.model.errors import CoffreError, DeadlineError, StoreError, StoreTransientError
from coffre.model.manifest import Manifest
from coffre.operations.backup_buckets import plan as storage_plan
from coffre.operations.runs.run import Paused
from coffre.stores.s3_errors import Call
from coffre.vault.bucket_progress import BucketProgress, read_progress
from coffre.vault.codec import new_identity, public_key

KEYS = st.text(alphabet="ab-/.0", min_size=1, max_size=4)
BODIES = st.binary(max_size=6)
OBJECTS = st.dictionaries(st.tuples(st.sampled_from(["a", "a-b", "b"]), KEYS), BODIES, max_size=25)
# How an invocation ends, after how many reads: time is short, it is stopped in the middle, the store goes down.
ENDS = st.lists(st.tuples(st.sampled_from(["short", "stopped", "down"]), st.integers(1, 6)), min_size=1, max_size=6)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_plan, "_ITEMS", 3)
    monkeypatch.setattr(storage_plan, "_READ_OBJECTS", 2)


@contextmanager
def scene_of(objects: dict[tuple[str, str], bytes], **how: Any) -> Iterator[Scene]:
    with tempfile.TemporaryDirectory() as root:
        store = MemoryStore(page_size=4, **how)
        for bucket in ("a", "a-b", "b"):
            store.buckets[bucket] = {}
        for (bucket, key), body in objects.items():
            store.put(bucket, key, body)
        yield Scene(Path(root), store, {"buckets": [{"name": name} for name in ("b", "a-b", "a")]})


def ending(scene: Scene, how: str, after: int) -> None:
    """Let the next invocation end so."""
    store = scene.store
    assert isinstance(store, MemoryStore)
    time_left = [900.0]
    scene.remaining = lambda: time_left[0]
    first = store.requests["get"]

    def end(operation: str, call: Call, number: int) -> None:
        if operation != "get" or number - first < after:
            return
        if how == "short":
            time_left[0] = 100.0
        elif how == "stopped":
            store.stopping.set()
        else:
            raise refusal(503, "SlowDown")

    store.before = end


def undisturbed(scene: Scene) -> None:
    assert isinstance(scene.store, MemoryStore)
    scene.store.before = lambda *_: None
    scene.remaining = lambda: 900.0


def with_ends(scene: Scene, ends: list[tuple[str, int]]) -> tuple[Manifest, int]:
    """Take a backup whose invocations end so; one that stored nothing is repeated, as Lambda does."""
    backup = scene.begin()
    begun: BucketProgress | None = None
    for how, after in ends:
        ending(scene, how, after)
        try:
            made = scene.invoke(backup, begun)
        except (DeadlineError, StoreTransientError):
            continue
        if not isinstance(made, Paused):
            return made[0], made[0].storage.invocations
        begun = read_progress(scene.vault, "files", backup.id)
    undisturbed(scene)
    made = scene.invoke(backup, begun)
    assert not isinstance(made, Paused)
    return made[0], made[0].storage.invocations


def contents(scene: Scene, manifest: Manifest) -> dict[str, Any]:
    entries = scene.entries(manifest)
    return {name: (entry.size, entry.sha256, entry.object) for name, entry in entries.items()}


@pytest.mark.parametrize("order", [str, directory_order])
@given(before=OBJECTS, after=OBJECTS, ends=ENDS)
@settings(max_examples=25)
def test_any_number_of_invocations_and_any_border_give_the_same_backup(
    order: Any, before: dict[tuple[str, str], bytes], after: dict[tuple[str, str], bytes], ends: list[tuple[str, int]]
) -> None:
    with scene_of(before, order=order) as scene:
        scene.backup()
        first = scene.last
        for bucket in scene.store.buckets.values():  # type: ignore[union-attr]
            bucket.clear()
        for (bucket, key), body in after.items():
            scene.store.put(bucket, key, body)  # type: ignore[union-attr]
        whole = scene.backup()
        scene.last = first

        pieced, invocations = with_ends(scene, ends)

        assert contents(scene, pieced) == contents(scene, whole)
        assert scene.bodies(pieced) == scene.store.bodies()  # type: ignore[union-attr]
        counted = {"added", "changed", "removed", "objects", "unread", "previous"}
        assert pieced.storage.model_dump(include=counted) == whole.storage.model_dump(include=counted)
        assert sum(bucket.size for bucket in pieced.storage.buckets) == pieced.plaintext_bytes == whole.plaintext_bytes
        assert {bucket.name: bucket.objects for bucket in pieced.storage.buckets} == {
            bucket.name: bucket.objects for bucket in whole.storage.buckets
        }
        assert 1 <= invocations <= len(ends) + 1


def many(number: int) -> dict[tuple[str, str], bytes]:
    return {("a", f"{one:04}"): b"%d" % one for one in range(number)}


def test_a_run_goes_on_where_it_stopped() -> None:
    with scene_of(many(60)) as scene:
        scene.workers = 1
        ending(scene, "short", 20)
        backup = scene.begin()

        assert isinstance(scene.invoke(backup), Paused)

        begun = read_progress(scene.vault, "files", backup.id)
        assert (begun.invocations, scene.went_on) == (1, [1])
        assert 10 <= begun.counts.objects["a"] < 60
        read = scene.store.requests["get"]
        undisturbed(scene)
        made = scene.invoke(backup, begun)
        assert not isinstance(made, Paused)
        assert scene.store.requests["get"] == 60  # nothing is read twice
        assert read == begun.counts.objects["a"]
        assert made[0].storage.requests["get"] >= 60
        assert [file.first for file in made[0].entries] == ["a/0000", f"a/{begun.counts.objects['a']:04}"]


def test_keys_that_change_between_invocations_end_the_run() -> None:
    with scene_of(many(60)) as scene:
        scene.workers = 1
        ending(scene, "short", 20)
        backup = scene.begin()
        assert isinstance(scene.invoke(backup), Paused)
        undisturbed(scene)

        # Half of it would be for keys that the manifest does not name
        scene.recipients = (public_key(new_identity()),)
        with pytest.raises(StoreError, match="the keys of the target files were changed") as caught:
            scene.invoke(backup, read_progress(scene.vault, "files", backup.id))

        assert caught.value.code == "SOURCE_CHANGED"


def test_an_invocation_that_stores_nothing_is_an_end() -> None:
    with scene_of(many(10)) as scene:
        ending(scene, "stopped", 1)

        with pytest.raises(DeadlineError) as stopped:
            scene.invoke(scene.begin())

        assert "buckets[].exclude" in (stopped.value.hint or "")
        assert not list((scene.root / "vault").rglob("progress.json"))


def test_the_number_of_invocations_is_bounded() -> None:
    with scene_of(many(60)) as scene:
        scene.document["limits"] = {"invocations": 2}
        backup = scene.begin()
        ending(scene, "short", 5)
        assert isinstance(scene.invoke(backup), Paused)
        ending(scene, "short", 5)

        with pytest.raises(DeadlineError) as exhausted:
            scene.invoke(backup, read_progress(scene.vault, "files", backup.id))

        assert exhausted.value.code == "INVOCATIONS_EXHAUSTED"
        assert "limits.invocations" in (exhausted.value.hint or "")


def test_exceptions_of_every_invocation_are_told() -> None:
    with scene_of(many(40)) as scene:
        ending(scene, "short", 10)
        end = scene.store.before  # type: ignore[union-attr]

        def refuse(operation: str, call: Call, number: int) -> None:
            if operation == "get" and call.key in {"0001", "0035"}:
                raise refusal(403, "InvalidObjectState")
            end(operation, call, number)

        scene.store.before = refuse  # type: ignore[union-attr]
        backup = scene.begin()
        assert isinstance(scene.invoke(backup), Paused)
        scene.remaining = lambda: 900.0
        made = scene.invoke(backup, read_progress(scene.vault, "files", backup.id))

        assert not isinstance(made, Paused)
        (text,) = made[0].exceptions
        assert text.startswith("2 objects of a are not in this backup: ")
        assert text.endswith("They are 'a/0001', 'a/0035'.")
        assert made[0].storage.unread == 2


def test_a_progress_that_is_gone_is_an_error_that_says_so() -> None:
    with scene_of(many(1)) as scene, pytest.raises(CoffreError) as lost:
        read_progress(scene.vault, "files", "01K9X000000000000000000000")

    assert lost.value.code == "PROGRESS_MISSING"


def test_objects_that_come_before_the_border_meanwhile_wait_for_the_next_backup() -> None:
    with scene_of(many(40)) as scene:
        ending(scene, "short", 10)
        backup: Backup = scene.begin()
        assert isinstance(scene.invoke(backup), Paused)
        undisturbed(scene)
        scene.store.put("a", "0000-late", b"late")  # type: ignore[union-attr]

        made = scene.invoke(backup, read_progress(scene.vault, "files", backup.id))

        assert not isinstance(made, Paused)
        assert "a/0000-late" not in scene.entries(made[0])
        assert made[0].storage.objects == 40
