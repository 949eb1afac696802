"""Objects that a restore overwrites or deletes are in a backup first, and come back from it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from tests.confirming import overwrites, with_confirmation
from tests.contract.weed import OWNER, Weed
from tests.integration.conftest import Coffre, Context

from coffre.model.bucket_target import BucketSource, ObjectStore
from coffre.model.errors import CoffreError
from coffre.model.manifest import BucketSummary
from coffre.model.restore_report import RestoreReport
from coffre.model.safety import Safety, SafetyState
from coffre.operations.restore_buckets.safety import Stake, is_same_store
from coffre.runtime.backup_storage_function import BackupStorageFunction
from coffre.stores.s3_client import make_client
from coffre.vault.codec import public_key

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


@dataclass
class Uploads:
    """A deployment with the target `uploads` and its bucket, in a store that is not AWS."""

    coffre: Coffre
    endpoint: str
    bucket: str
    s3: S3Client
    started: list[dict[str, Any]] = field(default_factory=list)

    def configure(self, **bucket: Any) -> None:
        store = {"endpoint": self.endpoint, "secret": "coffre/storage/weed"}
        source = {"name": self.bucket, **bucket}
        target = {"name": "uploads", "kind": "bucket", "store": store, "buckets": [source], "limits": {"streams": 1}}
        recipients = [public_key(self.coffre.identity)]
        self.coffre.document(json.dumps({"encryption": "age", "recipients": recipients, "targets": [target]}))

    def invoke(self, FunctionName: str, InvocationType: str, Payload: bytes) -> None:  # noqa: N803
        """Take the place of Lambda."""
        self.started.append(json.loads(Payload))

    def put(self, **objects: str) -> None:
        for key, body in objects.items():
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=body.encode())

    def bodies(self) -> dict[str, bytes]:
        listed = self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return {item["Key"]: self.s3.get_object(Bucket=self.bucket, Key=item["Key"])["Body"].read() for item in listed}

    def back_up(self, tier: str = "MANUAL") -> str:
        function: BackupStorageFunction = self.coffre._function(BackupStorageFunction.make)
        context = Context(function_name="backup-storage")
        backup_id: str = function.handle({"target": "uploads", "tier": tier}, context)["id"]
        return backup_id

    def restore(self, backup_id: str, **storage: Any) -> RestoreReport:
        answer = self.handle({"backup_id": backup_id, "streams": 1, "storage": storage})
        record = self.coffre.catalog.get_restore(answer["id"])
        return self.coffre.restore_function().services.vault.read_report(record.report_key or "")

    def handle(self, event: dict[str, Any], context: Context | None = None) -> dict[str, Any]:
        function = self.coffre.restore_function()
        vars(function.services)["functions"] = self
        if overwrites(event):
            event = with_confirmation(lambda trial: function.handle(trial, Context(function_name="restore")), event)
        return function.handle(event, context or Context(function_name="restore"))

    def refused(self, backup_id: str, **storage: Any) -> CoffreError:
        with pytest.raises(CoffreError) as caught:
            self.restore(backup_id, **storage)
        return caught.value


_numbers = itertools.count(1)


@pytest.fixture
def uploads(coffre: Coffre, weed: Weed) -> Iterator[Uploads]:
    """A deployment whose store is SeaweedFS."""
    key = {"access_key_id": OWNER.access_key_id, "secret_access_key": OWNER.secret_access_key}
    coffre.secret("coffre/storage/weed", json.dumps(key))
    client = make_client(region="us-east-1", endpoint_url=weed.endpoint_url, credentials=OWNER)
    with closing(client):
        found = Uploads(coffre, weed.endpoint_url, f"in-use-{next(_numbers)}", client)
        client.create_bucket(Bucket=found.bucket)
        found.configure()
        yield found


def safety_of(report: RestoreReport) -> Safety:
    assert report.safety is not None
    return report.safety


def test_a_bucket_is_mirrored_and_set_back_to_what_it_was(uploads: Uploads) -> None:
    uploads.put(cat="cat", dog="dog")
    old = uploads.back_up()
    uploads.put(dog="wolf", owl="owl")
    uploads.s3.delete_object(Bucket=uploads.bucket, Key="cat")
    present = uploads.bodies()

    plan = safety_of(uploads.restore(old, mode="mirror", dry_run=True))
    assert (plan.state, plan.target) == (SafetyState.NEEDED, "uploads")
    error = uploads.refused(old, mode="mirror")
    assert error.code == "SAFETY_NEEDED"
    assert '{"target": "uploads", "tier": "SAFETY"} to the function backup_storage' in (error.hint or "")
    assert uploads.bodies() == present

    saved = uploads.back_up("SAFETY")
    done = uploads.restore(old, mode="mirror")
    assert uploads.bodies() == {"cat": b"cat", "dog": b"dog"}
    assert safety_of(done).backup_id == saved

    uploads.back_up("SAFETY")
    uploads.restore(saved, mode="mirror")
    assert uploads.bodies() == present


def test_what_writes_missing_objects_only_or_into_an_empty_place_needs_no_backup(uploads: Uploads) -> None:
    uploads.put(cat="cat")
    old = uploads.back_up()
    empty = f"empty-{next(_numbers)}"
    uploads.s3.create_bucket(Bucket=empty)

    assert uploads.restore(old).safety is None
    assert safety_of(uploads.restore(old, to=empty, mode="overwrite")).state is SafetyState.NOT_NEEDED
    # The next one finds objects there, in a bucket of nobody's
    assert uploads.refused(old, to=empty, mode="overwrite").code == "SAFETY_IMPOSSIBLE"
    declined = uploads.restore(old, to=empty, mode="overwrite", no_safety=True)
    assert safety_of(declined).state is SafetyState.DECLINED


def test_what_the_configuration_leaves_out_today_is_not_called_safe(uploads: Uploads) -> None:
    uploads.put(cat="cat", dog="dog")
    old = uploads.back_up()
    uploads.configure(exclude=["d*"])
    uploads.back_up("SAFETY")

    error = uploads.refused(old, mode="overwrite")

    assert error.code == "SAFETY_IMPOSSIBLE"
    assert "the configuration of uploads leaves some of it out" in error.message


def test_the_state_of_several_invocations_is_named_by_the_last(uploads: Uploads) -> None:
    uploads.put(**{f"{n:02d}": str(n) for n in range(9)})
    old = uploads.back_up()
    uploads.put(**{"00": "other"})
    saved = uploads.back_up("SAFETY")
    event = {"backup_id": old, "streams": 1, "storage": {"mode": "overwrite"}}
    counts = iter(range(6))
    short = Context(lambda: 900 if next(counts, None) is not None else 50, "r", "restore")
    assert uploads.handle(event, short)["status"] == "IN_PROGRESS"
    (following,) = uploads.started
    answer = uploads.handle(following)

    assert answer["status"] == "COMPLETED"
    record = uploads.coffre.catalog.get_restore(answer["id"])
    vault = uploads.coffre.restore_function().services.vault
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
