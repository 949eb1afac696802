"""Holds: a backup on hold is neither rotated nor deleted, and with Object Lock its objects cannot be."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest
from tests.unit.operations.conftest import Scene
from tests.unit.operations.locked_scene import LockedScene

from coffre.model.audit import Actor
from coffre.model.backup import Backup, HoldProgress, Status, Tier
from coffre.model.errors import BackupStateError, StoreError
from coffre.operations.admin.catalog_rebuild import rebuild
from coffre.operations.admin.pin_and_delete import BackupAdmin
from coffre.operations.rotate import hold as hold_module
from coffre.operations.rotate.hold import HoldJob, hold, release, resume, unfinished_holds
from coffre.runtime.bootstrap import Services
from coffre.runtime.function import LambdaContext
from coffre.runtime.holds import resume_holds
from coffre.stores.store import put_small


@pytest.fixture
def vault(scene: Scene) -> LockedScene:
    return LockedScene.of(scene)


ADA = Actor("ada", verified=True)


def job(scene: Scene) -> HoldJob:
    return HoldJob("job", scene.catalog, scene.vault, ADA, lambda: scene.now, lambda: 900.0)


def held(vault: LockedScene) -> set[str]:
    return {key for key, state in vault.store.locks.items() if state.held}


def actions(scene: Scene) -> list[tuple[str, str, str | None]]:
    return [(event.action, event.actor, event.detail) for event in scene.catalog.audit.events()]


# --- without Object Lock: a record and a mark ---


def test_a_backup_on_hold_outlives_its_tiers_until_it_is_released(scene: Scene) -> None:
    old, *_ = [scene.backup(age) for age in (30, 2, 1)]

    report = hold(job(scene), old.id, "case 4711")

    assert report.backup is not None
    assert report.backup.held_at == scene.now
    assert not report.legal_holds
    assert report.unfinished is None
    decisions = {one.backup_id: one for one in scene.rotate().decisions}
    assert scene.is_whole(old)
    assert "on hold" in decisions[old.id].reason
    assert "case 4711" in decisions[old.id].reason

    release(job(scene), old.id)
    scene.rotate()
    assert scene.status(old) is Status.DELETED
    assert {one for one in actions(scene) if one[1] == "ada"} == {
        ("backup.released", "ada", None),
        ("backup.held", "ada", "case 4711"),
    }


def test_a_hold_refuses_deletion_by_hand_even_by_force(scene: Scene) -> None:
    backup = scene.backup(1)
    hold(job(scene), backup.id, "case 4711")
    admin = BackupAdmin(scene.catalog, scene.vault, "bob", scene.now)

    with pytest.raises(BackupStateError, match=r"on hold.*case 4711") as refused:
        admin.delete(backup.id, force=True)
    assert refused.value.code == "BACKUP_HELD"
    assert f"coffre release {backup.id}" in (refused.value.hint or "")
    with pytest.raises(BackupStateError):  # nor by a rotation that read the record before
        scene.catalog.keeping.delete(backup, "because", scene.now)
    assert scene.status(backup) is Status.COMPLETED


def test_a_second_hold_changes_nothing_and_a_second_release_neither(scene: Scene) -> None:
    backup = scene.backup(1)
    first = hold(job(scene), backup.id, "case 4711").backup
    assert hold(job(scene), backup.id, "another").backup == first
    release(job(scene), backup.id)
    again = release(job(scene), backup.id)

    assert again.backup is not None
    assert again.backup.held_at is None
    assert len([one for one in actions(scene) if one[0] in {"backup.held", "backup.released"}]) == 2


@pytest.mark.parametrize("then", ["held", "released", "held again"])
def test_a_rebuilt_catalog_knows_the_hold(scene: Scene, then: str) -> None:
    backup = scene.backup(1)
    hold(job(scene), backup.id, "case 4711")
    if then != "held":
        scene.now = scene.now.replace(hour=6)
        release(job(scene), backup.id)
    if then == "held again":
        scene.now = scene.now.replace(hour=7)
        hold(job(scene), backup.id, "case 4712")
    scene.catalog._table._connection.delete_item("BACKUP", range_key=backup.id)

    list(rebuild(scene.catalog, scene.vault))

    found = scene.catalog.get_backup(backup.id)
    expected = {"held": "case 4711", "released": None, "held again": "case 4712"}[then]
    assert (found.hold, found.held_at is not None) == (expected, expected is not None)


def test_only_a_completed_backup_can_be_held_and_only_one_that_exists(scene: Scene) -> None:
    failed = scene.failed(1)
    for backup_id, code in ((failed.id, "BACKUP_STATE"), ("0" * 26, "BACKUP_UNKNOWN")):
        with pytest.raises(BackupStateError) as refused:
            hold(job(scene), backup_id, None)
        assert refused.value.code == code
    assert actions(scene) == []


def test_two_holds_do_not_run_at_the_same_time(scene: Scene) -> None:
    backup = scene.backup(1)
    scene.catalog.locks.acquire("*holds", "another", scene.now, stale_after=hold_module._STALE_AFTER)
    with pytest.raises(BackupStateError) as refused:
        hold(job(scene), backup.id, None)
    assert refused.value.code == "HOLD_BUSY"
    assert scene.catalog.get_backup(backup.id).held_at is None


# --- with Object Lock: legal holds ---


def test_every_object_of_a_backup_gets_a_legal_hold_and_loses_it(vault: LockedScene) -> None:
    other, backup = vault.take(Tier.DAILY), vault.take(Tier.DAILY, own=3)

    report = hold(vault.hold_job(), backup.id, None)

    assert report.legal_holds
    assert report.objects == 5
    assert held(vault) == set(vault.needs(backup))
    assert vault.record(backup).hold_progress == HoldProgress(done=5, total=5)

    vault.later(days=60)
    vault.scene.rotate()
    assert vault.record(backup).status is Status.COMPLETED
    assert release(vault.hold_job(), backup.id).objects == 5
    assert held(vault) == set()
    assert vault.record(backup).hold_progress is None
    assert vault.record(other).held_at is None


def test_a_shared_pack_keeps_its_hold_until_both_backups_are_released(vault: LockedScene) -> None:
    first = vault.take(Tier.DAILY, own=2)
    second = vault.take(Tier.DAILY, previous=first)
    for backup in (first, second):
        hold(vault.hold_job(), backup.id, None)
    shared = set(vault.needs(first)) & set(vault.needs(second))

    assert release(vault.hold_job(), second.id).shared == len(shared) == 2
    assert held(vault) == set(vault.needs(first))
    assert release(vault.hold_job(), first.id).shared == 0
    assert held(vault) == set()


def many(vault: LockedScene, monkeypatch: pytest.MonkeyPatch) -> Backup:
    monkeypatch.setattr(hold_module, "_BATCH", 2)
    return vault.take(Tier.DAILY, own=5)


def test_an_interrupted_hold_is_held_and_continues_where_it_stopped(
    vault: LockedScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = many(vault, monkeypatch)
    left = iter([900.0, 900.0, 1.0])
    stopped = hold(replace(vault.hold_job(), remaining_seconds=lambda: next(left)), backup.id, None)

    assert stopped.unfinished is not None
    assert stopped.objects == 4
    assert "4 of 7 objects are done" in stopped.unfinished
    assert vault.record(backup).held_at is not None
    assert [one.id for one in unfinished_holds(vault.scene.catalog)] == [backup.id]
    vault.store.requests.clear()

    assert resume(vault.hold_job(), vault.record(backup)).unfinished is None  # as the daily rotation does
    assert vault.store.requests["hold"] == 3
    assert held(vault) == set(vault.needs(backup))
    assert unfinished_holds(vault.scene.catalog) == []


@pytest.mark.parametrize("how", ["missing", "refused"])
def test_an_object_that_cannot_be_held_keeps_no_other_from_its_hold(
    vault: LockedScene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    backup, refuse = many(vault, monkeypatch), vault.store.refuse
    lost = sorted(key for key in vault.needs(backup) if "/packs/" in key)[1]
    body = vault.scene.store.get(lost)

    def deny(request: str, key: str) -> None:
        if key == lost:
            raise StoreError(f"s3:PutObjectLegalHold of {key} was denied.", code="STORE_DENIED")

    if how == "refused":
        vault.store.refuse = deny
    else:
        (vault.scene.root / lost).unlink()
    report = hold(vault.hold_job(), backup.id, None)

    assert (report.objects, report.refused) == (6, 1)
    assert report.unfinished is not None
    assert lost in report.unfinished
    assert "7 of 7 objects are done, but for 1 refused one" in report.unfinished
    assert vault.record(backup).hold_progress == HoldProgress(done=7, total=7, refused=(0,))
    assert held(vault) == {*vault.needs(backup)} - {lost}
    assert [one.id for one in unfinished_holds(vault.scene.catalog)] == [backup.id]
    logger = logging.getLogger("holds")
    services = SimpleNamespace(
        catalog=vault.scene.catalog, vault=vault.scene.vault, edge=SimpleNamespace(logger=logger)
    )
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 900_000)
    vault.store.requests.clear()
    resume_holds(cast(Services, services), cast(LambdaContext, context))  # as the daily rotation does
    assert vault.store.requests["hold"] == 2  # only its batch is tried again
    assert [(one.message, lost in one.__dict__["unfinished"]) for one in caplog.records if one.name == "holds"] == [
        ("a hold is not finished", True)
    ]

    if how == "missing":  # what is gone has no hold to lose
        assert release(vault.hold_job(), backup.id).unfinished is None
        assert held(vault) == set()
        put_small(vault.scene.store, lost, body)
    else:
        assert release(vault.hold_job(), backup.id).refused == 1
        assert vault.record(backup).held_at is not None
    vault.store.refuse = refuse
    assert hold(vault.hold_job(), backup.id, None).unfinished is None
    assert held(vault) == set(vault.needs(backup))
    assert unfinished_holds(vault.scene.catalog) == []


def test_an_interrupted_release_leaves_the_backup_on_hold_and_continues(
    vault: LockedScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = many(vault, monkeypatch)
    hold(vault.hold_job(), backup.id, None)

    stopped = release(vault.hold_job(remaining_seconds=1.0), backup.id)

    assert stopped.unfinished is not None
    assert vault.record(backup).held_at is not None
    assert held(vault) == set(vault.needs(backup))
    assert [one.id for one in unfinished_holds(vault.scene.catalog)] == [backup.id]
    resume(vault.hold_job(), vault.record(backup))
    assert vault.record(backup).held_at is None
    assert held(vault) == set()


def test_a_release_that_stopped_can_become_a_hold_again(vault: LockedScene, monkeypatch: pytest.MonkeyPatch) -> None:
    backup = many(vault, monkeypatch)
    hold(vault.hold_job(), backup.id, None)
    left = iter([900.0, 1.0])
    release(replace(vault.hold_job(), remaining_seconds=lambda: next(left)), backup.id)
    assert held(vault) < set(vault.needs(backup))

    hold(vault.hold_job(), backup.id, None)
    assert held(vault) == set(vault.needs(backup))


def test_legal_holds_are_not_forgotten_when_the_parameter_is_off(vault: LockedScene) -> None:
    backup = vault.take(Tier.DAILY)
    hold(vault.hold_job(), backup.id, None)
    vault.scene.locks = None

    with pytest.raises(StoreError) as refused:
        release(vault.hold_job(), backup.id)

    assert refused.value.code == "LOCKS_OFF"
    assert vault.record(backup).held_at is not None
