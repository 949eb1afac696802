"""Rotation over a vault and a catalog: what goes, what stays, what stops it, and what it says."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.operations.conftest import NOW, Scene
from ulid import ULID

from coffre.model.backup import Backup, Restore, Status, Tier
from coffre.model.errors import CoffreError, DeadlineError
from coffre.model.rotation import Action, Amount, Problem
from coffre.operations.stored_backup.catalog_record import completed
from coffre.vault.pack_references import References

MONTH_AGO = (NOW - timedelta(days=31)).timestamp()


def code_of(problems: Iterable[Problem]) -> set[str]:
    return {problem.code for problem in problems}


def oldest_of(backups: Iterable[Backup]) -> Backup:
    """Make them all, the oldest first."""
    return list(backups)[0]  # noqa: RUF015 - the others are to be made too


# --- what goes and what stays ---


def test_what_outlived_its_tiers_goes_from_catalog_and_vault(scene: Scene) -> None:
    old, young, newest = scene.backup(8), scene.backup(2), scene.backup(1)
    scene.vault.mark_tier("shop", old.id, Tier.DAILY)

    report = scene.rotate()

    assert (scene.status(old), scene.status(young)) == (Status.DELETED, Status.COMPLETED)
    assert scene.objects_of(old) == set()
    assert scene.is_whole(young)
    assert scene.is_whole(newest)
    assert report.sweep is not None
    assert report.sweep.records_removed.objects == 3
    assert report.sweep.packs_removed == Amount(objects=1, size_bytes=100)
    assert report.sweep.living == Amount(objects=2, size_bytes=200)


def test_a_deleted_backup_keeps_its_record_with_the_reason_and_an_audit_event(scene: Scene) -> None:
    old, _, newest = scene.backup(8), scene.backup(2), scene.backup(1)

    scene.rotate()

    record = scene.catalog.get_backup(old.id)
    reason = f"daily, 7 days were over on 2026-11-21 05:00 UTC; {newest.id} is newer and verified"
    assert (record.deletion, record.deleted_at) == (reason, NOW)
    assert (record.rows, record.manifest_sha256) == (old.rows, old.manifest_sha256)
    (event,) = scene.catalog.audit.events(target="shop")
    assert (event.actor, event.action, event.subject, event.detail) == ("rotate", "backup.deleted", old.id, reason)


def test_packs_that_a_younger_backup_points_at_stay(scene: Scene) -> None:
    first = scene.backup(10, own=2)
    shared = scene.packs_of(first)[0]
    second = scene.begin(2)
    scene.catalog.complete_backup(completed(second, *scene.commit(second, (shared,))))
    scene.catalog.keeping.mark_verified(second.id, NOW)
    scene.backup(1)

    report = scene.rotate()

    assert scene.status(first) is Status.DELETED
    assert scene.objects_of(first) == {shared.key}
    assert scene.is_whole(second)
    assert report.sweep is not None
    assert report.sweep.packs_removed.objects == 1
    # When that one goes as well, so does the pack
    scene.now += timedelta(days=10)
    scene.backup(1)
    scene.backup(0.5)
    scene.rotate()
    assert scene.objects_of(first) == set()


def test_a_dry_run_says_what_would_happen_and_changes_nothing(scene: Scene) -> None:
    old, _, _ = scene.backup(8), scene.backup(2), scene.backup(1)
    scene.failed(3)
    before = scene.objects()

    planned = scene.rotate(dry_run=True)

    assert scene.objects() == before
    assert scene.status(old) is Status.COMPLETED
    assert list(scene.catalog.audit.events()) == []
    done = scene.rotate()
    assert planned.sweep is not None
    assert planned.sweep == done.sweep
    assert planned.decisions == done.decisions
    assert planned.sweep.packs_removed.objects == 2


def test_only_the_named_target_is_rotated(scene: Scene) -> None:
    scene.targets = ("shop", "blog")
    old = {name: oldest_of(scene.backup(age, target=name) for age in (9, 1, 0.5)) for name in scene.targets}

    report = scene.rotate(only="blog")

    assert (scene.status(old["shop"]), scene.status(old["blog"])) == (Status.COMPLETED, Status.DELETED)
    assert {decision.target for decision in report.decisions} == {"blog"}


def test_of_a_target_that_is_not_configured_nothing_goes(scene: Scene) -> None:
    old = oldest_of(scene.backup(age, target="gone") for age in (900, 2, 1))

    report = scene.rotate()

    assert report.not_configured == ("gone",)
    assert scene.is_whole(old)


def test_after_a_backup_the_vault_is_left_alone_when_nothing_goes(scene: Scene) -> None:
    scene.backup(1)
    scene.failed(3)

    report = scene.rotate(always_sweep=False)

    assert report.sweep is None
    assert [decision.action for decision in report.decisions] == [Action.KEEP]


def test_a_limit_is_measured_by_what_really_goes(scene: Scene) -> None:
    """The first backup wrote most of what the others need: removing it alone frees nothing."""
    first = scene.backup(5, own=4)
    scene.backup(4, shares=first)
    last = scene.backup(3, shares=first)
    scene.backup(2, shares=last, own=0)
    scene.retention = {"maximum_bytes": 950}

    report = scene.rotate(dry_run=True)

    # 4 packs, 1 that the second backup alone needs, 1, and 4 lists of entries: 1,000 bytes
    assert {d.backup_id: d.size_bytes for d in report.decisions}[first.id] == 100
    assert [d.backup_id for d in report.decisions if d.action is Action.DELETE] == [first.id]


def test_a_limit_is_not_applied_when_the_size_is_not_known(scene: Scene) -> None:
    copies = [scene.backup(age) for age in (5, 4, 3, 2)]
    scene.retention = {"maximum_bytes": 1}
    scene.store.delete(copies[1].manifest_key or "")

    report = scene.rotate()

    assert {decision.action for decision in report.decisions} == {Action.KEEP}
    assert code_of(report.problems) == {"MANIFEST_MISSING"}
    assert "was not applied" in report.problems[0].text


# --- failed, dead and running ones ---


def test_what_a_failed_run_left_goes_a_day_later(scene: Scene) -> None:
    early, late = scene.failed(0.9), scene.failed(1.1)

    report = scene.rotate()

    assert scene.objects_of(late) == set()
    # Records are left as they are: the run failed
    assert scene.status(late) is Status.FAILED
    assert len(scene.objects_of(early)) == 2
    assert report.sweep is not None
    assert report.sweep.waits == (f"backup {early.id} of shop failed less than 24 hours ago",)


def test_a_run_that_is_silent_for_a_day_is_ended_and_told(scene: Scene) -> None:
    dead = scene.begin(1.5)
    scene.pack(dead.id)

    scene.rotate()

    assert scene.status(dead) is Status.FAILED
    assert [backup.id for backup in scene.died] == [dead.id]
    assert len(scene.objects_of(dead)) == 1
    scene.now += timedelta(days=1.1)
    scene.rotate()
    assert scene.objects_of(dead) == set()


def test_a_silent_run_that_had_committed_is_completed(scene: Scene) -> None:
    dead = scene.begin(1.5)
    scene.commit(dead, (scene.pack(dead.id),))

    scene.rotate()

    assert scene.status(dead) is Status.COMPLETED
    assert scene.is_whole(dead)
    assert scene.died == []


def test_while_a_backup_runs_no_pack_of_its_target_goes(scene: Scene) -> None:
    old, _, _ = scene.backup(8), scene.backup(2), scene.backup(1)
    running = scene.begin(0.001)
    scene.pack(running.id)
    other = oldest_of(scene.backup(age, target="blog") for age in (8, 2, 1))
    scene.targets = ("shop", "blog")

    report = scene.rotate()

    assert scene.status(old) is Status.DELETED
    assert len(scene.objects_of(old)) == 1
    assert len(scene.objects_of(running)) == 1
    assert scene.objects_of(other) == set()
    assert report.sweep is not None
    assert report.sweep.waits == (f"backup {running.id} of shop is running",)


def restoring(scene: Scene, backup: Backup, age: timedelta = timedelta(0)) -> Restore:
    since = scene.now - age
    restore = Restore(
        id=str(ULID.from_datetime(since)),
        backup_id=backup.id,
        target=backup.target,
        destination="db.example/copy",
        status=Status.IN_PROGRESS,
        created_at=since,
        heartbeat_at=since,
    )
    scene.catalog.create_restore(restore)
    return restore


def test_a_backup_that_is_being_restored_stays(scene: Scene) -> None:
    """The backup that is taken before a restore in place starts a rotation."""
    old, _, _ = scene.backup(8), scene.backup(2), scene.backup(1)
    restore = restoring(scene, old)

    report = scene.rotate()

    assert scene.is_whole(old)
    assert scene.status(old) is Status.COMPLETED
    assert f"restore {restore.id} of it is running" in [decision.reason for decision in report.decisions]
    # And when the restore has ended, or was not heard of for a day, it goes
    scene.now += timedelta(days=1.1)
    scene.rotate()
    assert scene.objects_of(old) == set()


def test_what_somebody_deletes_while_it_is_restored_stays_until_the_restore_has_ended(scene: Scene) -> None:
    old, _, _ = scene.backup(3), scene.backup(2), scene.backup(1)
    restore = restoring(scene, old)
    scene.catalog.keeping.delete(old, "by hand", scene.now)

    scene.rotate()
    assert scene.is_whole(old)

    scene.catalog.finish_restore(restore.model_copy(update={"status": Status.COMPLETED}))
    scene.rotate()
    assert scene.objects_of(old) == set()


# --- what is not Coffre's ---


FOREIGN = [
    "photos/cat.jpg",
    "v0/packs/x",
    "v1/backups/shop/readme.txt",
    "v1/packs/readme.txt",
    "v2/backups/shop/manifest.json",
    "v1/restores/notes.txt",
    "v1/anything",
    "scratch/notes.txt",
    "scratch/01K9X0000000000000000000/a",
]


def test_foreign_objects_are_told_and_never_touched(scene: Scene) -> None:
    old = oldest_of(scene.backup(age) for age in (8, 2, 1))
    foreign = {scene.put(key) for key in FOREIGN}
    foreign |= {
        scene.put(f"v1/backups/shop/{old.id}/{name}")
        for name in ("a.txt", "f.txt", "manifest.json.bak", "marks/tier-DAILY.txt", "sub/manifest.json", "z")
    }
    foreign |= {
        scene.put(f"v1/packs/{old.id}/{name}")
        for name in ("000001-0000000a-0000.bak", "1-a-1", "000001-0000000A-0000", "sub/000001-0000000a-0000")
    }
    names = ("json", "state.json", "names-000001.jsonl.zst", "failed-000012.jsonl.zst")
    records_of_a_restore = {scene.put(f"v1/restores/01K9X000000000000000000000.{name}") for name in names}
    copies_of_a_drill = {scene.put("scratch/01K9X000000000000000000000/photos/a.txt")}
    anchors = {scene.put("v1/audit/anchors/01K9X000000000000000000000.json")}
    foreign |= {
        scene.put(f"v1/audit/{name}")
        for name in ("anchors/01K9X000000000000000000000.txt", "anchors/a.json", "01K9X000000000000000000000.json")
    }

    report = scene.rotate()

    assert scene.status(old) is Status.DELETED
    assert scene.objects_of(old) == {key for key in foreign if old.id in key}
    assert foreign | records_of_a_restore | copies_of_a_drill | anchors <= scene.objects()
    assert report.sweep is not None
    assert set(report.sweep.foreign_keys) == foreign
    assert report.sweep.foreign.objects == len(foreign)


def test_a_copy_of_a_folder_under_another_name_is_not_taken_for_the_backup(scene: Scene) -> None:
    old = oldest_of(scene.backup(age) for age in (8, 2, 1))
    body = (scene.root / str(old.manifest_key)).read_bytes()
    copied = scene.put(f"v1/backups/copy/{old.id}/manifest.json", body)

    report = scene.rotate()

    assert copied in scene.objects()
    # What it names stays, whatever it is
    assert len(scene.objects_of(old)) == 2
    assert report.sweep is not None
    assert code_of(report.sweep.problems) == {"MANIFEST_SWAPPED"}


def test_packs_of_a_run_that_the_catalog_does_not_know_have_thirty_days(scene: Scene) -> None:
    long_ago, lately = (str(ULID.from_datetime(NOW - timedelta(days=days))) for days in (31, 29))
    packs = {name: scene.pack(name).key for name in (long_ago, lately)}
    for key in packs.values():
        os.utime(scene.root / key, (MONTH_AGO, MONTH_AGO))
    copied = scene.pack(long_ago).key  # an old pack that somebody has just copied into this vault
    os.utime(scene.root / copied, (NOW.timestamp(), NOW.timestamp()))

    scene.rotate()

    assert scene.objects("v1/packs/") == {packs[lately], copied}


# --- what is not known for sure ---


def test_when_a_manifest_is_missing_no_pack_of_its_target_goes(scene: Scene) -> None:
    old, lost, _ = scene.backup(8), scene.backup(2), scene.backup(1)
    scene.store.delete(lost.manifest_key or "")
    other = oldest_of(scene.backup(age, target="blog") for age in (8, 2, 1))
    scene.targets = ("shop", "blog")

    report = scene.rotate()

    assert len(scene.objects_of(old)) == 1
    assert scene.objects_of(lost) >= {scene.put(key) for key in scene.objects_of(lost)}
    assert scene.objects_of(other) == set()
    assert report.sweep is not None
    (problem,) = report.sweep.problems
    assert (problem.code, problem.target) == ("MANIFEST_MISSING", "shop")
    assert f"coffre delete {lost.id}" in problem.text


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"{}", "MANIFEST_DAMAGED"), (b'{"format": 2}', "MANIFEST_DAMAGED"), (None, "MANIFEST_SWAPPED")],
)
def test_when_a_manifest_is_not_the_one_that_was_written_no_pack_goes(
    scene: Scene, body: bytes | None, code: str
) -> None:
    """Somebody who can write to the vault must not make rotation delete what he cannot."""
    old, spoilt, _ = scene.backup(8), scene.backup(2, own=3), scene.backup(1)
    key = str(spoilt.manifest_key)
    if body is None:
        found = scene.vault.find_manifest("shop", spoilt.id)
        assert found is not None
        body = found[0].model_copy(update={"packs": ()}).model_dump_json().encode()
    scene.put(key, body)

    report = scene.rotate()

    assert len(scene.objects_of(spoilt)) == 5
    assert len(scene.objects_of(old)) == 1
    assert report.sweep is not None
    assert code_of(report.sweep.problems) == {code}


def test_a_pack_that_is_missing_is_told(scene: Scene) -> None:
    backup = scene.backup(2)
    scene.backup(1, own=2)
    (pack,) = scene.packs_of(backup)
    scene.store.delete(pack.key)

    report = scene.rotate()

    assert report.sweep is not None
    (problem,) = report.sweep.problems
    assert (problem.code, problem.target) == ("PACK_MISSING", "shop")
    assert pack.key in problem.text


def test_a_missing_last_pack_is_told_too(scene: Scene) -> None:
    backup = scene.backup(2)
    scene.store.delete(scene.packs_of(backup)[0].key)

    report = scene.rotate()

    assert report.sweep is not None
    assert code_of(report.sweep.problems) == {"PACK_MISSING"}


def test_a_manifest_without_a_record_lives_and_is_told(scene: Scene) -> None:
    stranger = scene.backup(8)
    scene.backup(2)
    scene.backup(1)
    scene.catalog._table._connection.delete_item("BACKUP", range_key=stranger.id)

    report = scene.rotate()

    assert scene.is_whole(stranger)
    assert report.sweep is not None
    (problem,) = report.sweep.problems
    assert (problem.code, problem.target) == ("MANIFEST_UNLISTED", "shop")


def test_what_changed_since_it_was_decided_upon_is_not_deleted(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    old, _, _ = scene.backup(8), scene.backup(2), scene.backup(1)
    delete = scene.catalog.keeping.delete

    def pinned_in_between(*arguments: object) -> object:
        scene.catalog.keeping.pin(old.id, NOW)
        return delete(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(scene.catalog.keeping, "delete", pinned_in_between)

    report = scene.rotate()

    assert scene.is_whole(old)
    assert {decision.action for decision in report.decisions} == {Action.KEEP}


# --- two at once, and no time ---


def test_a_second_rotation_at_once_ends_as_skipped(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    old, _, _ = scene.backup(8), scene.backup(2), scene.backup(1)
    second = []
    delete = scene.catalog.keeping.delete

    def meanwhile(*arguments: object) -> object:
        second.append(scene.rotate(id="second"))
        return delete(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(scene.catalog.keeping, "delete", meanwhile)

    first = scene.rotate(id="first")

    assert first.skipped is None
    assert [one.skipped for one in second] == ["rotation first is running"]
    assert scene.objects_of(old) == set()
    assert scene.rotate().skipped is None


def test_a_rotation_whose_time_is_over_stops_and_the_next_goes_on(scene: Scene) -> None:
    old, _, _ = scene.backup(8, own=5), scene.backup(2), scene.backup(1)
    left = iter([900.0] * 4 + [10.0] * 100)
    scene.remaining_seconds = lambda: next(left)

    with pytest.raises(DeadlineError, match="stopped cleanly"):
        scene.rotate()

    scene.remaining_seconds = lambda: 900.0
    scene.rotate()
    assert scene.objects_of(old) == set()


def test_a_store_that_refuses_stops_the_rotation(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.backup(8, own=3), scene.backup(2), scene.backup(1)

    def refuse(key: str) -> None:
        raise CoffreError("No.", code="STORE_DENIED")

    monkeypatch.setattr(scene.store, "delete", refuse)

    with pytest.raises(CoffreError, match="No"):
        scene.rotate()


def test_references_go_through_files(scene: Scene, tmp_path: Path) -> None:
    backups = [scene.backup(age, own=3) for age in range(5, 0, -1)]
    few = tmp_path / "few"
    few.mkdir()
    references, plain = References(few, in_memory=4), References(few)
    for backup in [*backups, *backups]:
        references.add(scene.packs_of(backup))
        plain.add(scene.packs_of(backup))

    assert len(list(few.iterdir())) > 3
    assert list(references.in_order()) == list(plain.in_order())
    assert [pack.key for pack in references.in_order()] == sorted(scene.objects("v1/packs/"))
