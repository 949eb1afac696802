"""Objects that a restore overwrites or deletes are in a backup first, and come back from it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.integration.bucket_backups import Object, keep_backup
from tests.integration.conftest import BUCKET, REGION, Coffre, Context, client

from coffre.model.backup import Backup, RestoreReport, Tier
from coffre.model.errors import CoffreError
from coffre.model.manifest import BucketSummary
from coffre.model.safety import Safety, SafetyState
from coffre.model.target import BucketSource, ObjectStore
from coffre.operations.restore_buckets.safety import Stake, is_same_store
from coffre.operations.runs import safety
from coffre.runtime.backup_storage_function import BackupStorageFunction
from coffre.vault.codec import public_key


@pytest.fixture
def uploads(coffre: Coffre, monkeypatch: pytest.MonkeyPatch) -> Coffre:
    """The target `uploads` with the bucket `photos`; no backup but one of the tier SAFETY is recent."""
    moment = safety.moment

    def hours_ago(backup: Backup) -> Any:
        return moment(backup) if Tier.SAFETY in backup.tiers else moment(backup) - timedelta(hours=5)

    monkeypatch.setattr(safety, "moment", hours_ago)
    configure(coffre, {"name": "photos"})
    client("s3").create_bucket(Bucket="photos", CreateBucketConfiguration={"LocationConstraint": REGION})
    return coffre


def configure(coffre: Coffre, *buckets: dict[str, Any]) -> None:
    target = {"name": "uploads", "kind": "bucket", "buckets": buckets, "limits": {"streams": 1}}
    coffre.document(json.dumps({"encryption": "age", "recipients": [public_key(coffre.identity)], "targets": [target]}))


def back_up(coffre: Coffre, tier: str = "MANUAL") -> str:
    function: BackupStorageFunction = coffre._function(BackupStorageFunction.make)
    context = Context(function_name="backup-storage")
    backup_id: str = function.handle({"target": "uploads", "tier": tier}, context)["id"]
    return backup_id


def restore(coffre: Coffre, backup_id: str, **storage: Any) -> RestoreReport:
    event = {"backup_id": backup_id, "streams": 1, "storage": storage}
    answer = coffre.restore_function().handle(event, Context(function_name="restore"))
    record = coffre.catalog.get_restore(answer["id"])
    return coffre.restore_function().services.vault.read_report(record.report_key or "")


def safety_of(report: RestoreReport) -> Safety:
    assert report.safety is not None
    return report.safety


def refused(coffre: Coffre, backup_id: str, **storage: Any) -> CoffreError:
    with pytest.raises(CoffreError) as caught:
        restore(coffre, backup_id, **storage)
    return caught.value


def put(**objects: str) -> None:
    for key, body in objects.items():
        client("s3").put_object(Bucket="photos", Key=key, Body=body.encode())


def bodies() -> dict[str, bytes]:
    s3 = client("s3")
    listed = s3.list_objects_v2(Bucket="photos").get("Contents", [])
    return {item["Key"]: s3.get_object(Bucket="photos", Key=item["Key"])["Body"].read() for item in listed}


def test_a_bucket_is_mirrored_and_set_back_to_what_it_was(uploads: Coffre) -> None:
    put(cat="cat", dog="dog")
    old = back_up(uploads)
    put(dog="wolf", owl="owl")
    client("s3").delete_object(Bucket="photos", Key="cat")
    present = bodies()

    plan = safety_of(restore(uploads, old, mode="mirror", dry_run=True))
    assert (plan.state, plan.target) == (SafetyState.NEEDED, "uploads")
    error = refused(uploads, old, mode="mirror")
    assert error.code == "SAFETY_NEEDED"
    assert '{"target": "uploads", "tier": "SAFETY"} to the function backup_storage' in (error.hint or "")
    assert bodies() == present

    saved = back_up(uploads, "SAFETY")
    done = restore(uploads, old, mode="mirror")
    assert bodies() == {"cat": b"cat", "dog": b"dog"}
    assert safety_of(done).backup_id == saved

    back_up(uploads, "SAFETY")
    restore(uploads, saved, mode="mirror")
    assert bodies() == present


def test_what_writes_missing_objects_only_or_into_an_empty_place_needs_no_backup(uploads: Coffre) -> None:
    put(cat="cat")
    old = back_up(uploads)
    client("s3").create_bucket(Bucket="empty", CreateBucketConfiguration={"LocationConstraint": REGION})

    assert restore(uploads, old).safety is None
    assert safety_of(restore(uploads, old, to="empty", mode="overwrite")).state is SafetyState.NOT_NEEDED
    # The next one finds objects there, in a bucket of nobody's
    assert refused(uploads, old, to="empty", mode="overwrite").code == "SAFETY_IMPOSSIBLE"
    declined = restore(uploads, old, to="empty", mode="overwrite", no_safety=True)
    assert safety_of(declined).state is SafetyState.DECLINED


def test_what_the_configuration_leaves_out_today_is_not_called_safe(uploads: Coffre) -> None:
    put(cat="cat", dog="dog")
    old = back_up(uploads)
    configure(uploads, {"name": "photos", "exclude": ["d*"]})
    back_up(uploads, "SAFETY")

    error = refused(uploads, old, mode="overwrite")

    assert error.code == "SAFETY_IMPOSSIBLE"
    assert "the configuration of uploads leaves some of it out" in error.message


def test_the_state_of_several_invocations_is_named_by_the_last(uploads: Coffre, tmp_path: Path) -> None:
    vault = uploads.restore_function().services.vault
    objects = {f"photos/{n:02d}": Object(b"%d" % n) for n in range(9)}
    backup = keep_backup(vault, objects, tmp_path, recipients=[public_key(uploads.identity)])
    uploads.catalog.create_backup(backup)
    put(**{"00": "other"})
    saved = back_up(uploads, "SAFETY")
    events: list[dict[str, Any]] = []

    class Lambda:
        def invoke(self, FunctionName: str, InvocationType: str, Payload: bytes) -> None:  # noqa: N803
            events.append(json.loads(Payload))

    function = uploads.restore_function()
    vars(function.services)["functions"] = Lambda()
    event = {"backup_id": backup.id, "streams": 1, "storage": {"mode": "overwrite"}}
    counts = iter(range(6))
    short = Context(lambda: 900 if next(counts, None) is not None else 50, "r", "restore")
    assert function.handle(event, short)["status"] == "IN_PROGRESS"
    answer = function.handle(events[0], Context(function_name="restore"))

    assert answer["status"] == "COMPLETED"
    record = uploads.catalog.get_restore(answer["id"])
    assert safety_of(vault.read_report(record.report_key or "")).backup_id == saved


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (None, None, True),
        (None, "https://s3.eu-west-1.amazonaws.com", True),
        ("https://minio.example", "https://MINIO.example:443/", True),
        ("https://minio.example", "https://minio.example:9000", False),
        ("https://minio.example", None, False),
        ("https://x.supabase.co/storage/v1/s3", "https://y.supabase.co/storage/v1/s3", False),
    ],
)
def test_stores_are_told_apart_by_their_addresses(one: str | None, other: str | None, same: bool) -> None:
    assert is_same_store(ObjectStore(endpoint=one), ObjectStore(endpoint=other)) is same


@pytest.mark.parametrize(
    ("source", "base", "start", "taken", "inside"),
    [
        ({}, "", "", {}, True),
        ({}, "", "", {"prefixes": ["a/"]}, False),
        ({}, "", "a/b/", {"prefixes": ["a/"]}, True),
        ({"prefixes": ["a/", "b/"]}, "", "", {"prefixes": ["a/"]}, False),
        ({"prefixes": ["a/", "b/"]}, "", "a/x", {"prefixes": ["a/"]}, True),
        ({"exclude": ["**.tmp"]}, "", "", {"exclude": ["**.tmp"]}, True),
        ({}, "", "", {"exclude": ["**.tmp"]}, False),
        ({"include": ["*.jpg"]}, "", "", {"include": ["*.jpg"]}, True),
        ({}, "", "", {"include": ["*.jpg"]}, False),
        # Below another place the same patterns mean other keys
        ({"exclude": ["*.tmp"]}, "copy/", "copy/", {"exclude": ["*.tmp"]}, False),
        ({}, "copy/", "copy/", {"prefixes": ["copy/"]}, True),
        ({}, "copy/", "copy/", {"name": "else"}, False),
    ],
)
def test_a_backup_holds_what_its_choice_surely_takes(
    source: dict[str, Any], base: str, start: str, taken: dict[str, Any], inside: bool
) -> None:
    summary = BucketSummary.model_validate({"name": "b", "objects": 0, "size": 0, **source})

    assert Stake(summary, "b", base, start).is_in(BucketSource.model_validate({"name": "b", **taken})) is inside


def test_the_vaults_own_bucket_is_no_target(uploads: Coffre) -> None:
    put(cat="cat")
    old = back_up(uploads)

    assert refused(uploads, old, to=BUCKET, mode="mirror").code == "SAFETY_IMPOSSIBLE"
