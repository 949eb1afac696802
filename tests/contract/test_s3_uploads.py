"""Uploads to S3 that are corrupted, lost or refused on the way, with SeaweedFS behind."""

import os

import pytest
from tests.contract.conftest import BUCKET, MakeStore
from tests.contract.faults import Answer, FaultyStore, FlipByte, LoseAnswer
from tests.contract.objects import put, sha256
from tests.contract.weed import SCRIBE, WRITER, Weed

from coffre.model.errors import StoreError, StoreTransientError
from coffre.stores.body import Body
from coffre.stores.s3 import Checksum
from coffre.stores.s3_put import SignerWithDigest

BODY = os.urandom(900_000)

both_checksums = pytest.mark.parametrize("checksum", ["sha256", "md5"])


@both_checksums
@pytest.mark.parametrize("position", [0, 500_000, len(BODY) - 1])
def test_an_upload_corrupted_on_the_way_is_sent_again(
    network: FaultyStore, store_at: MakeStore, checksum: Checksum, position: int
) -> None:
    store = store_at(network.endpoint_url, checksum=checksum)
    network.expect([FlipByte(position), FlipByte(position)])
    put(store, "pack", BODY)
    assert store.get("pack") == BODY
    assert [request.body == BODY for request in network.requests if request.method == "PUT"] == [True] * 3


@both_checksums
def test_an_upload_corrupted_every_time_is_an_error_and_stores_nothing(
    network: FaultyStore, store_at: MakeStore, checksum: Checksum
) -> None:
    store = store_at(network.endpoint_url, checksum=checksum)
    network.expect([FlipByte(7)] * 3)
    with pytest.raises(StoreTransientError) as refused:
        put(store, "dir/pack", BODY)
    assert refused.value.code == "UPLOAD_CORRUPTED"
    assert f"s3://{BUCKET}/" in refused.value.message
    assert list(store.list()) == []


@both_checksums
def test_an_upload_corrupted_every_time_leaves_the_old_object(
    network: FaultyStore, store_at: MakeStore, checksum: Checksum
) -> None:
    store = store_at(network.endpoint_url, checksum=checksum)
    put(store, "pack", b"old content")
    network.expect([FlipByte()] * 3)
    with pytest.raises(StoreTransientError):
        put(store, "pack", BODY)
    assert store.get("pack") == b"old content"


@both_checksums
def test_the_store_itself_notices_without_help_of_the_signature(
    network: FaultyStore, store_at: MakeStore, checksum: Checksum, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against AWS the body is not signed: the digest header alone must do."""
    monkeypatch.setattr(SignerWithDigest, "payload", lambda *_: "UNSIGNED-PAYLOAD")
    store = store_at(network.endpoint_url, checksum=checksum)
    network.expect([FlipByte(3)] * 3)
    with pytest.raises(StoreTransientError) as refused:
        put(store, "pack", BODY)
    assert network.requests[0].headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert refused.value.code == "UPLOAD_CORRUPTED"
    assert refused.value.detail is not None
    assert "BadDigest" in refused.value.detail


@both_checksums
def test_the_digest_is_kept_beside_the_object(weed: Weed, store_at: MakeStore, checksum: Checksum) -> None:
    store = store_at(weed.endpoint_url, checksum=checksum)
    put(store, "pack", BODY)
    assert store.head("pack").sha256 == sha256(BODY)


@pytest.mark.usefixtures("trusted")
@both_checksums
@pytest.mark.parametrize("body", [BODY, [BODY[:300_000], BODY[300_000:]]], ids=["bytes", "pieces"])
def test_over_tls_no_trailing_checksum_is_sent(
    tls_network: FaultyStore, store_at: MakeStore, checksum: Checksum, body: Body
) -> None:
    store = store_at(tls_network.endpoint_url, checksum=checksum)
    put(store, "pack", body)
    headers = tls_network.requests[0].headers
    assert headers["content-length"] == str(len(BODY))
    assert {"transfer-encoding", "x-amz-trailer", "content-encoding"}.isdisjoint(headers)
    newer = [name for name in headers if name.startswith(("x-amz-checksum", "x-amz-sdk-checksum"))]
    assert bool(newer) == (checksum == "sha256")
    assert ("content-md5" in headers) == (checksum == "md5")
    assert store.get_range("pack", 1, 1000) == BODY[1:1001]


def test_pieces_are_sent_again_from_the_start(network: FaultyStore, store_at: MakeStore) -> None:
    store = store_at(network.endpoint_url)
    network.expect([Answer.error(500, "InternalError"), FlipByte(1)])
    put(store, "pack", [BODY[10:300_000], BODY[300_000:700_000]])
    assert store.get("pack") == BODY[10:700_000]


def test_a_put_whose_answer_was_lost_is_sent_again(network: FaultyStore, store_at: MakeStore) -> None:
    store = store_at(network.endpoint_url)
    network.expect([LoseAnswer()])
    put(store, "pack", BODY)
    assert store.get("pack") == BODY


@both_checksums
def test_a_put_if_absent_whose_answer_was_lost_finds_its_own_object(
    network: FaultyStore, store_at: MakeStore, checksum: Checksum
) -> None:
    store = store_at(network.endpoint_url, checksum=checksum)
    network.expect([LoseAnswer()])
    put(store, "manifest", b"mine", if_absent=True)
    assert store.get("manifest") == b"mine"


def test_a_put_if_absent_that_is_sent_again_does_not_take_a_foreign_object_for_its_own(
    network: FaultyStore, store_at: MakeStore
) -> None:
    store = store_at(network.endpoint_url)
    put(store, "manifest", b"theirs")
    network.expect([Answer.error(500, "InternalError")])
    with pytest.raises(StoreError) as refused:
        put(store, "manifest", b"mine", if_absent=True)
    assert refused.value.code == "OBJECT_EXISTS"
    assert store.get("manifest") == b"theirs"


def test_a_writer_without_read_reports_its_own_object_as_existing(network: FaultyStore, store_at: MakeStore) -> None:
    store = store_at(network.endpoint_url, credentials=WRITER)
    network.expect([LoseAnswer()])
    with pytest.raises(StoreError) as refused:
        put(store, "manifest", b"mine", if_absent=True)
    assert refused.value.code == "OBJECT_EXISTS"


def test_a_writer_that_only_lists_knows_its_own_object_by_its_size(network: FaultyStore, store_at: MakeStore) -> None:
    store = store_at(network.endpoint_url, credentials=SCRIBE)
    network.expect([LoseAnswer()])
    put(store, "packs/1", b"mine", if_absent=True)
    put(store, "packs/2", b"theirs and longer")
    network.expect([Answer.error(500, "InternalError")])
    with pytest.raises(StoreError) as refused:
        put(store, "packs/2", b"mine", if_absent=True)
    assert refused.value.code == "OBJECT_EXISTS"


def test_a_put_if_absent_that_met_another_one_is_sent_again(network: FaultyStore, store_at: MakeStore) -> None:
    store = store_at(network.endpoint_url)
    network.expect([Answer.error(409, "ConditionalRequestConflict")] * 2)
    put(store, "manifest", b"mine", if_absent=True)
    assert store.get("manifest") == b"mine"
