"""Stores that are busy, silent, absent, or do not let everybody in."""

import os
from dataclasses import replace

import pytest
from tests.contract.conftest import BUCKET, MakeStore
from tests.contract.faults import Answer, FaultyStore, Silence
from tests.contract.objects import put
from tests.contract.weed import READER, WRITER, Weed

from coffre.model.errors import CoffreError, StoreError, StoreTransientError
from coffre.stores.s3 import S3Store

BODY = os.urandom(900_000)
SLOW_DOWN = Answer.error(503, "SlowDown", "Please reduce your request rate.")

OPERATIONS = ["put", "get", "get_range", "head", "list", "delete"]


def test_an_untrusted_certificate_is_told_apart(tls_network: FaultyStore, store_at: MakeStore) -> None:
    with pytest.raises(StoreError) as refused:
        put(store_at(tls_network.endpoint_url, attempts=1), "pack", BODY)
    assert refused.value.code == "STORE_TLS"
    assert tls_network.requests == []


def test_a_store_that_asks_to_slow_down_is_asked_again(network: FaultyStore, store_at: MakeStore) -> None:
    store = store_at(network.endpoint_url, attempts=3)
    network.expect([SLOW_DOWN, SLOW_DOWN])
    put(store, "pack", BODY)
    network.expect([SLOW_DOWN])
    assert store.get_range("pack", 10, 20) == BODY[10:30]
    network.expect([Answer(503)])
    assert [found.size for found in store.list()] == [len(BODY)]
    network.expect([Answer(500)])
    store.delete("pack")
    assert list(store.list()) == []


def test_a_store_that_keeps_asking_to_slow_down_is_given_up(network: FaultyStore, store_at: MakeStore) -> None:
    store = store_at(network.endpoint_url, attempts=2)
    network.expect([SLOW_DOWN] * 2)
    with pytest.raises(StoreTransientError) as refused:
        put(store, "pack", BODY)
    assert refused.value.code == "STORE_THROTTLED"
    assert len(network.requests) == 2
    assert list(store.list()) == []


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_store_that_never_answers_is_given_up(network: FaultyStore, store_at: MakeStore, operation: str) -> None:
    store = store_at(network.endpoint_url, attempts=2, read_timeout_seconds=0.2)
    network.expect([Silence()] * 2)
    with pytest.raises(StoreTransientError) as refused:
        call(store, operation)
    assert refused.value.code == "STORE_UNREACHABLE"
    network.await_requests(2)
    assert len(network.requests) == 2


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_store_that_is_not_there_is_given_up(store_at: MakeStore, operation: str) -> None:
    with pytest.raises(StoreTransientError) as refused:
        call(store_at("http://127.0.0.1:1", attempts=2), operation)
    assert refused.value.code == "STORE_UNREACHABLE"
    assert "127.0.0.1:1" in refused.value.message


def call(store: S3Store, operation: str) -> None:
    match operation:
        case "put":
            put(store, "pack", b"content")
        case "get":
            store.get("pack")
        case "get_range":
            store.get_range("pack", 0, 1)
        case "head":
            store.head("pack")
        case "list":
            list(store.list())
        case "delete":
            store.delete("pack")


@pytest.mark.parametrize("operation", ["put", "delete"])
def test_a_reader_may_not_write(weed: Weed, store_at: MakeStore, operation: str) -> None:
    store = store_at(weed.endpoint_url, credentials=READER, prefix="vault")
    with pytest.raises(StoreError) as refused:
        call(store, operation)
    action = {"put": "s3:PutObject", "delete": "s3:DeleteObject"}[operation]
    assert refused.value.code == "STORE_DENIED"
    assert f"{action} was denied on s3://{BUCKET}/vault/pack" in refused.value.message
    assert f"{action} on arn:aws:s3:::{BUCKET}/vault/pack" in (refused.value.hint or "")


@pytest.mark.parametrize("operation", ["get", "get_range", "head", "list"])
def test_a_writer_may_not_read(weed: Weed, store_at: MakeStore, operation: str) -> None:
    with pytest.raises(StoreError) as refused:
        call(store_at(weed.endpoint_url, credentials=WRITER), operation)
    assert refused.value.code == "STORE_DENIED"
    assert ("s3:ListBucket" if operation == "list" else "s3:GetObject") in refused.value.message


@pytest.mark.parametrize("operation", ["put", "get", "get_range", "list", "delete"])
def test_a_wrong_secret_is_refused_and_never_shown(weed: Weed, store_at: MakeStore, operation: str) -> None:
    wrong = replace(READER, secret_access_key="not-the-secret")
    with pytest.raises(StoreError) as refused:
        call(store_at(weed.endpoint_url, credentials=wrong), operation)
    assert refused.value.code == "STORE_CREDENTIALS"
    assert_shows_no_secret(refused.value)
    assert "not-the-secret" not in repr(wrong)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_missing_bucket_is_not_a_missing_object(weed: Weed, store_at: MakeStore, operation: str) -> None:
    with pytest.raises(StoreError) as refused:
        call(store_at(weed.endpoint_url, bucket="no-such-bucket"), operation)
    assert refused.value.code == "BUCKET_MISSING"
    assert "no-such-bucket" in refused.value.message


def test_two_prefixes_of_one_bucket_do_not_see_each_other(weed: Weed, store_at: MakeStore) -> None:
    one, two = (store_at(weed.endpoint_url, prefix=prefix) for prefix in ("apart/a", "apart/a-b/"))
    put(one, "pack", b"one")
    put(two, "pack", b"two")
    assert (one.get("pack"), two.get("pack")) == (b"one", b"two")
    assert [found.key for found in one.list()] == ["pack"]
    one.delete("pack")
    assert [found.key for found in two.list()] == ["pack"]


def assert_shows_no_secret(error: CoffreError) -> None:
    shown = f"{error} {error!r} {error.__cause__}"
    assert "not-the-secret" not in shown
    assert READER.secret_access_key not in shown
