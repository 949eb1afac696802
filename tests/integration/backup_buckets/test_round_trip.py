"""A bucket backed up by the function `backup_storage`, lost, and brought back by `restore`: as it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from tests.confirming import with_confirmation
from tests.contract.weed import OWNER, Weed
from tests.integration.conftest import BUCKET, REGION, Coffre, Context

from coffre.model.storage import ObjectChoice
from coffre.operations.browse.diff import differences
from coffre.operations.stored_backup.open_backup import open_manifest
from coffre.runtime.backup_storage_function import BackupStorageFunction
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.vault.codec import public_key
from coffre.vault.vault import Vault

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

ATTRIBUTES: dict[str, Any] = {
    "ContentType": "text/x-test",
    "ContentEncoding": "gzip",
    "ContentDisposition": 'attachment; filename="a b.txt"',
    "ContentLanguage": "de",
    "CacheControl": "max-age=7",
    "Metadata": {"owner": "ada"},
    "Tagging": "team=a%20b&x=%C3%BC",
}
BODIES = {
    **{f"small/{number:03d}": b"%d" % number * 30 for number in range(50)},
    "large": hashlib.shake_256(b"large").digest(18 * 1024 * 1024),
    "medium": hashlib.shake_256(b"medium").digest(3 * 1024 * 1024),
    "empty": b"",
    "folder/": b"",
    "sp ace/ü&+%25=?#": b"odd",
}


@pytest.fixture
def store(weed: Weed) -> Iterator[S3Client]:
    with closing(make_client(region="us-east-1", endpoint_url=weed.endpoint_url, credentials=OWNER)) as client:
        client.create_bucket(Bucket="round-trip")
        for key, body in BODIES.items():
            client.put_object(Bucket="round-trip", Key=key, Body=body, **ATTRIBUTES)
        yield client


def configure(coffre: Coffre, weed: Weed) -> None:
    place = {"endpoint": weed.endpoint_url, "region": "us-east-1", "secret": "coffre/storage/weed"}
    target = {"name": "files", "kind": "bucket", "store": place, "buckets": [{"name": "round-trip"}]}
    document = {"encryption": "age", "recipients": [public_key(coffre.identity)], "targets": [target]}
    coffre.document(json.dumps(document))
    key = {"access_key_id": OWNER.access_key_id, "secret_access_key": OWNER.secret_access_key}
    coffre.secret("coffre/storage/weed", json.dumps(key))


def listed(client: S3Client, key: str) -> dict[str, Any]:
    """What a bucket says about an object, but when it was written and how it was uploaded."""
    head = client.head_object(Bucket="round-trip", Key=key)
    tags = client.get_object_tagging(Bucket="round-trip", Key=key)["TagSet"]
    names = ("ContentType", "ContentEncoding", "ContentDisposition", "ContentLanguage", "CacheControl", "Metadata")
    return {**{name: head.get(name) for name in names}, "tags": sorted(tag["Value"] for tag in tags)}


def keys_of(client: S3Client) -> set[str]:
    return {item["Key"] for item in client.list_objects_v2(Bucket="round-trip").get("Contents", [])}


def test_a_bucket_comes_back_as_it_was(coffre: Coffre, weed: Weed, store: S3Client) -> None:
    # Given a backup of a bucket
    configure(coffre, weed)
    backup: BackupStorageFunction = coffre._function(BackupStorageFunction.make)
    first = backup.handle({"target": "files"}, Context(function_name="backup-storage"))["id"]
    before, keys = {key: listed(store, key) for key in ("large", "small/007")}, keys_of(store)
    restore, context = coffre.restore_function(), Context(function_name="restore")

    # When some objects are deleted, changed, and added
    for key in ("large", "small/007", "folder/", "empty"):
        store.delete_object(Bucket="round-trip", Key=key)
    store.put_object(Bucket="round-trip", Key="medium", Body=b"overwritten by mistake")
    store.put_object(Bucket="round-trip", Key="new", Body=b"new")
    missing = restore.handle({"backup_id": first, "storage": {}}, context)
    mirror = {"backup_id": first, "storage": {"mode": "mirror", "no_safety": True}}
    mirrored = restore.handle(
        with_confirmation(lambda event: restore.handle(event, Context(function_name="restore")), mirror),
        Context(function_name="restore"),
    )

    # Then they are as they were
    assert (missing["status"], missing["exceptions"], mirrored["exceptions"]) == ("COMPLETED", 0, 0)
    assert keys_of(store) == keys
    for key, body in BODIES.items():
        if not key.endswith("/"):
            assert store.get_object(Bucket="round-trip", Key=key)["Body"].read() == body, key
    assert {key: listed(store, key) for key in before} == before
    # And so says the next backup
    second = backup.handle({"target": "files"}, Context(function_name="backup-storage"))["id"]
    vault = Vault(S3Store(BUCKET, client=make_client(region=REGION)))
    manifests = [open_manifest(vault, coffre.catalog.get_backup(backup_id)) for backup_id in (first, second)]
    assert list(differences(vault, manifests[0], manifests[1], ObjectChoice())) == []
