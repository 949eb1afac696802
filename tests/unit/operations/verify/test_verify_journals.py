"""The inventory of journals: each kind of damage is found, with the moments that it costs."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

from tests.unit.operations.conftest import Scene
from tests.unit.operations.stored_journal import backup_of, journal_of
from ulid import ULID

from coffre.alerts.alert import AlertKind
from coffre.model.copies import Destination
from coffre.model.rotation import Problem
from coffre.model.verification import Level, Share, VerificationReport
from coffre.operations.verify import journals
from coffre.operations.verify.copies import inventory_of_copy, read_copy
from coffre.operations.verify.inventory import inventory
from coffre.operations.verify.job import VerifyJob
from coffre.operations.verify.read_back import read_target
from coffre.runtime.events.verify import VerifyEvent
from coffre.runtime.verify_alerts import review_of_journals
from coffre.stores.directory import DirectoryStore
from coffre.stores.store import ObjectInfo
from coffre.vault import journal
from coffre.vault.codec import FrameDecoder
from coffre.vault.layout import interval_key, journal_part, journal_prefix
from coffre.vault.vault import Vault

NOTHING = Share(parts=10**9, day=0)
ALL = Share(parts=1, day=0)


def job_of(scene: Scene) -> VerifyJob:
    job = VerifyJob(
        str(ULID()), scene.catalog, scene.vault, FrameDecoder(()), scene.scratch, lambda: scene.now, lambda: 900.0
    )
    return replace(job, journal_since=lambda _: scene.now - timedelta(days=7))


def verify(scene: Scene) -> VerificationReport:
    return inventory(job_of(scene), NOTHING)


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


def test_a_last_segment_that_was_lost_is_found_by_the_end_of_its_interval(scene: Scene) -> None:
    scene.backup(1)
    over = journal_of(scene, (20, 19, 18), ended=17)
    recent = journal_of(scene, (6, 5, 4), ended=3, print_="e" * 64)
    keys = {one: journal.segment_keys(scene.vault, "shop", one)[1].key for one in (over, recent)}
    scene.store.delete(keys[over])
    assert verify(scene).journal_problems == (), "a rotation removes it just now"
    scene.store.delete(keys[recent])
    [problem] = verify(scene).journal_problems
    assert problem.text.endswith(f"the segments from 2 to 2 are missing. {lost(('17', '19'))}")


def test_what_a_drain_or_a_rotation_has_changed_since_the_listing_is_no_damage(scene: Scene) -> None:
    scene.backup(1)
    interval = journal_of(scene, (6, 5, 4, 3.5), ended=3)
    first, _, last = journal.segment_keys(scene.vault, "shop", interval)
    [(of, listed)] = journals.intervals_listed(scene.vault, None)

    def found(own: list[ObjectInfo]) -> list[str]:
        with patch.object(journals, "intervals_listed", return_value=[(of, own)]):
            return [one.text for one in verify(scene).journal_problems]

    assert found([info for info in listed if journal_part(info.key) != f"{last.number:08d}"]) == []
    scene.store.delete(first.key)
    assert found(listed) == []
    body = scene.store.get(last.key)
    scene.store.delete(last.key)
    assert f"the record {last.key} is missing" in found(listed)[0]
    scene.put(last.key, body)
    for info in listed:
        if info.key != first.key:
            scene.store.delete(info.key)
    assert found(listed) == []


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


def test_the_bytes_of_what_is_new_are_read_and_damage_stays_known_until_it_is_mended(scene: Scene) -> None:
    for age in (8, 3):
        scene.catalog.keeping.mark_damaged(backup_of(scene, age).id, "not of this test", scene.now)
    interval = journal_of(scene, (10, 8.5, 7, 5, 4, 1.5, 0.5))
    keys = journal.segment_keys(scene.vault, "shop", interval)
    [old], [new] = (journal.read_segment(scene.vault, keys[number], None)[0].packs for number in (2, 4))
    whole = {pack.key: scene.store.get(pack.key) for pack in (old, new)}

    def changed(key: str, body: bytes) -> None:
        scene.store.delete(key)
        scene.put(key, body)

    def read(share: Share = NOTHING) -> VerificationReport:
        return read_target(job_of(scene), "shop", share)  # where all is read, what is no backup's is damaged too

    assert (read().journal.objects, read(ALL).journal.objects) == (2, 6)
    for key, body in whole.items():
        changed(key, body[:-1] + bytes([body[-1] ^ 1]))
    assert verify(scene).journal_problems == (), "an inventory alone reads no pack"

    found = read()
    [problem] = found.journal_problems
    assert found.status == 500
    assert new.key in problem.text
    assert problem.text.endswith(lost(("18", "on")))
    assert len(read(ALL).journal_problems) == 2
    # A record that cannot be read hides nothing that comes after it
    record = scene.store.get(keys[3].key)
    changed(keys[3].key, b"{}")
    assert [new.key in one.text for one in read(ALL).journal_problems] == [False, True]
    changed(keys[3].key, record)
    # Neither an inventory forgets it, nor a reading of what is new
    for report in (read(), verify(scene)):
        assert [one.key in text.text for one, text in zip((old, new), report.journal_problems, strict=True)] == [
            True
        ] * 2
    changed(old.key, whole[old.key])
    assert [new.key in one.text for one in verify(scene).journal_problems] == [True]
    changed(new.key, whole[new.key])
    assert (read().journal_problems, scene.catalog.latest.damaged_of_journals()) == ((), frozenset())


def test_what_there_was_no_time_for_is_said(scene: Scene) -> None:
    scene.backup(1)
    journal_of(scene, (3, 2.5, 1))
    report = read_target(replace(job_of(scene), remaining_seconds=lambda: 29.0), "shop", NOTHING)
    assert (report.status, report.journal.objects) == (500, 0)
    assert report.unfinished is not None
    late = inventory(replace(job_of(scene), remaining_seconds=lambda: 29.0), NOTHING)
    assert late.unfinished is not None


def test_the_journal_of_a_copy_is_looked_at_as_that_of_the_vault_is(scene: Scene, tmp_path: Path) -> None:
    backup_of(scene, 3)
    interval = journal_of(scene, (10, 8.5, 7, 6))
    (tmp_path / "copy").mkdir()
    there = DirectoryStore(tmp_path / "copy")
    for info in scene.store.list(""):
        body = scene.store.get(info.key)
        there.put(info.key, body, sha256=hashlib.sha256(body).hexdigest())
    job = replace(job_of(scene), vault=Vault(there))
    destination = Destination.model_validate({"name": "offsite", "store": {"type": "directory", "path": "/mnt/nas"}})

    good = inventory_of_copy(job, destination, NOTHING)
    assert (good.backups, good.journal_problems) == (1, ())
    stored = [info.size for prefix in ("v1/packs/", "v1/journal/") for info in there.list(prefix)]
    assert (good.stored.objects, good.stored.size_bytes) == (len(stored), sum(stored))
    there.delete(journal.segment_keys(scene.vault, "shop", interval)[1].key)

    bad = inventory_of_copy(job, destination, NOTHING)
    assert (bad.status, bad.damaged) == (500, good.damaged)
    assert ["the segment 2 is missing" in one.text for one in bad.journal_problems] == [True]


def test_the_packs_of_a_copys_journal_are_read_and_damage_there_is_no_damage_of_the_vault(
    scene: Scene, tmp_path: Path
) -> None:
    backup_of(scene, 3)
    interval = journal_of(scene, (10, 8.5, 7, 1))
    there = DirectoryStore(tmp_path)
    for info in scene.store.list(""):
        body = scene.store.get(info.key)
        there.put(info.key, body, sha256=hashlib.sha256(body).hexdigest())
    [pack] = journal.read_segment(scene.vault, journal.segment_keys(scene.vault, "shop", interval)[1], None)[0].packs
    whole = there.get(pack.key)
    job = replace(job_of(scene), vault=Vault(there))
    destination = Destination.model_validate({"name": "offsite", "store": {"type": "directory", "path": "/mnt/nas"}})

    inventory_of_copy(job, destination, NOTHING)
    good = read_copy(job, destination, ALL)
    (tmp_path / pack.key).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    bad = read_copy(job, destination, ALL)

    assert (good.status, good.journal.objects, good.journal_problems) == (200, 3, ())
    assert (bad.status, [pack.key in one.text for one in bad.journal_problems]) == (500, [True])
    # It stays known, of the copy alone, until it is mended
    assert len(inventory_of_copy(job, destination, NOTHING).journal_problems) == 1
    assert scene.catalog.latest.damaged_of_journals() == frozenset()
    (tmp_path / pack.key).write_bytes(whole)
    assert (read_copy(job, destination, NOTHING).status, scene.catalog.latest.damaged_of_journals("offsite")) == (
        200,
        frozenset(),
    )


def test_a_tail_that_is_lost_or_changed_is_found_with_the_moments_that_it_costs(scene: Scene) -> None:
    backup_of(scene, 5)
    interval = journal_of(scene, (6, 5.5, 4), ended=4, tail=3)
    end = journal.read_end(scene.vault, "shop", interval)
    assert end.tail is not None
    [pack] = end.tail.packs
    assert verify(scene).journal_problems == ()
    body = scene.store.get(pack.key)
    for changed in (None, b"x", bytes(len(body))):
        scene.store.delete(pack.key)
        if changed is not None:
            scene.put(pack.key, changed)
        if changed is None or len(changed) != len(body):
            [problem] = verify(scene).journal_problems
        else:
            report = read_target(job_of(scene), "shop", ALL)
            [problem] = report.journal_problems
            [again] = verify(scene).journal_problems  # it is remembered
            assert again.text == problem.text
        assert pack.key in problem.text
        assert problem.text.endswith(lost(("18", "19")))
    scene.store.delete(pack.key)
    scene.put(pack.key, body)
    assert read_target(job_of(scene), "shop", NOTHING).journal_problems == ()
    assert verify(scene).journal_problems == ()
