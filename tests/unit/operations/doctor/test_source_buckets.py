"""Whether the buckets of a target can be read."""

from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from botocore.exceptions import ClientError
from tests.memory_store import MemoryStore, refusal

from coffre.buckets.reader import BucketReader
from coffre.model.bucket_target import BucketTarget
from coffre.operations.doctor.source_buckets import read_sources
from coffre.policy.checks.bucket_facts import SourceBucket
from coffre.stores.s3_errors import Call

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

    from coffre.stores.s3_wire import S3Wire

ACCOUNT = "123456789012"


def target(*prefixes: str, **store: str) -> BucketTarget:
    return BucketTarget.model_validate(
        {"name": "files", "kind": "bucket", "store": store, "buckets": [{"name": "photos", "prefixes": prefixes}]}
    )


def look(store: MemoryStore, *prefixes: str, aws: "S3Client | None" = None) -> SourceBucket:
    reader = BucketReader(cast("S3Wire", store))
    (found,) = read_sources(target(*prefixes), reader, aws=aws, account=ACCOUNT, last_objects=2).buckets
    return found


def denying(store: MemoryStore, operation: str, code: str = "AccessDenied", status: int = 403) -> None:
    def deny(asked: str, call: Call, number: int) -> None:
        if asked == operation:
            raise refusal(status, code)

    store.before = deny


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore(page_size=2)
    for key in ("a/1.jpg", "a/2.jpg", "b/1.jpg"):
        store.put("photos", key, b"bytes", tags={"kind": "photo"})
    return store


def test_a_readable_bucket_is_listed_and_one_object_and_its_tags_are_read(store: MemoryStore) -> None:
    assert look(store) == SourceBucket("photos", objects=2, has_more=True)
    assert store.requests == {"list": 1, "get": 1, "tagging": 1}


def test_a_prefix_without_objects_is_named(store: MemoryStore) -> None:
    assert look(store, "a/", "c/").empty_prefixes == ("c/",)


def test_an_empty_bucket_has_nothing_to_read(store: MemoryStore) -> None:
    store.buckets["photos"].clear()

    assert look(store) == SourceBucket("photos", empty_prefixes=("",))


@pytest.mark.parametrize(("operation", "field"), [("list", "listed"), ("get", "read"), ("tagging", "tagged")])
def test_what_is_denied_is_the_fact(store: MemoryStore, operation: str, field: str) -> None:
    denying(store, operation)

    found = getattr(look(store), field)

    assert found.code == "STORE_DENIED"
    assert found.hint


def test_a_bucket_of_another_region_is_recognised(store: MemoryStore) -> None:
    denying(store, "list", "PermanentRedirect", 301)

    listed = look(store).listed

    assert listed is not None
    assert listed.code == "BUCKET_REGION"


def test_a_store_without_tags_is_fine(store: MemoryStore) -> None:
    denying(store, "tagging", "NotImplemented", 501)

    assert look(store).tagged is None


def test_an_object_that_is_gone_since_it_was_listed_is_no_trouble(store: MemoryStore) -> None:
    denying(store, "get", "NoSuchKey", 404)

    assert look(store).read is None


def test_of_a_bucket_in_aws_versioning_and_owner_are_asked(store: MemoryStore, aws: None) -> None:
    with closing(boto3.client("s3")) as client:
        client.create_bucket(Bucket="photos", CreateBucketConfiguration={"LocationConstraint": "eu-west-3"})
        asked: list[Any] = []
        client.meta.events.register("provide-client-params.s3.HeadBucket", lambda params, **_: asked.append(params))

        found = look(store, aws=client)

        assert (found.versioning, found.is_ours) == ("Off", True)
        assert asked == [{"Bucket": "photos", "ExpectedBucketOwner": ACCOUNT}]


def test_a_bucket_of_another_account_is_not_ours(store: MemoryStore, aws: None) -> None:
    def deny(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadBucket")

    with closing(boto3.client("s3")) as client:
        client.create_bucket(Bucket="photos", CreateBucketConfiguration={"LocationConstraint": "eu-west-3"})
        client.meta.events.register("before-call.s3.HeadBucket", deny)

        assert look(store, aws=client).is_ours is False
