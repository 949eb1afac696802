"""Two verifications, a backup and a rotation at once: no mark of health over damage that is found meanwhile."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.synthetic import made_up_rows
from tests.unit.operations.conftest import NOW, Scene
from tests.unit.operations.verify.test_verify import EVERYTHING, NOTHING, Safe
from tests.unit.operations.verify.turns import Move, Task, Turns

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Status
from coffre.model.verification import VerificationReport
from coffre.operations.verify.inventory import inventory
from coffre.operations.verify.job import VerifyJob
from coffre.operations.verify.read_back import read_backup, read_target
from coffre.vault.damage import read_damage

LOOKS: dict[str, Callable[[Safe, Backup], VerificationReport]] = {
    "read one": lambda safe, backup: read_backup(safe.job(), backup.id),
    "read the new ones": lambda safe, _: read_target(safe.job(), "shop", NOTHING),
    "read a share": lambda safe, _: read_target(safe.job(), "shop", EVERYTHING),
    "read a part": lambda safe, backup: read_backup(_job_with_little_time(safe), backup.id),
    "inventory": lambda safe, _: inventory(safe.job(), EVERYTHING),
}


def _job_with_little_time(safe: Safe) -> VerifyJob:
    seconds = itertools.chain([900.0], itertools.repeat(10.0))
    return replace(safe.job(), remaining_seconds=lambda: next(seconds))


@dataclass
class Watcher:
    """Looks at every change of a backup's record, and remembers what each task could know when it began."""

    catalog: Catalog
    known: dict[str, dict[str, int]] = field(default_factory=dict)
    healed: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    turns: Turns | None = None

    def watch(self, scene: Scene, patch: pytest.MonkeyPatch) -> None:
        update = scene.catalog._table.update

        def watched(partition: str, sort: str, *arguments: Any) -> Any:
            before = self.catalog.get_backup(sort) if partition == "BACKUP" else None
            changed = update(partition, sort, *arguments)
            if before is not None:
                self._compare(before, self.catalog.get_backup(sort))
            return changed

        patch.setattr(scene.catalog._table, "update", watched)

    def beginning(self, name: str, task: Task) -> Task:
        def begin() -> Any:
            self.known[name] = {backup.id: backup.damage_count for backup in self.catalog.backups()}
            return task()

        return begin

    def _compare(self, before: Backup, after: Backup) -> None:
        if after.verified_at and after.damaged_at:
            self.wrong.append(f"{after.id} is verified and damaged")
        is_healed = before.damaged_at is not None and after.damaged_at is None
        is_marked = after.verified_at is not None and before.verified_at is None
        is_noted = after.read_until is not None and after.read_until != before.read_until
        name = (self.turns.running if self.turns else None) or ""
        if is_healed:
            self.healed.add(after.id)
        if (is_healed or is_marked or is_noted) and self.known[name].get(after.id, 0) != before.damage_count:
            self.wrong.append(f"{name}: damage of {after.id} was recorded after it had begun")


def _back_up(safe: Safe) -> Backup:
    return safe.backup(1, safe.scene.catalog.latest_completed("shop", damaged_too=True))


@dataclass
class World:
    """Two backups that share a pack, perhaps known to be damaged, and what happened to them."""

    safe: Safe
    shared: str
    newest: Backup
    watcher: Watcher

    @classmethod
    def begin(cls, scene: Scene, *, is_damaged: bool, is_mended: bool) -> World:
        safe = Safe(scene)
        scene.retention = {"minimum_verified": 0, "minimum_kept": 1}
        first = safe.backup(9)
        second = safe.backup(2, first, orders=made_up_rows(5, 80))
        (shared,) = safe.packs(first) & safe.packs(second)
        body = scene.store.get(shared)
        if is_damaged:
            safe.lose(shared)
            safe.inventory()
        if is_damaged and is_mended:
            safe.overwrite(shared, body)
        return cls(safe, shared, second, Watcher(Catalog("catalog")))

    def looks(self, *names: str) -> dict[str, Task]:
        """Return a task for each look, under its name and number."""
        return {f"{name} {number}": partial(LOOKS[name], self.safe, self.newest) for number, name in enumerate(names)}

    def run(self, tasks: dict[str, Task], order: Iterable[Move]) -> dict[str, Any]:
        """Run the tasks, among them the loss of the shared pack."""
        with pytest.MonkeyPatch.context() as patch:
            self.watcher.watch(self.safe.scene, patch)
            self.watcher.turns = Turns(self.safe.scene, patch)
            every: dict[str, Task] = {**tasks, "loss": partial(self.safe.lose, self.shared)}
            return self.watcher.turns.run(
                {name: self.watcher.beginning(name, task) for name, task in every.items()}, order
            )

    def require_right(self, results: dict[str, Any]) -> None:
        """Nothing was wiped, and what one of them found is recorded in the catalog and beside the backups."""
        assert self.watcher.wrong == []
        reports = [found for found in results.values() if isinstance(found, VerificationReport)]
        is_found = any(self.shared in one.packs for report in reports for one in report.damaged)
        for backup in self.safe.scene.catalog.backups(status=Status.COMPLETED):
            if backup.damaged_at is not None:
                facts = read_damage(self.safe.scene.vault, "shop", backup.id)
                assert facts is not None
                assert facts.packs == (self.shared,)
            elif is_found and self.shared in self.safe.packs(backup):
                assert backup.id in self.watcher.healed or backup.verified_at is None


@pytest.mark.parametrize(
    ("first", "second", "is_damaged"),
    [
        ("read one", "inventory", True),
        ("read a part", "inventory", True),
        ("read the new ones", "inventory", False),
        ("read a part", "read a share", False),
    ],
)
def test_a_look_that_ends_while_another_goes_on_is_not_wiped_by_it_at_any_step(
    new_scene: Callable[[], Scene], first: str, second: str, is_damaged: bool
) -> None:
    for steps in itertools.count():
        world = World.begin(new_scene(), is_damaged=is_damaged, is_mended=True)
        tasks = world.looks(first, second)
        one, other = tasks

        results = world.run(tasks, [*[one] * steps, "loss", *[other] * 200])

        world.require_right(results)
        assert world.safe.record(world.newest).damaged_at is not None, f"after {steps} steps"
        if world.watcher.turns is not None and steps > world.watcher.turns.steps[one]:
            return


def test_a_finding_stays_beside_the_backup_though_a_reading_heals_it_before_it_is_recorded(
    new_scene: Callable[[], Scene],
) -> None:
    for steps in range(6):
        world = World.begin(new_scene(), is_damaged=False, is_mended=False)
        body = world.safe.scene.store.get(world.shared)
        tasks = world.looks("read one", "inventory")
        reading, finder = tasks
        tasks["mending"] = partial(world.safe.overwrite, world.shared, body)
        # It has written down what it found; then the pack comes back, and is read whole
        found: list[Move] = ["loss", (finder, "put"), finder, (finder, "update"), "mending"]

        results = world.run(tasks, [*found, (reading, "update"), *[reading] * steps, *[finder] * 200])

        world.require_right(results)
        record = world.safe.record(world.newest)
        assert (record.damaged_at, record.verified_at) == (NOW, None), f"after {steps} steps"


def test_a_backup_that_is_completed_while_its_packs_are_found_damaged_is_marked_too(
    new_scene: Callable[[], Scene],
) -> None:
    for steps in itertools.count(2, 5):
        world = World.begin(new_scene(), is_damaged=False, is_mended=False)
        safe = world.safe
        safe.spoil_all(world.shared)
        tasks = world.looks("read a share")
        (reading,) = tasks
        tasks["backup"] = partial(_back_up, safe)

        results = world.run(tasks, [*[reading] * steps, *["backup"] * 200, *[reading] * 200])

        newest = results["backup"]
        is_bad = world.shared in safe.packs(newest)
        assert (safe.record(newest).damaged_at is not None) == is_bad, f"after {steps} steps"
        if world.watcher.turns is not None and steps > world.watcher.turns.steps[reading]:
            return


SEGMENT = st.tuples(st.integers(0, 4), st.integers(1, 12))


@given(
    segments=st.lists(SEGMENT, min_size=3, max_size=12),
    looks=st.tuples(st.sampled_from(sorted(LOOKS)), st.sampled_from(sorted(LOOKS))),
    is_damaged=st.booleans(),
    is_mended=st.booleans(),
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_no_order_of_steps_wipes_damage_that_was_recorded_after_a_look_began(
    new_scene: Callable[[], Scene],
    segments: Sequence[tuple[int, int]],
    looks: tuple[str, str],
    is_damaged: bool,
    is_mended: bool,
) -> None:
    world = World.begin(new_scene(), is_damaged=is_damaged, is_mended=is_mended)
    safe = world.safe
    tasks = world.looks(*looks)
    tasks["backup"] = partial(_back_up, safe)
    tasks["rotation"] = safe.scene.rotate
    names = [*tasks, "loss"]

    results = world.run(tasks, [names[number] for number, steps in segments for _ in range(steps)])

    assert isinstance(results["backup"], Backup), results["backup"]
    world.require_right(results)
