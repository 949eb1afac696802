"""Requests are counted as they are billed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from moto import mock_aws

from coffre.model.errors import ObjectMissingError
from coffre.model.usage import Counts
from coffre.stores.request_counts import Tally
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import S3Credentials, make_client

BODY = b"x" * 1_000
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    with mock_aws():
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="vault")
        yield


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
def store(aws: None, tally: Tally) -> S3Store:
    return S3Store("vault", client=tally.watch(make_client(region="us-east-1"), "vault"), page_size=1)


def test_writes_reads_and_listings_are_counted_and_deletions_are_free(store: S3Store, tally: Tally) -> None:
    for key in ("a", "b"):
        store.put(key, BODY, sha256=SHA256)
    store.get("a")
    store.head("a")
    pages = len(list(store.list()))
    before_deletion = tally.take()
    store.delete("a")

    assert pages == 2
    assert before_deletion.vault_writes in {2 + 2, 2 + 3}  # a store may show an empty last page
    assert before_deletion.vault_reads == 2
    assert before_deletion.vault_sent_bytes == 2_000
    assert before_deletion.vault_received_bytes == 1_000
    assert before_deletion.source_writes == before_deletion.kms_requests == before_deletion.outside_bytes == 0
    assert tally.take() == Counts()


def test_every_attempt_is_counted(store: S3Store, tally: Tally, monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[int] = []

    def busy(request: object, **_: object) -> AWSResponse | None:
        if failed:
            return None
        failed.append(503)
        return AWSResponse("https://vault", 503, {}, _Empty())  # type: ignore[arg-type]  # a body that was read

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    store._client.meta.events.register("before-send.s3", busy)  # type: ignore[arg-type]  # it may answer

    store.put("a", BODY, sha256=SHA256)

    assert failed
    assert tally.take().vault_writes == 2


def test_refused_requests_are_counted_too(store: S3Store, tally: Tally) -> None:
    with pytest.raises(ObjectMissingError):
        store.get("missing")

    assert tally.take().vault_reads >= 1


@pytest.mark.parametrize(("bucket_key", "requests"), [(False, 2), (True, 0)])
def test_a_key_of_the_vault_costs_requests_unless_the_bucket_has_a_key_of_its_own(
    store: S3Store, tally: Tally, *, bucket_key: bool, requests: int
) -> None:
    boto3.client("s3", region_name="us-east-1").put_bucket_encryption(
        Bucket="vault",
        ServerSideEncryptionConfiguration={
            "Rules": [
                {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}, "BucketKeyEnabled": bucket_key}
            ]
        },
    )

    store.put("a", BODY, sha256=SHA256)
    store.get("a")

    assert tally.take().kms_requests == requests


def test_bytes_to_a_store_that_is_not_aws_leave_it(aws: None, tally: Tally) -> None:
    inside = tally.watch(make_client(region="us-east-1"), "source")
    inside.put_object(Bucket="vault", Key="a", Body=BODY)
    assert tally.take() == Counts(source_writes=1, source_sent_bytes=1_000)

    elsewhere = make_client(
        region="auto", endpoint_url="https://account.r2.cloudflarestorage.com", credentials=S3Credentials("id", "hush")
    )
    tally.watch(elsewhere, "source")
    elsewhere.meta.events.register("before-send.s3", lambda **_: AWSResponse("", 200, {}, _Empty()))  # type: ignore[arg-type]
    elsewhere.put_object(Bucket="vault", Key="a", Body=BODY)

    assert tally.take() == Counts(source_writes=1, source_sent_bytes=1_000, outside_bytes=1_000)


def test_requests_that_are_counted_elsewhere_are_added(tally: Tally) -> None:
    tally.add_source({"list": 3, "get": 10, "tagging": 2}, 5_000)
    tally.add(vault_writes=1)

    assert tally.take() == Counts(source_writes=3, source_reads=12, source_received_bytes=5_000, vault_writes=1)


class _Empty:
    """A body that was read."""

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        return iter(())
