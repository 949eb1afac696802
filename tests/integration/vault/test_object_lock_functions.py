"""The functions with Object Lock on: the environment reaches the store, and people hear what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.conftest import REGION, Coffre, client, new_id

from coffre.model.errors import CoffreError
from coffre.model.hold import HoldReport

LOCKED = "locked-vault"


@pytest.fixture
def locked(coffre: Coffre, shop: str) -> Coffre:
    """A deployment whose vault has Object Lock."""
    client("s3").create_bucket(
        Bucket=LOCKED, CreateBucketConfiguration={"LocationConstraint": REGION}, ObjectLockEnabledForBucket=True
    )
    coffre.environment |= {"COFFRE_VAULT_BUCKET": LOCKED, "COFFRE_VAULT_OBJECT_LOCK": "governance"}
    coffre.configure(shop)
    return coffre


def heads() -> dict[str, dict[str, Any]]:
    keys = [item["Key"] for item in client("s3").list_objects_v2(Bucket=LOCKED).get("Contents", [])]
    return {key: client("s3").head_object(Bucket=LOCKED, Key=key) for key in keys}


def test_a_backup_is_locked_and_verified_and_put_on_hold_and_released(locked: Coffre) -> None:
    made = locked.backup(tier="WEEKLY")

    record = locked.catalog.get_backup(made["id"])
    found = heads()
    assert len(found) >= 3
    assert {head["ObjectLockMode"] for head in found.values()} == {"GOVERNANCE"}
    assert {head["ObjectLockRetainUntilDate"] for head in found.values()} == {record.locked_until}
    assert locked.verify("inventory", share=1)["lock_problems"] == []

    held = HoldReport.model_validate(locked.rotate(hold=record.id, reason="case 4711", actor="ada"))
    assert held.failure is None
    assert held.legal_holds
    on_hold = {key for key, head in heads().items() if head.get("ObjectLockLegalHoldStatus") == "ON"}
    assert on_hold == found.keys()
    events = [(event.actor, event.action, event.subject) for event in locked.catalog.audit.events()]
    assert ("ada", "backup.held", record.id) in events

    released = HoldReport.model_validate(locked.rotate(release=record.id, actor="ada"))
    assert released.objects == len(found)
    assert not [key for key, head in heads().items() if head.get("ObjectLockLegalHoldStatus") == "ON"]
    assert locked.alerts() == []


def test_a_lock_that_is_too_short_is_an_alert_once_and_rotation_ends_it(locked: Coffre) -> None:
    made = locked.backup(tier="WEEKLY")
    key = locked.catalog.get_backup(made["id"]).manifest_key
    body = client("s3").get_object(Bucket=LOCKED, Key=key)["Body"].read()
    client("s3").put_object(Bucket=LOCKED, Key=key, Body=body)  # the current version now has no lock

    for _ in range(2):
        problems = locked.verify("inventory", share=1)["lock_problems"]
        assert [problem["code"] for problem in problems] == ["LOCK_TOO_SHORT"]
    [alert] = locked.troubles()
    assert alert["MessageAttributes"]["kind"]["Value"] == "LOCK_TOO_SHORT"
    assert str(key) in alert["Message"]


def test_a_hold_of_a_backup_that_does_not_exist_is_an_answer_and_no_alert(locked: Coffre) -> None:
    report = HoldReport.model_validate(locked.rotate(hold=new_id(), actor="ada"))

    assert report.failure is not None
    assert report.failure.code == "BACKUP_UNKNOWN"
    assert locked.alerts() == []


def test_asking_for_locks_of_a_bucket_without_them_fails_the_backup_and_says_what_to_do(
    coffre: Coffre, shop: str
) -> None:
    coffre.environment |= {"COFFRE_VAULT_OBJECT_LOCK": "compliance"}
    coffre.configure(shop)

    with pytest.raises(CoffreError) as refused:
        coffre.backup(tier="DAILY")

    assert refused.value.code == "LOCKS_OFF"
    assert coffre.objects("v1/") == {}
    [alert] = coffre.troubles()
    assert "LOCKS_OFF" in alert["Subject"] + alert["Message"]
    assert "put-object-lock-configuration" in alert["Message"]
