"""Object Lock over the life of backups: locks as long as needed, rotation that waits, and few requests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.operations.conftest import Scene
from tests.unit.operations.locked_scene import LockedScene
from ulid import ULID

from coffre.model.audit import Anchor
from coffre.model.backup import Backup, Failure, Status, Tier
from coffre.model.errors import BackupStateError, ConfigurationError, StoreError
from coffre.model.locks import Lock, LockMode, LockProgress
from coffre.operations.admin.pin_and_delete import BackupAdmin
from coffre.operations.rotate import extend_locks
from coffre.operations.rotate.hold import hold, release
from coffre.policy.locking import least_until
from coffre.stores.store import put_small
from coffre.vault.audit_anchors import write_anchor

NEVER = datetime.min.replace(tzinfo=UTC)
DAILY, WEEKLY, MONTHLY, MANUAL = Tier.DAILY, Tier.WEEKLY, Tier.MONTHLY, Tier.MANUAL


@pytest.fixture
def vault(scene: Scene) -> LockedScene:
    return LockedScene.of(scene)


def ends(vault: LockedScene, backup: Backup) -> set[datetime]:
    """Return the ends of the locks of everything that a backup refers to."""
    locks = [vault.store.locks[key].lock for key in vault.needs(backup)]
    return {lock.until for lock in locks if lock is not None} | ({NEVER} if None in locks else set())


def day(month: int, number: int, year: int = 2026) -> datetime:
    return datetime(year, month, number, tzinfo=UTC)


# --- backups ---


def test_everything_of_a_backup_is_locked_as_long_as_its_longest_tier(vault: LockedScene) -> None:
    backup = vault.take(DAILY, WEEKLY, own=3)

    assert ends(vault, backup) == {day(12, 21)}
    assert vault.record(backup).locked_until == day(12, 21)


def test_a_daily_backup_asks_for_no_lock_of_its_packs_twice(vault: LockedScene) -> None:
    vault.take(DAILY, own=5)

    assert vault.store.requests["extend_lock"] == 1  # its list of entries
    assert vault.store.requests["lock_of"] == 0


def test_packs_that_are_locked_for_longer_are_not_asked_about(vault: LockedScene) -> None:
    monthly = vault.take(MONTHLY, own=50)
    before = vault.store.requests.copy()
    vault.later(days=1)

    daily = vault.take(DAILY, previous=monthly)

    assert vault.store.requests - before == {"extend_lock": 1}
    assert ends(vault, daily) == {day(11, 23, 2027), day(12, 1)}


def test_a_reused_pack_is_locked_for_the_longer_tier_before_the_manifest_is_written(vault: LockedScene) -> None:
    daily = vault.take(DAILY)
    vault.later(days=1)
    weekly = vault.take(WEEKLY, previous=daily)

    assert ends(vault, weekly) == {day(12, 22)}
    assert day(11, 30) in ends(vault, daily)  # its own records


def test_a_tier_that_joins_while_the_backup_is_taken_counts(vault: LockedScene) -> None:
    begun = vault.begin(DAILY)

    def join(request: str, key: str) -> None:
        vault.scene.catalog.add_tier(begun.id, WEEKLY)

    vault.store.refuse = join

    backup = vault.finish(begun)

    assert backup.tiers == (DAILY, WEEKLY)
    assert ends(vault, backup) == {day(12, 21)}


@pytest.mark.parametrize("after", range(4))
def test_a_lock_that_is_refused_midway_publishes_nothing(vault: LockedScene, after: int) -> None:
    first = vault.take(DAILY, own=3)
    vault.later(days=1)
    begun, asked = vault.begin(WEEKLY), []

    def refuse(request: str, key: str) -> None:
        asked.append(key)
        if len(asked) > after:
            raise StoreError("s3:PutObjectRetention was denied.", code="STORE_THROTTLED")

    vault.store.refuse = refuse
    with pytest.raises(StoreError):
        vault.finish(begun, first)

    assert vault.scene.vault.find_manifest("shop", begun.id) is None
    assert vault.record(begun).status is Status.IN_PROGRESS
    assert min(ends(vault, first)) >= day(11, 30)


def test_what_a_failed_monthly_run_stored_is_locked_for_a_week_and_not_for_a_year(vault: LockedScene) -> None:
    begun = vault.begin(MONTHLY)
    vault.store.refuse = lambda request, key: (_ for _ in ()).throw(StoreError("no", code="STORE_FAILED"))
    with pytest.raises(StoreError):
        vault.finish(begun, own=2)

    assert {state.lock.until for state in vault.store.locks.values() if state.lock} == {day(11, 30)}


def test_a_bucket_without_locks_is_refused_before_anything_is_stored(vault: LockedScene) -> None:
    vault.store.has_locks = False
    with pytest.raises(StoreError) as refused:
        vault.take(DAILY)

    assert refused.value.code == "LOCKS_OFF"
    assert vault.scene.objects() == set()


def test_a_retention_that_the_stack_does_not_allow_is_refused_before_anything_is_stored(vault: LockedScene) -> None:
    vault.scene.retention = {"monthly_days": 500}
    with pytest.raises(ConfigurationError, match="monthly_days"):
        vault.take(DAILY)
    vault.scene.retention = {}
    with pytest.raises(StoreError) as refused:
        vault.take(MANUAL, expires_at=vault.scene.now + timedelta(days=500))

    assert refused.value.code == "LOCK_LIMIT"
    assert vault.scene.objects() == set()


def test_after_a_change_of_the_mode_everything_is_stored_again(vault: LockedScene) -> None:
    governed = vault.take(DAILY)
    vault.turn_on(LockMode.COMPLIANCE)
    vault.later(days=1)

    stored = vault.take(DAILY, previous=governed)

    assert not set(vault.needs(governed)) & set(vault.needs(stored))
    modes = {state.lock.mode for key in vault.needs(stored) if (state := vault.store.locks[key]).lock}
    assert modes == {LockMode.COMPLIANCE}


def test_a_pack_that_rotation_locked_for_longer_than_its_manifest_says_is_no_obstacle(vault: LockedScene) -> None:
    first = vault.take(DAILY)
    vault.scene.catalog.keeping.pin(first.id, vault.scene.now)
    vault.scene.rotate()
    vault.later(days=1)
    before = vault.store.requests.copy()

    second = vault.take(DAILY, previous=first)
    vault.later(days=1)
    asked = vault.store.requests.copy()
    third = vault.take(DAILY, previous=second)

    assert day(12, 23) in ends(vault, second)
    assert day(12, 23) in ends(vault, third)
    assert asked - before == {"extend_lock": 2, "lock_of": 1}
    assert vault.store.requests - asked == {"extend_lock": 2}  # the second's own pack, and the list of entries


# --- rotation ---


def test_rotation_waits_for_a_lock_and_says_until_when(vault: LockedScene) -> None:
    vault.scene.retention = {"daily_days": 20}
    old = vault.take(DAILY)
    vault.scene.retention = {"daily_days": 3}
    for _ in range(2):
        vault.later(days=5)
        vault.take(DAILY)

    report = vault.scene.rotate(dry_run=True)
    waiting = next(one for one in report.decisions if one.backup_id == old.id)

    assert waiting.held_back
    assert waiting.waits_until == day(12, 13)
    assert "locked until 2026-12-13 00:00 UTC" in waiting.reason
    assert vault.deleted(vault.scene.rotate()) == set()
    assert vault.record(old).status is Status.COMPLETED

    vault.later(days=12)
    vault.take(DAILY)
    assert old.id in vault.deleted(vault.scene.rotate())
    assert vault.scene.objects_of(old) == set()


def test_the_limit_of_bytes_does_not_remove_what_is_locked(vault: LockedScene) -> None:
    backups = [vault.take(DAILY)]
    for _ in range(4):
        vault.later(hours=1)
        backups.append(vault.take(DAILY))
    vault.scene.retention = {"maximum_bytes": 1}

    assert vault.deleted(vault.scene.rotate()) == set()


def test_a_failed_runs_objects_wait_for_their_locks(vault: LockedScene) -> None:
    begun = vault.begin(WEEKLY)
    vault.store.refuse = lambda request, key: (_ for _ in ()).throw(StoreError("no", code="STORE_FAILED"))
    with pytest.raises(StoreError):
        vault.finish(begun)
    vault.store.refuse = lambda request, key: None
    vault.scene.catalog.fail_backup(begun.id, Failure(code="STORE_FAILED", message="no"), vault.scene.now)
    vault.later(days=2)

    swept = vault.scene.rotate().sweep
    assert swept is not None
    assert swept.packs_removed.objects == 0
    assert swept.waiting.objects == 1
    assert any("locked until 2026-11-30 00:00 UTC" in reason for reason in swept.waits)

    vault.later(days=7)
    vault.scene.rotate()
    assert vault.scene.objects() == set()


def test_a_tier_that_joined_later_and_a_pin_are_locked_by_the_next_rotation(vault: LockedScene) -> None:
    joined, pinned = vault.take(DAILY), vault.take(DAILY)
    vault.scene.catalog.add_tier(joined.id, MONTHLY)
    vault.scene.catalog.keeping.pin(pinned.id, vault.scene.now)

    planned = vault.scene.rotate(dry_run=True).locks
    assert day(11, 30) in ends(vault, joined)
    done = vault.scene.rotate().locks

    assert planned == done
    assert done is not None
    assert (done.backups, done.objects) == (2, 6)
    assert ends(vault, joined) == {day(11, 23, 2027)}
    assert ends(vault, pinned) == {day(12, 23)}
    again = vault.scene.rotate().locks
    assert again is not None
    assert again.objects == 0


def test_what_was_stored_before_object_lock_is_locked_by_the_next_rotation(scene: Scene) -> None:
    before = scene.backup(1, own=2)
    vault = LockedScene.of(scene)

    vault.scene.rotate()

    assert ends(vault, before) == {day(11, 29)}
    assert vault.record(before).locked_until == day(11, 29)


def test_an_extension_that_takes_longer_than_a_rotation_continues_in_the_next(
    vault: LockedScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extend_locks, "_BATCH", 3)
    backup = vault.take(DAILY, own=9)
    vault.scene.catalog.keeping.pin(backup.id, vault.scene.now)
    asked = vault.store.requests["extend_lock"]
    vault.scene.remaining_seconds = lambda: 900.0 if vault.store.requests["extend_lock"] < asked + 6 else 200.0

    first = vault.scene.rotate()
    assert first.locks is not None
    assert first.locks.objects == 6
    assert first.sweep is not None
    assert vault.record(backup).locked_until == day(11, 30)
    assert vault.record(backup).lock_progress == LockProgress(until=day(12, 23), done=6)

    vault.scene.remaining_seconds = lambda: 900.0
    vault.later(days=1)
    second = vault.scene.rotate()
    assert second.locks is not None
    assert second.locks.objects == 5
    assert vault.record(backup).locked_until == day(12, 23)
    assert vault.record(backup).lock_progress is None
    assert ends(vault, backup) == {day(12, 23)}


def test_a_lock_that_cannot_be_extended_is_a_problem_and_stops_nothing_else(vault: LockedScene) -> None:
    first, second = vault.take(DAILY), vault.take(DAILY)
    for backup in (first, second):
        vault.scene.catalog.add_tier(backup.id, WEEKLY)

    def refuse(request: str, key: str) -> None:
        if first.id in key:
            raise StoreError("s3:PutObjectRetention was denied.", code="STORE_DENIED")

    vault.store.refuse = refuse
    report = vault.scene.rotate()

    assert [(one.code, one.target) for one in report.problems] == [("LOCK_NOT_EXTENDED", "shop")]
    assert first.id in report.problems[0].text
    assert vault.record(first).locked_until == day(11, 30)
    assert ends(vault, second) == {day(12, 21)}


@pytest.mark.parametrize("how", ["missing", "refused"])
def test_an_object_that_cannot_be_locked_stops_no_other_and_every_backup_that_names_it_is_reported(
    vault: LockedScene, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(extend_locks, "_BATCH", 2)
    first = vault.take(DAILY, own=4)
    with_it = vault.take(DAILY, previous=first)
    after = vault.take(DAILY, own=3)
    for backup, tier in ((first, MONTHLY), (with_it, WEEKLY), (after, WEEKLY)):
        vault.scene.catalog.add_tier(backup.id, tier)
    lost = sorted(key for key in vault.needs(first) if "/packs/" in key)[1]
    body = vault.scene.store.get(lost)
    refuse = vault.store.refuse

    def fail(request: str, key: str) -> None:
        if key == lost:
            raise StoreError(f"s3:PutObjectRetention of {key} was denied.", code="STORE_DENIED")

    if how == "refused":
        vault.store.refuse = fail
    else:
        (vault.scene.root / lost).unlink()  # a delete marker, of which the lock knows nothing
    report = vault.scene.rotate()

    problems = [one for one in report.problems if one.code == "LOCK_NOT_EXTENDED"]
    assert [one.text.split()[4] for one in problems] == [first.id, with_it.id]
    assert all(lost in one.text for one in problems)
    assert {vault.record(one).locked_until for one in (first, with_it)} == {day(11, 30)}
    assert vault.record(after).locked_until == day(12, 21)
    assert ends(vault, after) == {day(12, 21)}
    locked = {key: state.lock.until for key, state in vault.store.locks.items() if state.lock}
    assert {locked[key] for key in {*vault.needs(first)} - {lost}} == {day(11, 23, 2027)}
    assert {locked[key] for key in {*vault.needs(with_it)} - {*vault.needs(first)}} == {day(12, 21)}

    # When it is there again, the next rotation does the rest.
    vault.store.refuse = refuse
    if how == "missing":
        put_small(vault.scene.store, lost, body)
    assert vault.scene.rotate().problems == ()
    assert ends(vault, first) == {day(11, 23, 2027)}
    assert ends(vault, with_it) == {day(11, 23, 2027), day(12, 21)}
    assert vault.record(with_it).locked_until == day(12, 21)


def test_a_large_backup_with_a_lasting_refusal_reaches_its_end_over_several_rotations(
    vault: LockedScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extend_locks, "_BATCH", 3)
    backup = vault.take(DAILY, own=12)  # 14 objects, five batches
    vault.scene.catalog.keeping.pin(backup.id, vault.scene.now)
    denied = sorted(key for key in vault.needs(backup) if "/packs/" in key)[2]
    refuse, asked = vault.store.refuse, vault.store.requests.copy()

    def deny(request: str, key: str) -> None:
        if key == denied:
            raise StoreError(f"{request} of {key} was denied.", code="STORE_DENIED")

    def rotate(requests: int) -> tuple[list[str], int]:
        """Rotate with the time for this many requests; return the problems and the number of requests."""
        nonlocal asked
        asked = vault.store.requests.copy()
        limit = asked["extend_lock"] + requests
        vault.scene.remaining_seconds = lambda: 900.0 if vault.store.requests["extend_lock"] < limit else 200.0
        found = [one.code for one in vault.scene.rotate().problems]
        vault.later(days=1)
        return found, vault.store.requests["extend_lock"] - asked["extend_lock"]

    until = day(12, 23)
    vault.store.refuse = deny
    # The first rotation is refused one object, and the next ones go on behind it.
    assert rotate(6) == (["LOCK_NOT_EXTENDED"], 6)
    assert vault.record(backup).lock_progress == LockProgress(until=until, done=6, refused=(3,))
    assert rotate(6) == ([], 6)
    assert vault.record(backup).lock_progress == LockProgress(until=until, done=12, refused=(3,))
    assert rotate(100) == (["LOCK_NOT_EXTENDED"], 2 + 3)
    assert rotate(100) == (["LOCK_NOT_EXTENDED"], 3)
    assert vault.record(backup).lock_progress == LockProgress(until=until, done=14, refused=(3,))
    assert vault.record(backup).locked_until == day(11, 30)
    ended = {key: state.lock.until for key, state in vault.store.locks.items() if state.lock}
    assert {key for key in vault.needs(backup) if ended[key] != until} == {denied}

    vault.store.refuse = refuse
    assert rotate(100) == ([], 3)
    assert (vault.record(backup).locked_until, vault.record(backup).lock_progress) == (until, None)
    assert ends(vault, backup) == {until}


def test_a_locked_backup_cannot_be_deleted_by_hand(vault: LockedScene) -> None:
    vault.take(DAILY)
    locked = vault.take(DAILY)
    admin = BackupAdmin(vault.scene.catalog, vault.scene.vault, "ada", vault.scene.now)

    with pytest.raises(BackupStateError, match="locked until 2026-11-30 00:00 UTC") as refused:
        admin.delete(locked.id, force=True)
    assert refused.value.code == "BACKUP_LOCKED"
    with pytest.raises(BackupStateError) as changed:  # nor by a rotation that saw it without its lock
        vault.scene.catalog.keeping.delete(locked, "because", vault.scene.now)
    assert changed.value.code == "BACKUP_CHANGED"


# --- every history ---

STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("take"),
            st.sets(st.sampled_from([DAILY, WEEKLY, MONTHLY, MANUAL]), min_size=1, max_size=2),
            st.booleans(),
        ),
        st.tuples(st.just("later"), st.integers(1, 40)),
        st.tuples(st.just("join"), st.integers(0, 9), st.sampled_from([WEEKLY, MONTHLY])),
        st.tuples(st.sampled_from(["pin", "unpin", "hold", "release"]), st.integers(0, 9)),
        st.tuples(st.just("retention"), st.integers(1, 60)),
        st.just(("rotate",)),
    ),
    max_size=14,
)


def play(vault: LockedScene, step: tuple[object, ...]) -> None:
    catalog, now = vault.scene.catalog, vault.scene.now
    living = [one for one in catalog.backups() if one.status is Status.COMPLETED]
    match step:
        case ("take", set() as tiers, bool(reuse)):
            vault.take(*sorted(tiers), previous=catalog.latest_completed("shop") if reuse else None)
        case ("later", int(days)):
            vault.later(days=days)
        case ("retention", int(days)):
            vault.scene.retention = {"daily_days": days, "minimum_kept": 1, "minimum_verified": 1}
        case ("rotate",):
            vault.scene.rotate()
        case (str(what), int(number), *rest) if living:
            backup = living[number % len(living)]
            match what:
                case "join":
                    catalog.add_tier(backup.id, Tier(str(rest[0])))
                case "pin":
                    catalog.keeping.pin(backup.id, now)
                case "unpin":
                    catalog.keeping.unpin(backup.id)
                case "hold":
                    hold(vault.hold_job(), backup.id, None)
                case "release":
                    release(vault.hold_job(), backup.id)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(STEPS)
def test_after_every_history_each_object_is_locked_as_long_as_any_backup_needs_it(
    new_scene: Callable[[], Scene], steps: list[tuple[object, ...]]
) -> None:
    vault = LockedScene.of(new_scene())
    for step in [*steps, ("rotate",)]:
        play(vault, step)  # the store refuses to delete what is locked

    now, retention = vault.scene.now, vault.target.retention
    for backup in vault.scene.catalog.backups():
        if backup.status is not Status.COMPLETED:
            continue
        needed = least_until(backup, retention, now)
        for key in vault.needs(backup):
            assert key in vault.scene.objects()
            state = vault.store.locks[key]
            assert needed is None or (state.lock is not None and state.lock.until >= needed)
            assert state.held or backup.held_at is None
            assert state.lock is None or state.lock.until <= now + timedelta(days=vault.max_days)
    held = {key for one in vault.scene.catalog.backups() if one.held_at for key in vault.needs(one)}
    assert {key for key, state in vault.store.locks.items() if state.held} == held


def test_the_lock_of_a_stand_in_is_a_lock(vault: LockedScene) -> None:
    backup = vault.take(DAILY)
    key = vault.needs(backup)[0]
    with pytest.raises(AssertionError, match="is locked"):
        vault.store.delete(key)
    with pytest.raises(StoreError):
        vault.store.extend_lock(key, Lock(LockMode.GOVERNANCE, day(11, 23)))


def test_an_anchor_of_the_audit_has_the_longest_lock_that_the_stack_allows(vault: LockedScene) -> None:
    now = vault.scene.now
    anchor = Anchor(id=str(ULID.from_datetime(now)), at=now, previous=None, heads=())

    key = write_anchor(vault.scene.vault, anchor)

    lock = vault.store.locks[key].lock
    assert lock == Lock(LockMode.GOVERNANCE, now + timedelta(days=vault.max_days - 1))


def test_marks_are_not_locked(vault: LockedScene) -> None:
    backup = vault.take(DAILY)
    vault.scene.vault.mark_tier("shop", backup.id, WEEKLY)
    vault.scene.vault.mark_pin("shop", backup.id, vault.scene.now)

    assert {key for key in vault.scene.objects() if "/marks/" in key} & vault.store.locks.keys() == set()
