"""Rotation of a journal: what no moment of the window needs goes, in an order that any stop leaves whole."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
from tests.locking_store import LockingDirectory
from tests.unit.operations.conftest import NOW, Scene
from tests.unit.operations.stored_journal import (
    PRINT,
    WHOLE,
    backup_of,
    dated,
    journal_of,
    left,
    lsn_at,
    numbers,
    records,
)
from ulid import ULID

from coffre.model.backup import Status
from coffre.model.configuration import Configuration
from coffre.model.errors import IntegrityError, StoreError
from coffre.model.locks import Lock, LockMode, LockState
from coffre.model.manifest import JournalBase
from coffre.model.moment import Moment
from coffre.model.rotation import Action
from coffre.model.verification import Share
from coffre.operations.restore_database.moments import base_for
from coffre.operations.stored_backup.catalog_record import completed
from coffre.operations.stored_backup.kept_journal import checked_since
from coffre.operations.verify.inventory import inventory
from coffre.operations.verify.job import VerifyJob
from coffre.policy.journal import needed_base
from coffre.stores.directory import DirectoryStore
from coffre.vault import journal, journal_packs
from coffre.vault.codec import FrameDecoder, FrameEncoder
from coffre.vault.layout import journal_prefix
from coffre.vault.locks import VaultLocks


def test_segments_before_the_base_that_the_window_needs_go_and_the_base_stays(scene: Scene) -> None:
    # Given bases of 12, 9 and 6 days ago, of which the retention of 3 days keeps none but the newest backups, and a
    # window of 7 days: it needs the base of 9 days ago
    scene.retention = {"daily_days": 3}
    old, needed, inner = (backup_of(scene, age) for age in (12, 9, 6))
    newest = [scene.backup(age) for age in (2, 1)]
    interval = journal_of(scene, (13, 11.5, 10.5, 9.5, 8.5, 7.5, 6.5, 0.5))
    of_others = journal_of(scene, (30, 29), target="unknown", ended=29)
    before = scene.objects()

    # Switched off: how long its window was, or will be, is not known
    scene.journal = None
    off = scene.rotate(dry_run=True)
    assert off.sweep is not None
    assert (off.sweep.journal_removed.objects, scene.objects()) == (0, before)
    scene.journal = {}

    dry = scene.rotate(dry_run=True)

    assert scene.objects() == before
    report = scene.rotate()
    assert [one.action for one in dry.decisions] == [one.action for one in report.decisions]
    assert [scene.status(one) for one in (old, needed, inner, *newest)] == [
        Status.DELETED,
        Status.COMPLETED,
        Status.DELETED,
        *[Status.COMPLETED] * 2,
    ]
    [held] = [one for one in report.decisions if one.backup_id == needed.id]
    assert (held.action, held.held_back) == (Action.KEEP, True)
    assert held.reason == "moments of the journal since 2026-11-15 05:00 UTC are made from it"
    # 4 ends behind that base; the one before it stays with it, for what was just being committed
    assert left(scene.store, interval) == WHOLE | numbers(3, 4, 5, 6, 7)
    assert left(scene.store, of_others) == WHOLE | numbers(1) | {"end": 1}
    assert dry.sweep is not None
    assert report.sweep is not None
    assert report.sweep.foreign.objects == 0
    assert (dry.sweep.journal, dry.sweep.journal_removed) == (report.sweep.journal, report.sweep.journal_removed)
    assert report.sweep.journal_removed.objects == 4
    # and what is left can still be read from its first segment on
    keys = journal.segment_keys(scene.vault, "shop", interval, after=None)
    previous = None
    for key in keys:
        _, previous = journal.read_segment(scene.vault, key, previous)
    # With nothing more to remove, a rotation changes nothing
    again = scene.rotate().sweep
    assert again is not None
    assert again.journal_removed.objects == 0


def test_a_window_that_is_made_longer_does_not_make_damage_of_what_a_rotation_has_removed(scene: Scene) -> None:
    scene.retention = {"daily_days": 14}
    backups = [backup_of(scene, age) for age in (16, 12, 8.5, 3)]
    interval = journal_of(scene, (17, 15, 13, 11, 9, 8, 6, 4, 1))

    def found(days: int) -> list[str]:
        target = {"name": "shop", "secret": "s", "journal": {"window_days": days}}
        configuration = Configuration.model_validate({"encryption": "none", "targets": [target]})
        since = checked_since(configuration, scene.catalog.latest, scene.now)
        job = VerifyJob(
            id="V",
            catalog=scene.catalog,
            vault=scene.vault,
            decoder=FrameDecoder(),
            scratch=scene.scratch,
            now=lambda: scene.now,
            remaining_seconds=lambda: 900.0,
            journal_since=since,
        )
        return [one.text for one in inventory(job, Share(parts=10**9, day=0)).journal_problems]

    assert found(35) == []
    scene.rotate(dry_run=True)
    assert scene.catalog.latest.journal_kept_since("shop") is None
    scene.rotate()
    assert {1, 2} & {int(part) for part in left(scene.store, interval) if part.isdigit()} == set()
    assert scene.status(backups[1]) is Status.COMPLETED

    assert (found(7), found(35)) == ([], [])

    scene.journal = {"window_days": 35}
    scene.rotate()
    assert found(35) == []
    assert scene.catalog.latest.journal_kept_since("shop", "a copy") is None

    first, second, *_ = journal.segment_keys(scene.vault, "shop", interval, after=None)
    for key in (first, second):
        scene.store.delete(key.key)
    assert ["are missing" in text for text in found(35)] == [True]


def test_a_damaged_interval_costs_neither_the_base_nor_the_moments_of_another(scene: Scene) -> None:
    scene.retention = {"daily_days": 3}
    needed = backup_of(scene, 9)
    newest = [scene.backup(age) for age in (2, 1)]
    journal_of(scene, (13, 9.5, 8.5, 0.5))
    damaged = f"{journal_prefix('shop', journal_of(scene, (6, 5), print_='e' * 64))}interval.json"
    scene.store.delete(damaged)
    scene.put(damaged, b"{}")

    decided = {one.backup_id: one for one in scene.rotate(dry_run=True).decisions}

    assert (decided[needed.id].action, decided[needed.id].held_back) == (Action.KEEP, True)
    backups = [scene.catalog.get_backup(one.id) for one in (needed, *newest)]

    def base_of(age_days: float) -> str:
        moment = Moment(lsn=f"0/{lsn_at(age_days):X}")
        return base_for(moment, scene.vault, "shop", backups, None, FrameDecoder).id

    assert base_of(8.7) == needed.id
    with pytest.raises(IntegrityError, match="it cannot be read"):
        base_of(0.1)


def test_an_interval_that_ended_before_the_window_goes_whole_and_any_stop_leaves_what_the_next_one_removes(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.backup(1)
    over = journal_of(scene, (20, 15, 10), ended=9)
    recent = journal_of(scene, (8.9, 7.5), ended=6.9, print_="e" * 64)
    keys = len(list(scene.store.list(journal_prefix("shop", over))))
    delete, allowed, seen = type(scene.store).delete, [0], list[dict[str, int]]()

    def stopping(store: DirectoryStore, key: str) -> None:
        if not allowed[0]:
            raise StoreError("The store is gone.", code="STORE_GONE")
        allowed[0] -= 1
        delete(store, key)

    monkeypatch.setattr(type(scene.store), "delete", stopping)
    while "interval" in left(scene.store, over) and len(seen) < keys:
        allowed[0] = 1
        with suppress(StoreError):
            scene.rotate()
        seen.append(left(scene.store, over))
        # A record is never without its packs, and the end is there until the interval is gone
        assert all(seen[-1][part] == 2 for part in seen[-1].keys() & records(scene.store, over) if part.isdigit())
        assert "end" in seen[-1]
    assert len(seen) > 3
    assert left(scene.store, recent) == WHOLE | numbers(1) | {"end": 1}
    allowed[0] = 100
    scene.now += timedelta(days=61)
    scene.rotate()
    assert (left(scene.store, over), left(scene.store, recent)) == ({}, {})


def test_an_interval_without_a_base_keeps_what_a_later_base_can_need(scene: Scene) -> None:
    scene.backup(1)
    interval = journal_of(scene, (20, 15, 12, 9, 6, 1))

    damaged = backup_of(scene, 18)
    scene.catalog.keeping.mark_damaged(damaged.id, "a pack is lost", scene.now)
    scene.rotate()
    assert left(scene.store, interval) == WHOLE | numbers(1, 2, 3, 4, 5), "it may be mended"
    scene.retention = {"daily_days": 1, "minimum_verified": 0, "minimum_kept": 1}
    scene.rotate()
    assert scene.status(damaged) is Status.DELETED
    scene.rotate()

    assert left(scene.store, interval) == WHOLE | numbers(2, 3, 4, 5)


def test_a_base_that_the_catalog_does_not_list_keeps_what_it_needs(scene: Scene) -> None:
    scene.backup(1)
    interval = journal_of(scene, (20, 15, 12, 9, 6, 1))
    unlisted = backup_of(scene, 14)
    scene.catalog._table._connection.delete_item("BACKUP", range_key=unlisted.id)

    scene.rotate()
    assert left(scene.store, interval) == WHOLE | numbers(1, 2, 3, 4, 5)
    backup_of(scene, 5)  # a later one does not have the moments since the window's begin
    scene.rotate()
    assert left(scene.store, interval) == WHOLE | numbers(1, 2, 3, 4, 5)
    backup_of(scene, 8)
    scene.rotate()
    assert left(scene.store, interval) == WHOLE | numbers(2, 3, 4, 5)


def test_what_was_left_open_goes_when_it_is_not_the_newest_and_nothing_more_came(scene: Scene) -> None:
    scene.backup(1)
    left_open = journal_of(scene, (20, 15, 10))
    recent = journal_of(scene, (9, 6), print_="e" * 64)
    newest = journal_of(scene, (5.9, 1), print_="d" * 64)

    scene.rotate()

    assert left(scene.store, left_open) == {}
    assert [left(scene.store, one) for one in (recent, newest)] == [WHOLE | numbers(1)] * 2


def test_of_a_target_that_was_removed_the_longest_window_stays(scene: Scene) -> None:
    backup = scene.backup(60, target="removed")
    over = journal_of(scene, (60, 50, 40), target="removed", ended=36)
    recent = journal_of(scene, (39, 38), target="removed", ended=34, print_="e" * 64)

    scene.rotate()

    assert (left(scene.store, over), scene.status(backup)) == ({}, Status.COMPLETED)
    assert left(scene.store, recent) == WHOLE | numbers(1) | {"end": 1}


def test_nothing_of_a_journal_goes_while_something_is_not_certain_or_locked(scene: Scene) -> None:
    store = LockingDirectory(scene.root, now=lambda: scene.now)
    scene.store, scene.locks = store, VaultLocks(store, LockMode.GOVERNANCE, 400)
    scene.backup(1)
    over = journal_of(scene, (20, 15, 10), ended=9)
    whole = left(scene.store, over)
    # A backup of the target is running
    running = scene.begin(0.01)
    scene.rotate()
    assert left(scene.store, over) == whole
    scene.catalog.complete_backup(completed(running, *scene.commit(running, ())))
    # The record of an interval is gone, and another one's cannot be read
    lost = journal_of(scene, (19, 18), ended=17)
    key = f"{journal_prefix('shop', lost)}interval.json"
    body = scene.store.get(key)
    scene.store.delete(key)
    scene.put(f"{journal_prefix('shop', over)}notes.txt")
    report = scene.rotate()
    assert left(scene.store, lost) == {"definitions": 1, "end": 1} | numbers(1)
    assert report.sweep is not None
    assert [(one.code, one.target) for one in report.sweep.problems] == [("JOURNAL_DAMAGED", "shop")]
    assert lost in report.sweep.problems[0].text
    assert report.sweep.foreign_keys == (f"{journal_prefix('shop', over)}notes.txt",)
    scene.put(key, b"{}")
    other = journal_of(scene, (18.5, 18), ended=17)
    report = scene.rotate()
    assert report.sweep is not None
    assert [one.code for one in report.sweep.problems] == ["JOURNAL_DAMAGED"]
    assert left(scene.store, other) == WHOLE | numbers(1) | {"end": 1}
    scene.store.delete(key)
    scene.put(key, body)
    dated(scene, lost, 19, "interval")
    # What is locked stays, with all that comes after it, until the lock ends
    first = journal.segment_keys(scene.vault, "shop", lost)[0].key
    store.locks[first] = LockState(Lock(LockMode.GOVERNANCE, scene.now + timedelta(hours=1)))
    report = scene.rotate()
    assert left(store, lost) == WHOLE | numbers(1) | {"end": 1}
    assert left(store, other) == {}
    assert report.sweep is not None
    assert any(why.startswith(f"journal below {journal_prefix('shop', lost)[:-1]}: ") for why in report.sweep.waits)
    scene.now += timedelta(hours=2)
    scene.rotate()
    assert left(store, lost) == {}


def test_what_killed_drains_have_left_goes_when_no_window_can_need_it(scene: Scene) -> None:
    scene.backup(1)
    interval = journal_of(scene, (70, 1))
    for number, age in ((2, 61), (3, 59)):
        journal_packs.store_lines(scene.vault, "shop", interval, number, FrameEncoder([]), [b'[1,1,"BEGIN"]\n'])
        dated(scene, interval, age, f"{number:08d}")
    begun = str(ULID.from_datetime(NOW - timedelta(days=61)))
    journal_packs.store_definitions(scene.vault, "shop", begun, FrameEncoder([]), b"{}")
    dated(scene, begun, 61)

    scene.rotate()

    assert left(scene.store, interval) == WHOLE | numbers(1) | {"00000003": 1}
    assert left(scene.store, begun) == {}


def test_the_base_that_a_window_needs_is_by_position_where_a_clock_was_set_back() -> None:
    def base(lsn: int, age: float) -> tuple[int, JournalBase]:
        at = NOW - timedelta(days=age)
        return lsn, JournalBase(snapshot="1:1:", before_lsn=lsn, lsn=lsn, at=at, fingerprint=PRINT)

    def needed(*bases: tuple[int, JournalBase]) -> int | None:
        found = needed_base(bases, NOW - timedelta(days=7))
        return found[0] if found else None

    assert needed() is None
    assert needed(base(3, 1), base(2, 2)) == 2
    assert needed(base(3, 1), base(2, 7), base(1, 9)) == 2
    assert needed(base(1, 9), base(2, 6), base(3, 8), base(4, 1)) == 1


def test_a_tail_stays_as_long_as_its_interval_and_goes_with_it(scene: Scene) -> None:
    scene.retention = {"daily_days": 3}
    scene.backup(1)
    backup_of(scene, 9)
    living = journal_of(scene, (70, 69, 9.5, 8.5), ended=6, tail=5.9)
    over = journal_of(scene, (90, 89), ended=88, tail=87.9)
    dated(scene, living, 65, "00000004")  # longer ago than what a killed drain has left may stay
    scene.rotate()
    assert left(scene.store, living) == WHOLE | numbers(2, 3) | {"00000004": 1, "end": 1}
    assert left(scene.store, over) == {}
