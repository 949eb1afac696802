"""One backup's record: made, alive, joined by tiers, completed or failed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from moto.core.models import botocore_stubber

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Failure, Progress, Status, Tier
from coffre.model.errors import BackupStateError, LockLostError

type NewBackup = Callable[..., Backup]
type Completed = Callable[[Backup], Backup]

DEAD = Failure(code="DEADLINE", message="The function's time was over.", hint="Give it more memory.")


# --- create and get ---


def test_a_created_backup_comes_back_as_it_was(catalog: Catalog, new_backup: NewBackup) -> None:
    backup = new_backup(tiers=(Tier.DAILY, Tier.WEEKLY), slot="2026-10-02T03:00:00Z", request_id="r-1")
    catalog.create_backup(backup)
    assert catalog.get_backup(backup.id) == backup


def test_an_id_can_be_used_once_only(catalog: Catalog, new_backup: NewBackup) -> None:
    backup = new_backup()
    catalog.create_backup(backup)
    with pytest.raises(BackupStateError) as caught:
        catalog.create_backup(backup.model_copy(update={"target": "blog"}))
    assert caught.value.code == "BACKUP_EXISTS"
    assert catalog.get_backup(backup.id).target == "shop"


def test_even_the_same_record_cannot_be_created_twice(catalog: Catalog, new_backup: NewBackup) -> None:
    backup = new_backup()
    catalog.create_backup(backup)
    with pytest.raises(BackupStateError):
        catalog.create_backup(backup)


def test_a_create_whose_answer_was_lost_succeeds_when_it_is_sent_again(catalog: Catalog, new_backup: NewBackup) -> None:
    _lose_the_first_answer(catalog)
    backup = new_backup(tiers=(Tier.WEEKLY, Tier.DAILY), exceptions=("odd",))
    catalog.create_backup(backup)
    assert catalog.get_backup(backup.id).id == backup.id


def test_a_create_whose_answer_was_lost_still_sees_another_record(catalog: Catalog, new_backup: NewBackup) -> None:
    backup = new_backup()
    catalog.create_backup(backup)
    _lose_the_first_answer(catalog)
    with pytest.raises(BackupStateError) as caught:
        catalog.create_backup(backup.model_copy(update={"target": "blog"}))
    assert caught.value.code == "BACKUP_EXISTS"


def test_a_backup_without_a_tier_is_refused(catalog: Catalog, new_backup: NewBackup) -> None:
    with pytest.raises(BackupStateError) as caught:
        catalog.create_backup(new_backup(tiers=()))
    assert caught.value.code == "BACKUP_WITHOUT_TIER"


def test_an_unknown_backup_is_an_error_that_says_how_to_find_the_known_ones(catalog: Catalog) -> None:
    with pytest.raises(BackupStateError) as caught:
        catalog.get_backup("01NONE")
    assert caught.value.code == "BACKUP_UNKNOWN"
    assert "01NONE" in caught.value.message
    assert "coffre list" in (caught.value.hint or "")


# --- what is stored ---


def test_items_hold_numbers_times_sets_maps_and_lists(
    catalog: Catalog, new_backup: NewBackup, completed: Completed, raw_table: Any
) -> None:
    backup = new_backup(tiers=(Tier.DAILY, Tier.WEEKLY))
    catalog.create_backup(backup)
    catalog.complete_backup(completed(backup).model_copy(update={"progress": Progress(phase="done", done_bytes=7)}))
    item = raw_table.get_item(Key={"pk": "BACKUP", "sk": backup.id})["Item"]
    assert item["stored_bytes"] == 1_234_567_890
    assert item["created_at"] == "2026-10-02T12:00:01.000000+00:00"
    assert item["tiers"] == {"DAILY", "WEEKLY"}
    assert item["progress"]["done_bytes"] == 7
    assert item["exceptions"] == ["extension postgis is not restored"]
    assert (item["target_key"], item["status_key"]) == ("BACKUP#shop", "BACKUP#COMPLETED")
    assert "failure" not in item


# --- heartbeat ---


def test_a_heartbeat_is_stored_with_its_progress(catalog: Catalog, new_backup: NewBackup, now: datetime) -> None:
    backup = new_backup()
    catalog.create_backup(backup)
    progress = Progress(phase="tables", done_bytes=10, total_bytes=100, done_tables=1, total_tables=9, current="orders")
    catalog.heartbeat_backup(backup.id, now, progress)
    found = catalog.get_backup(backup.id)
    assert (found.heartbeat_at, found.progress) == (now, progress)


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.DELETED])
def test_a_heartbeat_of_a_backup_that_is_not_in_progress_tells_the_run_to_stop(
    catalog: Catalog, new_backup: NewBackup, now: datetime, status: Status
) -> None:
    backup = new_backup(status=status)
    catalog.create_backup(backup)
    with pytest.raises(LockLostError) as caught:
        catalog.heartbeat_backup(backup.id, now, Progress())
    assert status in (caught.value.detail or "")
    assert catalog.get_backup(backup.id) == backup


def test_a_heartbeat_never_makes_a_record(catalog: Catalog, now: datetime) -> None:
    with pytest.raises(LockLostError):
        catalog.heartbeat_backup("01NONE", now, Progress())
    with pytest.raises(BackupStateError):
        catalog.get_backup("01NONE")


# --- tiers ---


@pytest.mark.parametrize("status", [Status.IN_PROGRESS, Status.COMPLETED])
def test_a_tier_joins_and_is_not_doubled(catalog: Catalog, new_backup: NewBackup, status: Status) -> None:
    backup = new_backup(status=status)
    catalog.create_backup(backup)
    catalog.add_tier(backup.id, Tier.MONTHLY)
    joined = catalog.add_tier(backup.id, Tier.MONTHLY)
    assert joined.tiers == (Tier.DAILY, Tier.MONTHLY)
    assert catalog.get_backup(backup.id) == joined == backup.model_copy(update={"tiers": joined.tiers})


@pytest.mark.parametrize("status", [Status.FAILED, Status.DELETED])
def test_a_tier_cannot_join_a_backup_that_is_gone(catalog: Catalog, new_backup: NewBackup, status: Status) -> None:
    backup = new_backup(status=status)
    catalog.create_backup(backup)
    with pytest.raises(BackupStateError) as caught:
        catalog.add_tier(backup.id, Tier.MONTHLY)
    assert caught.value.code == "BACKUP_STATE"
    assert catalog.get_backup(backup.id) == backup


def test_a_tier_cannot_join_an_unknown_backup(catalog: Catalog) -> None:
    with pytest.raises(BackupStateError) as caught:
        catalog.add_tier("01NONE", Tier.MONTHLY)
    assert caught.value.code == "BACKUP_UNKNOWN"


# --- complete ---


def test_completing_writes_every_result(catalog: Catalog, new_backup: NewBackup, completed: Completed) -> None:
    backup = new_backup()
    catalog.create_backup(backup)
    stored = catalog.complete_backup(completed(backup))
    assert stored == catalog.get_backup(backup.id) == completed(backup)


def test_a_tier_that_joins_while_the_run_completes_stays(
    catalog: Catalog, new_backup: NewBackup, completed: Completed
) -> None:
    backup = new_backup(tiers=(Tier.DAILY,))
    catalog.create_backup(backup)
    catalog.add_tier(backup.id, Tier.WEEKLY)
    stored = catalog.complete_backup(completed(backup))
    assert stored.tiers == (Tier.DAILY, Tier.WEEKLY)


def test_the_last_heartbeat_and_its_progress_outlive_completion(
    catalog: Catalog, new_backup: NewBackup, completed: Completed, now: datetime
) -> None:
    backup = new_backup()
    catalog.create_backup(backup)
    progress = Progress(phase="sealing", done_bytes=10, total_bytes=10)
    catalog.heartbeat_backup(backup.id, now, progress)
    stored = catalog.complete_backup(completed(backup))
    assert (stored.heartbeat_at, stored.progress) == (now, progress)


def test_completing_again_with_the_same_manifest_is_fine(
    catalog: Catalog, new_backup: NewBackup, completed: Completed
) -> None:
    backup = new_backup()
    catalog.create_backup(backup)
    first = catalog.complete_backup(completed(backup))
    assert catalog.complete_backup(completed(backup)) == first


def test_a_completed_backup_cannot_be_completed_with_another_manifest(
    catalog: Catalog, new_backup: NewBackup, completed: Completed
) -> None:
    backup = new_backup()
    catalog.create_backup(backup)
    first = catalog.complete_backup(completed(backup))
    with pytest.raises(BackupStateError):
        catalog.complete_backup(completed(backup).model_copy(update={"manifest_sha256": "b" * 64}))
    assert catalog.get_backup(backup.id) == first


def test_a_backup_that_was_stopped_while_it_wrote_its_announced_manifest_is_complete_if_it_was_just_heard_of(
    catalog: Catalog, new_backup: NewBackup, completed: Completed, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one that slept meanwhile, rotation may have removed what the manifest refers to."""
    backup = new_backup()
    catalog.create_backup(backup)
    done = completed(backup)
    assert done.manifest_key
    assert done.manifest_sha256
    catalog.announce_manifest(backup.id, done.manifest_key, done.manifest_sha256)
    catalog.heartbeat_backup(backup.id, datetime.now(UTC), Progress())
    catalog.fail_backup(backup.id, Failure(code="SPREAD_STOPPED", message="It was stopped."), now)

    with pytest.raises(BackupStateError):
        catalog.complete_backup(done.model_copy(update={"manifest_sha256": "b" * 64}))
    with monkeypatch.context() as later:
        later.setattr(catalog, "_now", lambda: datetime.now(UTC) + timedelta(minutes=6))
        with pytest.raises(BackupStateError):
            catalog.complete_backup(done)
    assert catalog.get_backup(backup.id).status is Status.FAILED
    stored = catalog.complete_backup(done)
    assert stored == catalog.get_backup(backup.id)
    assert stored.model_copy(update={"heartbeat_at": done.heartbeat_at, "progress": done.progress}) == done


@pytest.mark.parametrize("status", [Status.FAILED, Status.DELETED])
def test_only_a_backup_in_progress_can_be_completed(
    catalog: Catalog, new_backup: NewBackup, completed: Completed, status: Status
) -> None:
    backup = new_backup(status=status)
    catalog.create_backup(backup)
    with pytest.raises(BackupStateError) as caught:
        catalog.complete_backup(completed(backup))
    assert caught.value.code == "BACKUP_STATE"
    assert catalog.get_backup(backup.id) == backup


@pytest.mark.parametrize("missing", ["completed_at", "manifest_key", "manifest_sha256"])
def test_there_is_no_completed_backup_without_a_manifest(
    catalog: Catalog, new_backup: NewBackup, completed: Completed, missing: str
) -> None:
    backup = new_backup()
    catalog.create_backup(backup)
    with pytest.raises(BackupStateError) as caught:
        catalog.complete_backup(completed(backup).model_copy(update={missing: None}))
    assert caught.value.code == "BACKUP_INCOMPLETE"
    assert catalog.get_backup(backup.id).status == Status.IN_PROGRESS


def test_an_unknown_backup_cannot_be_completed(catalog: Catalog, new_backup: NewBackup, completed: Completed) -> None:
    with pytest.raises(BackupStateError) as caught:
        catalog.complete_backup(completed(new_backup()))
    assert caught.value.code == "BACKUP_UNKNOWN"


# --- fail ---


def test_a_failure_is_stored_with_its_reason_and_its_time(
    catalog: Catalog, new_backup: NewBackup, now: datetime
) -> None:
    backup = new_backup()
    catalog.create_backup(backup)
    failed = catalog.fail_backup(backup.id, DEAD, now)
    assert (failed.status, failed.failure, failed.completed_at) == (Status.FAILED, DEAD, now)
    assert catalog.get_backup(backup.id) == failed


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.DELETED])
def test_a_backup_that_has_ended_cannot_fail_any_more(
    catalog: Catalog, new_backup: NewBackup, now: datetime, status: Status
) -> None:
    backup = new_backup(status=status)
    catalog.create_backup(backup)
    assert catalog.fail_backup(backup.id, DEAD, now) == backup
    assert catalog.get_backup(backup.id) == backup


def test_an_unknown_backup_cannot_fail(catalog: Catalog, now: datetime) -> None:
    with pytest.raises(BackupStateError) as caught:
        catalog.fail_backup("01NONE", DEAD, now)
    assert caught.value.code == "BACKUP_UNKNOWN"


def test_a_run_that_was_taken_for_dead_can_neither_renew_nor_publish(
    catalog: Catalog, new_backup: NewBackup, completed: Completed, now: datetime
) -> None:
    backup = new_backup()
    catalog.create_backup(backup)
    catalog.fail_backup(backup.id, DEAD, now)
    with pytest.raises(LockLostError):
        catalog.heartbeat_backup(backup.id, now + timedelta(minutes=1), Progress())
    with pytest.raises(BackupStateError):
        catalog.complete_backup(completed(backup))
    assert catalog.get_backup(backup.id).status == Status.FAILED


def _lose_the_first_answer(catalog: Catalog) -> None:
    """Let the next write reach the table, but its answer never arrive."""
    lost = False

    def send(request: Any, event_name: str, **_: Any) -> None:
        nonlocal lost
        if not lost:
            lost = True
            botocore_stubber(event_name=event_name, request=request)
            raise ReadTimeoutError(endpoint_url=request.url)

    client: Any = catalog._table._connection.connection.client
    client.meta.events.register_first("before-send.dynamodb.PutItem", send)


def test_an_announced_manifest_is_kept_while_the_run_goes_on(catalog: Catalog, new_backup: NewBackup) -> None:
    backup = new_backup()
    catalog.create_backup(backup)

    catalog.announce_manifest(backup.id, "v1/backups/shop/x/manifest.json", "a" * 64)

    found = catalog.get_backup(backup.id)
    assert (found.status, found.manifest_sha256) == (Status.IN_PROGRESS, "a" * 64)


def test_a_run_that_was_taken_for_dead_cannot_announce_a_manifest(
    catalog: Catalog, new_backup: NewBackup, now: datetime
) -> None:
    backup = new_backup()
    catalog.create_backup(backup)
    catalog.fail_backup(backup.id, Failure(code="RUN_DIED", message="It died."), now)

    with pytest.raises(LockLostError):
        catalog.announce_manifest(backup.id, "v1/backups/shop/x/manifest.json", "a" * 64)
