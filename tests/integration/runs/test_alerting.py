"""What people hear of real runs: once, again when it goes on, and when it is over; and what follows a good backup."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.integration.conftest import BUCKET, Coffre, Context, client, new_id, run_sql
from tests.web import Web

from coffre.model.backup import Backup, Restore, Status, Tier
from coffre.model.errors import CoffreError
from coffre.runtime import heartbeat_url
from coffre.runtime.function import utc_now


def heard(coffre: Coffre) -> list[tuple[str, str, str]]:
    """Take what was sent so far: kind, state and target of each message."""
    attributes = [alert["MessageAttributes"] for alert in coffre.alerts()]
    return [(one["kind"]["Value"], one["state"]["Value"], one["target"]["Value"]) for one in attributes]


def test_a_backup_that_fails_again_and_again_is_told_once_and_when_it_works_again(coffre: Coffre, shop: str) -> None:
    coffre.configure(f"{shop}_that_is_not_there")
    for _ in range(3):
        with pytest.raises(CoffreError, match="DATABASE_MISSING"):
            coffre.backup()
    assert heard(coffre) == [("BACKUP_FAILED", "new", "shop")]

    coffre.configure(shop)
    coffre.backup()
    coffre.backup()

    assert heard(coffre) == [("BACKUP_FAILED", "recovered", "shop")]


def test_a_document_that_is_wrong_is_told_once_and_over_when_the_same_function_can_read_it(
    coffre: Coffre, shop: str
) -> None:
    coffre.document("{")
    for _ in range(2):
        with pytest.raises(CoffreError, match="CONFIGURATION_INVALID"):
            coffre.backup()
    assert heard(coffre) == [("CONFIG_INVALID", "new", "-")]

    coffre.configure(shop)
    coffre.rotate()
    assert heard(coffre) == []
    coffre.backup()
    assert heard(coffre) == [("CONFIG_INVALID", "recovered", "-")]


def test_what_stops_a_drill_of_an_id_is_of_its_target_and_a_wrong_id_of_none(coffre: Coffre) -> None:
    coffre.configure("postgresql://nowhere/shop")
    backup = Backup(id=new_id(), target="shop", tiers=(Tier.DAILY,), status=Status.IN_PROGRESS, created_at=utc_now())
    coffre.catalog.create_backup(backup)
    done = {"completed_at": utc_now(), "manifest_key": "m", "manifest_sha256": "0" * 64}
    coffre.catalog.complete_backup(backup.model_copy(update=done))
    client("secretsmanager").delete_secret(SecretId="coffre/identity/main", ForceDeleteWithoutRecovery=True)

    for asked in (backup.id, new_id()):
        with pytest.raises(CoffreError):
            coffre.drill(backup_id=asked)

    # An alert about no target would say of each that it is not safe, and no drill would end it
    assert heard(coffre) == [("DRILL_FAILED", "new", "shop"), ("REQUEST_REFUSED", "new", "-")]
    assert [one.target for one in coffre.catalog.incidents.open()] == ["shop"]


def test_what_kept_a_drill_from_starting_is_over_with_the_next_one_that_starts(coffre: Coffre) -> None:
    coffre.document("{")
    with pytest.raises(CoffreError, match="CONFIGURATION_INVALID"):
        coffre.drill()
    coffre.configure("postgresql://nowhere/shop")
    with pytest.raises(CoffreError, match="BACKUP_UNKNOWN"):
        coffre.drill()

    assert heard(coffre)[:2] == [("CONFIG_INVALID", "new", "-"), ("CONFIG_INVALID", "recovered", "-")]


# --- what is not as usual ---


def test_a_backup_that_lost_the_rows_of_a_table_is_complete_and_told(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    usual = [coffre.backup()["id"] for _ in range(3)]
    assert heard(coffre) == []

    # When somebody deletes what they should not, the backup is what the database is, and somebody hears of it
    run_sql(shop, "CREATE TABLE kept AS TABLE orders", "DELETE FROM orders")
    lost = coffre.backup()
    again = coffre.backup()

    assert (lost["status"], again["status"]) == ("COMPLETED", "COMPLETED")
    (alert,) = coffre.alerts()
    assert alert["Subject"] == "The backup of shop has shrunk a lot"
    assert "- public.orders: 0 rows, usually 1,000 (-100 %)" in alert["Message"]
    assert lost["id"] in alert["Message"]
    assert f"The backup before it: {usual[-1]}, taken " in alert["Message"]
    assert f"coffre diff {usual[-1]} {lost['id']}" in alert["Message"]

    # And when the rows are back, it is over
    run_sql(shop, "INSERT INTO orders OVERRIDING SYSTEM VALUE TABLE kept")
    coffre.backup()
    assert heard(coffre) == [("SIZE_ANOMALY", "recovered", "shop")]


def test_sizes_are_not_compared_when_told_so(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop, target={"alerts": {"size_change_percent": None}})
    for _ in range(3):
        coffre.backup()
    run_sql(shop, "DELETE FROM orders")

    coffre.backup()

    assert heard(coffre) == []


def test_a_backup_is_good_though_it_cannot_be_compared(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    first = coffre.backup()
    lost = coffre.catalog.get_backup(first["id"]).manifest_key
    coffre.backup(full=True)
    client("s3").delete_object(Bucket=BUCKET, Key=lost)

    assert coffre.backup(full=True)["status"] == "COMPLETED"
    assert heard(coffre) == []


def test_a_review_that_finds_no_time_left_is_left_out(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    for _ in range(3):
        coffre.backup()
    run_sql(shop, "DELETE FROM orders")

    assert coffre.backup(Context(remaining=lambda: 44.0))["status"] == "COMPLETED"

    assert heard(coffre) == []
    assert any("no time was left" in line for line in coffre.log_lines)


# --- the vault ---


def test_a_vault_that_is_nearly_full_is_told_by_the_daily_rotation(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    coffre.backup()
    held = sum(len(body) for body in coffre.objects("v1/packs/").values())

    coffre.configure(shop, vault_quota_bytes=held)
    coffre.rotate(target="shop")
    assert heard(coffre) == []
    coffre.rotate()
    coffre.rotate()
    assert heard(coffre) == [("QUOTA", "new", "-")]

    coffre.configure(shop, vault_quota_bytes=10 * held)
    coffre.rotate()
    assert heard(coffre) == [("QUOTA", "recovered", "-")]


# --- the heartbeat ---


def test_the_heartbeat_url_is_called_after_good_backups_only(coffre: Coffre, shop: str, web: Web) -> None:
    alerts = {"heartbeat_url": f"{web.url}/ping/7c0ffee"}
    coffre.configure(f"{shop}_that_is_not_there", target={"alerts": alerts})
    with pytest.raises(CoffreError):
        coffre.backup()
    assert web.paths() == []

    coffre.configure(shop, target={"alerts": alerts})
    coffre.backup()

    assert web.paths() == ["/ping/7c0ffee"]


@pytest.mark.parametrize("answers", [[404], [500, 500, 500], None])
def test_a_heartbeat_that_fails_is_logged_without_its_url_and_fails_no_backup(
    coffre: Coffre, shop: str, web: Web, answers: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat_url, "_RETRIES", heartbeat_url._RETRIES.new(backoff_factor=0))
    url = f"{web.url}/ping/7c0ffee" if answers else "http://127.0.0.1:1/ping/7c0ffee"
    web.will_answer("/ping/7c0ffee", *(answers or []))
    coffre.configure(shop, target={"alerts": {"heartbeat_url": url}})

    assert coffre.backup()["status"] == "COMPLETED"

    assert len(web.received) == len(answers or [])
    (line,) = [line for line in coffre.log_lines if "HEARTBEAT_NOT_SENT" in line]
    assert "7c0ffee" not in "".join(coffre.log_lines)
    assert "traceback" not in line.lower()


# --- restores ---


def test_a_restore_is_told_when_it_begins_and_when_it_ends_and_a_dry_run_is_not(
    coffre: Coffre, shop: str, new_database: str
) -> None:
    coffre.configure(shop)
    backup = coffre.backup()

    coffre.restore(backup["id"], new_database, dry_run=True)
    assert heard(coffre) == []
    restored = coffre.restore(backup["id"], new_database)

    started, completed = coffre.alerts()
    assert started["MessageAttributes"]["kind"]["Value"] == "RESTORE_STARTED"
    assert completed["MessageAttributes"]["kind"]["Value"] == "RESTORE_COMPLETED"
    assert completed["MessageAttributes"]["severity"]["Value"] == "info"
    assert "2 tables with 1,050 rows" in completed["Message"]
    assert restored["id"] in completed["Message"]


def test_a_restore_that_died_is_told_by_the_next_one(coffre: Coffre, shop: str, new_database: str) -> None:
    coffre.configure(shop)
    backup = coffre.backup()
    dead = Restore(
        id=new_id(),
        backup_id=backup["id"],
        target="shop",
        destination="db.example.org:5432/copy",
        status=Status.IN_PROGRESS,
        created_at=utc_now() - timedelta(hours=1),
        request_id="request-of-the-dead",
    )
    coffre.catalog.create_restore(dead)

    coffre.restore(backup["id"], new_database)
    coffre.restore(backup["id"], new_database, dry_run=True, replace=True)

    [died] = [alert for alert in coffre.alerts() if "RUN_DIED" in alert["Subject"]]
    assert died["MessageAttributes"]["kind"]["Value"] == "RESTORE_FAILED"
    assert dead.id in died["Message"]
    assert "request-of-the-dead" in died["Message"]
