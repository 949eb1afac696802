"""Verification in a vault with Object Lock: locks that end too soon are reported, at no request more for packs."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.operations.conftest import Scene
from tests.unit.operations.locked_scene import LockedScene

from coffre.alerts.alert import EVERY_TARGET, AlertKind
from coffre.model.backup import Tier
from coffre.model.locks import Lock, LockMode, LockState
from coffre.model.verification import Level, Share, VerificationReport
from coffre.operations.verify.inventory import inventory
from coffre.operations.verify.job import VerifyJob
from coffre.runtime.events.verify import VerifyEvent
from coffre.runtime.verify_alerts import review_of_locks
from coffre.vault.codec import FrameDecoder

EVERYTHING, NOTHING = Share(parts=1, day=0), Share(parts=10**9, day=0)


@pytest.fixture
def vault(scene: Scene) -> LockedScene:
    return LockedScene.of(scene)


def verify(vault: LockedScene, share: Share = EVERYTHING) -> VerificationReport:
    scene = vault.scene
    job = VerifyJob(
        "J",
        scene.catalog,
        scene.vault,
        FrameDecoder(),
        scene.scratch,
        lambda: scene.now,
        lambda: 900.0,
        {"shop": vault.target.retention},
    )
    return inventory(job, share)


def codes(report: VerificationReport) -> list[str]:
    return [problem.code for problem in report.lock_problems]


def test_locks_that_last_are_in_order_over_the_whole_life_of_backups(vault: LockedScene) -> None:
    first = vault.take(Tier.MONTHLY, own=2)
    vault.take(Tier.MANUAL)
    for _ in range(40):
        vault.later(days=1)
        vault.take(Tier.DAILY, previous=vault.record(first))
        assert codes(verify(vault)) == []
        vault.scene.rotate()


@pytest.mark.parametrize("kind", ["manifest.json", "entries", "packs"])
@pytest.mark.parametrize("age", [0, 10])
def test_a_lock_that_is_missing_or_too_short_is_found(vault: LockedScene, kind: str, age: int) -> None:
    backup = vault.take(Tier.WEEKLY)
    [key] = [key for key in vault.needs(backup) if kind in key]
    vault.later(days=age)
    for state, words in (
        (LockState(), "not locked"),
        (LockState(Lock(LockMode.GOVERNANCE, vault.scene.now + timedelta(days=3))), "locked until"),
    ):
        vault.store.locks[key] = state
        report = verify(vault)

        assert codes(report) == ["LOCK_TOO_SHORT"]
        assert report.lock_problems[0].target == "shop"
        assert f"{key} is {words}" in report.lock_problems[0].text
        assert report.status == 500
        assert report.damaged == ()


def test_a_legal_hold_protects_as_well_as_a_lock(vault: LockedScene) -> None:
    backup = vault.take(Tier.WEEKLY)
    for key in vault.needs(backup):
        vault.store.locks[key] = LockState(held=True)

    assert codes(verify(vault)) == []


def test_new_packs_are_looked_at_whatever_the_share_and_old_ones_by_share(vault: LockedScene) -> None:
    backup = vault.take(Tier.MONTHLY)
    [pack] = [key for key in vault.needs(backup) if "packs" in key]
    vault.store.locks[pack] = LockState()

    assert codes(verify(vault, NOTHING)) == ["LOCK_TOO_SHORT"]
    vault.later(days=4)
    assert codes(verify(vault, NOTHING)) == []
    assert codes(verify(vault, EVERYTHING)) == ["LOCK_TOO_SHORT"]


def test_a_tier_that_has_just_joined_is_no_alarm_and_one_that_was_never_locked_is(vault: LockedScene) -> None:
    backup = vault.take(Tier.DAILY)
    vault.scene.catalog.add_tier(backup.id, Tier.MONTHLY)

    vault.later(hours=2)
    assert codes(verify(vault)) == []
    vault.later(days=2)
    assert codes(verify(vault)) == ["LOCK_TOO_SHORT"]
    vault.scene.rotate()
    assert codes(verify(vault)) == []


def test_a_pin_whose_lock_is_not_extended_is_reported_a_week_before_it_ends(vault: LockedScene) -> None:
    backup = vault.take(Tier.DAILY)
    vault.scene.catalog.keeping.pin(backup.id, vault.scene.now)
    vault.scene.rotate()

    vault.later(days=22)
    assert codes(verify(vault)) == []
    vault.later(days=2)
    assert codes(verify(vault)) == ["LOCK_TOO_SHORT"]


def test_a_bucket_whose_object_lock_is_off_is_reported(vault: LockedScene) -> None:
    vault.take(Tier.DAILY)
    vault.store.has_locks = False

    assert codes(verify(vault)) == ["LOCKS_OFF"]


def test_a_vault_without_object_lock_is_not_asked(scene: Scene) -> None:
    vault = LockedScene.of(scene)
    vault.take(Tier.DAILY)
    vault.store.locks.clear()
    scene.locks = None

    assert codes(verify(vault)) == []


def test_the_alert_opens_and_only_an_inventory_of_everything_ends_it(vault: LockedScene) -> None:
    backup = vault.take(Tier.WEEKLY)
    whole, one = VerifyEvent(level=Level.INVENTORY), VerifyEvent(level=Level.INVENTORY, target="shop")
    ended = {(AlertKind.LOCK_TOO_SHORT, EVERY_TARGET)}

    assert review_of_locks(verify(vault), whole, "R1").checked == ended
    assert review_of_locks(verify(vault), one, "R1").checked == set()
    vault.store.locks[vault.needs(backup)[0]] = LockState()
    [alert] = review_of_locks(verify(vault), whole, "R1").alerts

    assert (alert.kind, alert.target) == (AlertKind.LOCK_TOO_SHORT, EVERY_TARGET)
    assert "coffre rotate" in alert.text
    assert "No backup is damaged" in alert.text
