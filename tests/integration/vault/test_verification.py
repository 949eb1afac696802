"""The function `verify` beside real backups: what is damaged is found, told, and not pointed at again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.integration.conftest import BUCKET, Coffre, Context, client, new_id, run_sql

from coffre.model.errors import BackupStateError, CoffreError, IntegrityError
from coffre.runtime import verify_function

ROWS = "SELECT count(*), sum(id), min(note) FROM orders"


def later(monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    now = datetime.now(UTC) + timedelta(hours=hours)
    monkeypatch.setattr(verify_function, "utc_now", lambda: now)


def spoil_a_pack(coffre: Coffre) -> str:
    """Change one byte in the middle of the largest pack."""
    key, body = max(coffre.objects("v1/packs/").items(), key=lambda item: len(item[1]))
    middle = len(body) // 2
    coffre.put_object(key, body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :])
    return key


def told(coffre: Coffre) -> list[tuple[str, str]]:
    """What people were told since they were last asked, but for the weekly mail: kinds and states."""
    attributes = [alert["MessageAttributes"] for alert in coffre.alerts()]
    found = [(one["kind"]["Value"], one["state"]["Value"]) for one in attributes]
    return [one for one in found if one != ("AUDIT_ANCHORED", "new")]


def test_a_backup_is_verified_by_reading_and_every_level_is_content(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    made = coffre.backup()

    read = coffre.verify("read", target="shop")
    looked = coffre.verify("inventory", share=1)
    checked = coffre.verify("fresh")

    assert (read["status"], looked["status"], checked["status"]) == (200, 200, 200)
    assert [(one["backup_id"], one["outcome"]) for one in read["examined"]] == [(made["id"], "verified")]
    assert looked["checksums"] == looked["packs"]["objects"] > 0
    assert looked["checksums_not_kept"] == 0
    assert {check["check"]: check["last_backup"] for check in checked["checks"]} == dict.fromkeys(
        ("backup", "verified", "copy"), made["id"]
    )
    assert told(coffre) == []


def test_damage_is_told_with_what_to_go_back_to_and_the_next_backup_is_whole(
    coffre: Coffre, shop: str, new_database: str
) -> None:
    # Given a backup whose bytes are not what was stored
    coffre.configure(shop)
    spoiled = coffre.backup()
    key = spoil_a_pack(coffre)
    expected = run_sql(shop, ROWS)

    found = coffre.verify("read", backup_id=spoiled["id"])

    # Then it is told, once
    assert (found["status"], found["healthy"]) == (500, {"shop": None})
    (alert,) = coffre.alerts()
    assert alert["MessageAttributes"]["kind"]["Value"] == "VERIFY_FAILED"
    assert "Backup to restore: NONE" in alert["Message"]
    coffre.verify("read", backup_id=spoiled["id"])
    assert told(coffre) == []
    # And no restore takes it for the latest, but one that says its id
    with pytest.raises(BackupStateError, match="BACKUP_DAMAGED"):
        coffre.restore("latest", new_database, target="shop")
    with pytest.raises(IntegrityError):
        coffre.restore(spoiled["id"], new_database)
    coffre.alerts()
    # And the next backup stores anew what was there, needs nothing of it, and is read whole
    whole = coffre.backup()
    key_of_manifest = f"v1/backups/shop/{whole['id']}/manifest.json"
    manifest = json.loads(coffre.objects(key_of_manifest)[key_of_manifest])
    assert key not in {pack["key"] for pack in manifest["packs"]}
    assert coffre.verify("read", backup_id=whole["id"])["status"] == 200
    assert coffre.restore("latest", new_database, target="shop")["backup_id"] == whole["id"]
    assert run_sql(new_database, ROWS) == expected


def test_what_was_deleted_behind_coffres_back_is_found_by_the_inventory(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    older = coffre.backup()
    newest = coffre.backup(full=True)
    lost = next(key for key in coffre.objects("v1/packs/") if f"/{newest['id']}/" in key)
    client("s3").delete_object(Bucket=BUCKET, Key=lost)

    report = coffre.verify("inventory")

    assert [one["backup_id"] for one in report["damaged"]] == [newest["id"]]
    assert report["healthy"] == {"shop": older["id"]}
    (alert,) = coffre.alerts()
    assert f"Backup to restore: {older['id']}" in alert["Message"]
    assert lost in alert["Message"]
    (finding,) = [key for key in coffre.objects() if key.startswith(f"v1/backups/shop/{newest['id']}/reports/damage-")]
    assert json.loads(coffre.objects()[finding])["packs"] == [lost]


def test_an_object_in_the_place_of_a_pack_is_found_without_reading_it(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    coffre.backup()
    key, body = max(coffre.objects("v1/packs/").items(), key=lambda item: len(item[1]))
    client("s3").put_object(Bucket=BUCKET, Key=key, Body=bytes(len(body)), ChecksumAlgorithm="SHA256")

    report = coffre.verify("inventory", share=1)

    assert [one["code"] for one in report["damaged"][0]["damages"]] == ["PACK_SWAPPED"]


def test_a_target_without_a_recent_backup_is_told_until_there_is_one(
    coffre: Coffre, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre.configure(shop)
    coffre.backup()
    later(monkeypatch, 29)

    checked = coffre.verify("fresh")
    coffre.verify("fresh")

    assert checked["status"] == 500
    assert told(coffre) == [("BACKUP_OVERDUE", "new")]
    later(monkeypatch, 1)
    assert coffre.verify("fresh")["status"] == 200
    assert told(coffre) == [("BACKUP_OVERDUE", "recovered")]


def test_reading_is_started_for_each_target_that_has_backups(
    coffre: Coffre, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre.configure(shop)
    coffre.backup()
    started: list[dict[str, Any]] = []
    functions = coffre.verify_function().services.functions
    monkeypatch.setattr(functions, "invoke", lambda **call: started.append(call), raising=False)

    answer = coffre.verify("read", share=0.5)

    assert answer == {"level": "read", "started": ["shop"]}
    (call,) = started
    assert (call["FunctionName"], call["InvocationType"]) == ("verify", "Event")
    assert json.loads(call["Payload"]) == {"level": "read", "target": "shop", "share": 0.5}


@pytest.mark.parametrize(
    ("event", "code"),
    [({"level": "freh"}, "EVENT_INVALID"), ({"level": "fresh", "target": "nope"}, "TARGET_UNKNOWN")],
)
def test_an_event_that_means_nothing_is_refused_and_told(
    coffre: Coffre, shop: str, event: dict[str, str], code: str
) -> None:
    coffre.configure(shop)

    with pytest.raises(CoffreError) as caught:
        coffre.verify_function().handle(event, Context(function_name="verify"))

    assert caught.value.code == code
    assert told(coffre) == [("CONFIG_INVALID", "new")]


def test_a_verification_that_stops_is_an_error_and_calls_no_backup_bad(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    made = coffre.backup()
    coffre.environment["COFFRE_IDENTITY_SECRET"] = "coffre/identity/nowhere"

    with pytest.raises(CoffreError, match="SECRET_MISSING"):
        coffre.verify("read", target="shop")

    (alert,) = coffre.alerts()
    assert alert["Subject"] == "A verification could not be done: SECRET_MISSING"
    # By an id it is the same problem of the same target, and a wrong id is none
    for asked in (made["id"], new_id()):
        with pytest.raises(CoffreError):
            coffre.verify("read", backup_id=asked)
    assert [one.target for one in coffre.catalog.incidents.open()] == ["shop"]
    assert told(coffre) == [("REQUEST_REFUSED", "new")]
    assert coffre.catalog.get_backup(made["id"]).damaged_at is None


def test_what_there_was_no_time_for_is_told(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    made = coffre.backup()

    report = coffre.verify("read", Context(remaining=lambda: 20.0, function_name="verify"), target="shop", share=1)

    assert (report["status"], report["unfinished"]) == (500, "The time was over before the day's share was read.")
    assert [one["outcome"] for one in report["examined"]] == ["unfinished"]
    (alert,) = coffre.alerts()
    assert alert["Subject"] == "A verification could not be done: DEADLINE"
    assert coffre.catalog.get_backup(made["id"]).damaged_at is None
    # And when the next one gets through, that is over
    assert coffre.verify("read", target="shop")["status"] == 200
    assert told(coffre) == [("VERIFY_FAILED", "recovered")]


def test_who_encrypts_nothing_needs_no_key_to_verify(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop, encryption="none", recipients=[])
    made = coffre.backup()
    coffre.environment["COFFRE_IDENTITY_SECRET"] = "coffre/identity/nowhere"

    report = coffre.verify("read", target="shop")

    assert [(one["backup_id"], one["outcome"]) for one in report["examined"]] == [(made["id"], "verified")]


def test_a_new_stack_alarms_nobody_before_its_first_backup_is_due(
    coffre: Coffre, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre.configure(shop)

    at_once = coffre.verify("fresh")
    told_at_once = told(coffre)
    later(monkeypatch, 29)
    a_day_later = coffre.verify("fresh")

    assert (at_once["status"], told_at_once) == (200, [])
    assert a_day_later["status"] == 500
    assert told(coffre) == [("BACKUP_OVERDUE", "new")]
