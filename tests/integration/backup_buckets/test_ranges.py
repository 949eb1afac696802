"""A backup that several functions take by ranges of names is the one that a single function would have taken."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.integration.backup_buckets.test_invocations import contents, ending, scene_of, undisturbed
from tests.integration.backup_buckets.test_large_objects import SIZE
from tests.integration.capture_scene import Scene
from tests.memory_store import MemoryStore, directory_order, refusal

from coffre.buckets.reader import PIECE_BYTES
from coffre.catalog.catalog import Catalog
from coffre.model.audit import Actor
from coffre.model.backup import Backup
from coffre.model.errors import DeadlineError, IntegrityError, StoreError
from coffre.model.manifest import Manifest
from coffre.operations.backup_buckets import job as jobs
from coffre.operations.backup_buckets import plan as storage_plan
from coffre.operations.backup_buckets.job import BucketBackupJob
from coffre.operations.backup_buckets.spread.begin import RangesBeginning, begin_ranges
from coffre.operations.backup_buckets.spread.gather import gather, plan_round, seal_gathered
from coffre.operations.backup_buckets.spread.plan_files import (
    RangesHeader,
    StoredFile,
    read_header,
    read_ranges,
    round_of,
)
from coffre.operations.backup_buckets.spread.step import RangeStep
from coffre.operations.backup_buckets.spread.work import RangeWork
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.run import Run, Spread
from coffre.policy import ranges as policy
from coffre.stores.store import put_small
from coffre.vault import entry_files
from coffre.vault.entry_files import Cut
from coffre.vault.part_records import HISTORY_FROM

FAULTS = ("", "", "killed", "unrecorded", "late", "doubled", "short")


class Killed(BaseException):
    """The platform ends a function: nothing of it runs any more."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_plan, "_ITEMS", 3)
    monkeypatch.setattr(storage_plan, "_READ_OBJECTS", 2)
    monkeypatch.setattr(policy, "_LEAST_OBJECTS", 2)
    monkeypatch.setattr(entry_files, "Cut", partial(Cut, least=2, one_in=3))


@dataclass
class Players:
    """Plays the state machine: rounds of workers in any order, with faults, until the seal."""

    scene: Scene
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    faults: tuple[str, ...] = ("",)
    known: dict[int, str] = field(default_factory=dict)
    late: dict[int, str] = field(default_factory=dict)
    history: dict[int, str] = field(default_factory=dict)
    started: list[StoredFile] = field(default_factory=list)
    rounds: int = 0
    width: int = 2
    happened: set[str] = field(default_factory=set)
    fault: str = ""

    @property
    def catalog(self) -> Catalog:
        parts = SimpleNamespace(of=lambda _: {**self.known, **self.history}, add=self._add)
        spread = SimpleNamespace(put_group=lambda *_: None)
        return cast("Catalog", SimpleNamespace(parts=parts, spread=spread, spread_backup=lambda *_: None))

    def _add(self, _: str, number: int, sha256: str, __: datetime) -> None:
        if number >= HISTORY_FROM:  # for the next run
            self.history[number] = sha256
            return
        if self.fault == "unrecorded":
            raise Killed
        if self.fault == "late":  # it is paused right here, and taken for dead
            self.late[number] = sha256
            raise Killed
        self.known[number] = sha256

    def hand_over(self, job: BucketBackupJob, run: Run, progress: Any) -> Spread | None:
        start = lambda _target, _id, stored, _width: self.started.append(stored)  # noqa: E731
        return begin_ranges(RangesBeginning(self.width, self.catalog, start, Actor("me")), job, run, progress, "a test")

    def play(self, backup: Backup) -> Manifest:
        """Do all steps of a run that was handed over."""
        header = read_header(self.scene.vault, "files", backup.id, self.started[-1].sha256)
        ranges: StoredFile | None = None
        while True:
            job = replace(self.scene.job(), previous=self.scene.last)
            gathered = gather(job, backup.id, self.catalog.parts.of(backup.id))
            if not gathered.rests:
                break
            self.rounds += 1
            assert self.rounds < 40
            ranges = plan_round(
                job, header, gathered, after_round=round_of(ranges.key if ranges else None), meter=Meter()
            )
            self._map(backup, header, ranges)
        with self._watch(job) as watch:
            run = Run(backup, Meter(), watch, lambda: backup.tiers, lambda _: None)
            return seal_gathered(job, header, gathered, run)[0]

    def _map(self, backup: Backup, header: RangesHeader, ranges: StoredFile) -> None:
        lines = read_ranges(self.scene.vault, ranges.key, ranges.sha256)
        names = list(self.scene.store.bodies())  # type: ignore[union-attr]
        assert [line.before for line in lines] == [sum(name <= line.after for name in names) for line in lines]
        waiting = [line.group for line in lines]
        self.chance.shuffle(waiting)
        earlier, self.late = self.late, {}
        for number in waiting:
            for _ in range(5):
                self.fault = self.chance.choice(self.faults)
                self.happened.add(self.fault)
                try:
                    self._work(backup, header, ranges, number)
                    if self.fault != "doubled":
                        break
                except (Killed, DeadlineError):
                    continue
            self.fault = ""
            undisturbed(self.scene)
        self.known |= earlier  # a worker of the round before wakes up

    def _work(self, backup: Backup, header: RangesHeader, ranges: StoredFile, number: int) -> None:
        undisturbed(self.scene)
        if self.fault == "killed":
            self.scene.store.before = self._kill  # type: ignore[union-attr]
        if self.fault == "short":
            ending(self.scene, "short", self.chance.randrange(1, 4))
        job = replace(self.scene.job(), previous=self.scene.last)
        step = RangeStep(job, header, backup, self.catalog, "attempt")
        work = RangeWork(step, read_ranges(job.vault, ranges.key, ranges.sha256), number, seconds=900)
        with self._watch(job) as watch:
            work.work(watch)

    def _kill(self, operation: str, *_: Any) -> None:
        if operation == "get":
            raise Killed

    def _watch(self, job: BucketBackupJob) -> Watch:
        return Watch(Meter(), beat=lambda _: None, remaining_seconds=lambda: 900.0, stop=job.reader.stopping.set)


def spread(scene: Scene, **how: Any) -> tuple[Manifest, Players]:
    """Take a backup that is spread from its beginning."""
    players, backup = Players(scene, **how), scene.begin()
    scene.spread = players.hand_over
    scene.hand_over(backup)
    return players.play(backup), players


KEYS = st.tuples(st.sampled_from(["a", "a-b", "b"]), st.text(alphabet="ab-/.0", min_size=1, max_size=4))
OBJECTS = st.dictionaries(KEYS, st.binary(max_size=6), max_size=25)


@given(before=OBJECTS, after=OBJECTS, seed=st.integers(0, 2**32))
@settings(max_examples=10)
def test_killed_doubled_and_late_workers_give_what_one_function_gives(
    before: dict[tuple[str, str], bytes], after: dict[tuple[str, str], bytes], seed: int
) -> None:
    with scene_of(before) as scene:
        scene.backup()
        first = scene.last
        for bucket in scene.store.buckets.values():  # type: ignore[union-attr]
            bucket.clear()
        for (bucket, key), body in after.items():
            scene.store.put(bucket, key, body)  # type: ignore[union-attr]
        whole = scene.backup()
        scene.last = first

        made, _ = spread(scene, chance=random.Random(seed), faults=FAULTS)

        assert contents(scene, made) == contents(scene, whole)
        assert scene.bodies(made) == scene.store.bodies()  # type: ignore[union-attr]
        counted = {"added", "changed", "removed", "objects", "unread", "previous", "buckets", "compare_turn"}
        assert made.storage.model_dump(include=counted) == whole.storage.model_dump(include=counted)
        assert made.notes == whole.notes
        assert {pack.key for pack in made.packs} >= {
            frame.pack for entry in scene.entries(made).values() for frame in entry.frames
        }


def test_ranges_make_no_more_lists_of_names_that_are_all_borders_than_one_function_and_one_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(entry_files, "Cut", partial(Cut, least=1, one_in=1, growth=4))
    with scene_of({("a", f"{number:03}"): b"%d" % number for number in range(120)}) as scene:
        whole = scene.backup()
        scene.last = None

        made, players = spread(scene)

        assert contents(scene, made) == contents(scene, whole)
        assert len(whole.entries) < 30
        assert len(players.known) > 4
        assert len(made.entries) <= len(whole.entries) + len(players.known)


def test_the_rest_of_a_function_is_divided_with_the_object_in_whose_middle_it_stopped(
    monkeypatch: pytest.MonkeyPatch, copydata: object
) -> None:
    monkeypatch.setattr(jobs, "LARGE_BYTES", 2 * PIECE_BYTES)
    with scene_of({("a", f"{number:02}"): b"%d" % number for number in range(30)}) as scene:
        assert isinstance(scene.store, MemoryStore)
        scene.document["limits"] = {"streams": 1}
        scene.workers = 1
        scene.store.put_huge("a", "05-large", SIZE)
        players = Players(scene)
        scene.spread = lambda job, run, progress: players.hand_over(job, run, progress) if progress else None
        backup = scene.begin()
        ending(scene, "stopped", 9)
        scene.hand_over(backup)
        undisturbed(scene)
        before = scene.store.requests["get"]

        made = players.play(backup)

        assert scene.bodies(made) == scene.store.bodies()
        assert made.storage.invocations == len(players.known) + 1
        # The six small ones before it, and the pieces that were read, are not read again.
        assert scene.store.requests["get"] - before < 24 + 5


def test_what_is_not_as_it_was_written_publishes_nothing() -> None:
    objects = {("a", f"{number:02}"): b"%d" % number for number in range(8)}
    with scene_of(objects) as scene:
        players, backup = Players(scene), scene.begin()
        scene.spread = players.hand_over
        scene.hand_over(backup)
        sha256 = players.started[-1].sha256
        players.play(backup)
        job, number = scene.job(), max(players.known)

        for others, code in (
            ({**players.known, number: "0" * 64}, "PART_SWAPPED"),
            ({**players.known, 777: "0" * 64}, "PART_MISSING"),
        ):
            with pytest.raises(IntegrityError) as caught:
                gather(job, backup.id, others)
            assert caught.value.code == code
        with pytest.raises(IntegrityError) as caught:
            gather(replace(job, recipients=("age1other",)), backup.id, players.known)
        assert caught.value.code == "PART_DAMAGED"
        put_small(job.vault.store, f"v1/backups/files/{backup.id}/plan/plan.json", b"{}")
        for key, hash_, code in (
            (f"v1/backups/files/{backup.id}/plan/ranges-000001.jsonl", "0" * 64, "PLAN_CHANGED"),
            (f"v1/backups/files/{backup.id}/plan/ranges-000009.jsonl", "0" * 64, "PLAN_MISSING"),
        ):
            with pytest.raises(IntegrityError) as caught:
                read_ranges(job.vault, key, hash_)
            assert caught.value.code == code
        with pytest.raises(IntegrityError) as caught:
            read_header(job.vault, "files", backup.id, sha256)
        assert caught.value.code == "PLAN_CHANGED"


def test_a_store_that_does_not_sort_and_a_bucket_that_may_not_be_read_are_refused() -> None:
    objects = {("a", key): b"1" for key in ("x/1", "x/2", "x-1", "x-2", *(f"y{number:02}" for number in range(20)))}
    with scene_of(objects, order=directory_order) as scene:
        with pytest.raises(StoreError) as caught:
            spread(scene)
        assert caught.value.code == "LISTING_UNSORTED"
        assert "limits.spread" in str(caught.value.hint)

        # One function has seen that, and gives its rest to the next one.
        scene.spread = lambda _job, _run, _progress: pytest.fail("it was divided") if _progress else None
        scene.workers = 1
        ending(scene, "short", 1)
        scene.invoke(scene.begin())
        assert scene.went_on == [1]
    with scene_of({("a", f"{number:02}"): b"1" for number in range(8)}) as scene:
        players, backup = Players(scene), scene.begin()
        scene.spread = players.hand_over
        scene.hand_over(backup)

        def deny(operation: str, *_: Any) -> None:
            if operation == "get":
                raise refusal(403, "AccessDenied")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scene.store, "before", deny)
            patch.setattr(f"{__name__}.undisturbed", lambda _: None)
            with pytest.raises(StoreError) as caught:
                players.play(backup)
        assert caught.value.code == "STORE_DENIED"
        assert "None of 8 objects of the bucket a could be read" in caught.value.message
