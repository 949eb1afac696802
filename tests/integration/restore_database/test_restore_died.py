"""Restores that were killed without a word: their records do not say for ever that they are running."""

from __future__ import annotations

from datetime import timedelta

from tests.integration.conftest import TABLE, client, new_id
from tests.integration.contents import RoundTrip

from coffre.model.backup import Restore, Status
from coffre.runtime.function import utc_now


def test_the_next_restore_ends_the_records_of_dead_ones(round_trip: RoundTrip) -> None:
    # Given a restore whose heart stopped, and one that is alive
    round_trip.fill("CREATE TABLE t (id int)")
    backup = round_trip.back_up()
    catalog = round_trip.coffre.catalog
    long_ago, now = utc_now() - timedelta(hours=1), utc_now()
    dead, alive = (
        Restore(
            id=new_id(),
            backup_id=backup.id,
            target=backup.target,
            destination="here",
            status=Status.IN_PROGRESS,
            created_at=long_ago,
            heartbeat_at=heartbeat,
        )
        for heartbeat in (long_ago, now)
    )
    catalog.create_restore(dead)
    catalog.create_restore(alive)

    round_trip.restore(backup)

    found = catalog.get_restore(dead.id)
    assert found.status is Status.FAILED
    assert found.failure is not None
    assert found.failure.code == "RUN_DIED"
    assert f"restored_{dead.id.lower()}" in (found.failure.hint or "")
    assert catalog.get_restore(alive.id).status is Status.IN_PROGRESS


def test_a_record_that_somebody_damaged_stops_no_other_restore(round_trip: RoundTrip) -> None:
    round_trip.fill("CREATE TABLE t (id int)")
    backup = round_trip.back_up()
    key = {"pk": {"S": "RESTORE"}, "sk": {"S": new_id()}}
    by_status = {"status": {"S": "IN_PROGRESS"}, "status_key": {"S": "RESTORE#IN_PROGRESS"}}
    client("dynamodb").put_item(TableName=TABLE, Item={**key, **by_status})

    round_trip.restore(backup)
