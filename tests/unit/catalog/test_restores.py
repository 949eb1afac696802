"""The record of a restore: made, alive, finished, listed."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Failure, Progress, Restore, Status
from coffre.model.errors import BackupStateError, LockLostError

type NewRestore = Callable[..., Restore]

BROKEN = Failure(code="RESTORE_FAILED", message="Table orders did not load.")


def _finished(restore: Restore, now: datetime, status: Status = Status.COMPLETED) -> Restore:
    failure = BROKEN if status == Status.FAILED else None
    return restore.model_copy(
        update={"status": status, "completed_at": now, "rows": 12, "tables": 3, "failure": failure, "report_key": "r/1"}
    )


def test_a_created_restore_comes_back_as_it_was(catalog: Catalog, new_restore: NewRestore) -> None:
    restore = new_restore(request_id="r-1")
    catalog.create_restore(restore)
    assert catalog.get_restore(restore.id) == restore


def test_a_restore_id_can_be_used_once_only(catalog: Catalog, new_restore: NewRestore) -> None:
    restore = new_restore()
    catalog.create_restore(restore)
    with pytest.raises(BackupStateError) as caught:
        catalog.create_restore(restore)
    assert caught.value.code == "RESTORE_EXISTS"


def test_an_unknown_restore_is_an_error(catalog: Catalog) -> None:
    with pytest.raises(BackupStateError) as caught:
        catalog.get_restore("01NONE")
    assert caught.value.code == "RESTORE_UNKNOWN"


def test_a_restore_and_a_backup_with_one_id_are_two_records(catalog: Catalog, new_restore: NewRestore) -> None:
    restore = new_restore()
    catalog.create_restore(restore)
    with pytest.raises(BackupStateError):
        catalog.get_backup(restore.id)


def test_a_restore_tells_its_progress(catalog: Catalog, new_restore: NewRestore, now: datetime) -> None:
    restore = new_restore()
    catalog.create_restore(restore)
    catalog.heartbeat_restore(restore.id, now, Progress(phase="data", done_tables=1, total_tables=3))
    found = catalog.get_restore(restore.id)
    assert (found.heartbeat_at, found.progress.phase, found.progress.done_tables) == (now, "data", 1)


def test_a_heartbeat_of_a_restore_that_has_ended_tells_the_run_to_stop(
    catalog: Catalog, new_restore: NewRestore, now: datetime
) -> None:
    restore = new_restore(status=Status.FAILED)
    catalog.create_restore(restore)
    with pytest.raises(LockLostError):
        catalog.heartbeat_restore(restore.id, now, Progress())


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED])
def test_a_restore_ends_with_its_results_and_ending_it_again_is_fine(
    catalog: Catalog, new_restore: NewRestore, now: datetime, status: Status
) -> None:
    restore = new_restore()
    catalog.create_restore(restore)
    finished = _finished(restore, now, status)
    assert catalog.finish_restore(finished) == finished
    assert catalog.finish_restore(finished) == finished
    assert catalog.get_restore(restore.id) == finished


def test_a_failed_restore_cannot_become_a_completed_one(
    catalog: Catalog, new_restore: NewRestore, now: datetime
) -> None:
    restore = new_restore()
    catalog.create_restore(restore)
    failed = catalog.finish_restore(_finished(restore, now, Status.FAILED))
    with pytest.raises(BackupStateError) as caught:
        catalog.finish_restore(_finished(restore, now))
    assert caught.value.code == "RESTORE_STATE"
    assert catalog.get_restore(restore.id) == failed


def test_a_restore_cannot_end_in_progress(catalog: Catalog, new_restore: NewRestore) -> None:
    restore = new_restore()
    catalog.create_restore(restore)
    with pytest.raises(BackupStateError) as caught:
        catalog.finish_restore(restore)
    assert caught.value.code == "RESTORE_STATE"


def test_an_unknown_restore_cannot_end(catalog: Catalog, new_restore: NewRestore, now: datetime) -> None:
    with pytest.raises(BackupStateError) as caught:
        catalog.finish_restore(_finished(new_restore(), now + timedelta(minutes=1)))
    assert caught.value.code == "RESTORE_UNKNOWN"


def test_restores_are_listed_newest_first_and_by_target(catalog: Catalog, new_restore: NewRestore) -> None:
    first, other, last = new_restore(), new_restore(target="blog"), new_restore()
    for restore in (first, other, last):
        catalog.create_restore(restore)
    assert list(catalog.restores()) == [last, other, first]
    assert list(catalog.restores("shop")) == [last, first]
