"""The inventory of journals: each kind of damage is found, with the moments that it costs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tests.unit.operations.conftest import Scene
from tests.unit.operations.stored_journal import backup_of, journal_of
from ulid import ULID

from coffre.alerts.alert import AlertKind
from coffre.model.rotation import Problem
from coffre.model.verification import Level, Share, VerificationReport
from coffre.operations.verify.inventory import inventory
from coffre.operations.verify.job import VerifyJob
from coffre.runtime.events.verify import VerifyEvent
from coffre.runtime.verify_alerts import review_of_journals
from coffre.vault import journal
from coffre.vault.codec import FrameDecoder
from coffre.vault.layout import interval_key, journal_prefix

NOTHING = Share(parts=10**9, day=0)


def verify(scene: Scene) -> VerificationReport:
    job = VerifyJob(
        str(ULID()), scene.catalog, scene.vault, FrameDecoder(()), scene.scratch, lambda: scene.now, lambda: 900.0
    )
    job = replace(job, journal_since=lambda _: scene.now - timedelta(days=7))
    return inventory(job, NOTHING)


def lost(days: tuple[str, str]) -> str:
    since, until = (day if day == "on" else f"2026-11-{day} 05:00 UTC" for day in days)
    return f"From {since} {until if until == 'on' else f'to {until}'}, no moment can be restored."


def test_damage_is_found_with_the_moments_that_it_costs(scene: Scene) -> None:
    # Given bases of 8 and 3 days ago (the 14th and the 19th), and segments of about a day
    backup_of(scene, 8)
    backup_of(scene, 3)
    interval = journal_of(scene, (10, 8.5, 7, 6, 5, 4, 2, 1))
    ended = journal_of(scene, (20, 19), ended=18)
    whole = {info.key: scene.store.get(info.key) for info in scene.store.list("v1/journal/")}

    def found(**changes: bytes | None) -> list[Problem]:
        """What is found when the objects whose keys begin so are missing or others."""
        for start, body in changes.items():
            for key in [one for one in whole if one.startswith(start)]:
                scene.store.delete(key)
                if body is not None:
                    scene.put(key, body)
        report = verify(scene)
        for key, body in whole.items():
            scene.store.delete(key)
            scene.put(key, body)
        assert report.status == (500 if report.journal_problems else 200)
        assert report.damaged == ()
        return list(report.journal_problems)

    def only(**changes: bytes | None) -> str:
        [problem] = found(**changes)
        assert (problem.code, problem.target) == ("JOURNAL_DAMAGED", "shop")
        return problem.text

    keys = journal.segment_keys(scene.vault, "shop", interval)
    fourth, last = keys[3].key, keys[-1].key
    [pack] = [one.key for one in journal.read_segment(scene.vault, keys[3], None)[0].packs]

    assert found() == []
    # What a rotation has removed from the front is no damage
    assert found(**{f"{journal_prefix('shop', interval)}00000001-": None}) == []
    # unless the base that the window needs reads it
    front = {f"{journal_prefix('shop', interval)}0000000{number}-": None for number in (1, 2)}
    assert only(**front).endswith(f"segments before {keys[2].key} are missing. {lost(('15', '19'))}")
    for changes in ({pack: None}, {pack: b"x"}):
        text = only(**changes)
        assert pack in text
        assert text.endswith(lost(("16", "19")))
    assert only(**{fourth: None}).endswith(f"the segment 4 is missing, or there twice. {lost(('16', '19'))}")
    assert only(**{fourth: b"{}"}).endswith(lost(("16", "19")))
    assert only(**{last: b"{}"}).endswith(lost(("20", "on")))
    changed = whole[fourth].replace(b'"transactions":1', b'"transactions":2')
    assert only(**{fourth: changed}).endswith(f"{keys[4].key} does not follow the one before it. {lost(('16', '19'))}")
    assert only(**{f"{journal_prefix('shop', ended)}definitions": None}).endswith(lost(("02", "04")))
    assert "The record of the interval" in only(**{interval_key("shop", ended): None})


def test_the_alert_opens_and_an_inventory_of_the_target_ends_it(scene: Scene) -> None:
    backup_of(scene, 3)
    interval = journal_of(scene, (9, 7))
    wanted = VerifyEvent(level=Level.INVENTORY)
    well = review_of_journals(verify(scene), wanted, ["shop"], "R1")
    [key] = journal.segment_keys(scene.vault, "shop", interval)
    [pack] = journal.read_segment(scene.vault, key, None)[0].packs
    scene.store.delete(pack.key)

    [alert] = review_of_journals(verify(scene), wanted, ["shop"], "R1").alerts

    assert well.alerts == ()
    assert set(well.checked) == {(AlertKind.JOURNAL_DAMAGED, "shop")}
    assert (alert.kind, alert.target) == (AlertKind.JOURNAL_DAMAGED, "shop")
    assert pack.key in alert.text
    assert "coffre backup database shop" in alert.text
