"""Downloads from S3 over connections that break, with SeaweedFS behind."""

import os
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.conftest import MakeStore
from tests.contract.faults import Answer, Cut, FaultyStore
from tests.contract.objects import put, sha256
from tests.contract.weed import Weed

from coffre.model.errors import IntegrityError, StoreError, StoreTransientError
from coffre.stores.s3 import S3Store
from coffre.stores.store import MAX_OBJECT_BYTES

BODY = os.urandom(900_000)


@pytest.fixture
def network_store(network: FaultyStore, store_at: MakeStore) -> S3Store:
    """A store at the faulty endpoint."""
    return store_at(network.endpoint_url)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_download_that_breaks_anywhere_is_resumed_at_the_byte_reached(
    network: FaultyStore, network_store: S3Store, data: st.DataObject
) -> None:
    body = data.draw(st.binary(min_size=1, max_size=400))
    offset = data.draw(st.integers(0, len(body) - 1))
    length = data.draw(st.integers(1, len(body) - offset))
    cuts = data.draw(st.lists(st.integers(0, length // 3), max_size=4))
    reached = [sum(cuts[:number]) for number in range(len(cuts) + 1)]
    breaks = [cut for cut, so_far in zip(cuts, reached, strict=False) if so_far + cut < length]
    network.expect([])
    put(network_store, "pack", body)
    network.expect([Cut(after_bytes) for after_bytes in breaks])
    assert network_store.get_range("pack", offset, length) == body[offset : offset + length]
    starts = [offset + sum(breaks[:number]) for number in range(len(breaks) + 1)]
    assert [request.headers["range"] for request in network.requests] == [
        f"bytes={start}-{offset + length - 1}" for start in starts
    ]


def test_a_whole_object_is_resumed_too(network: FaultyStore, store_at: MakeStore) -> None:
    store = store_at(network.endpoint_url)
    put(store, "pack", BODY)
    network.expect([Cut(0), Cut(300_000), Cut(599_999)])
    assert store.get("pack") == BODY
    assert [request.headers.get("range") for request in network.requests] == [
        None,
        f"bytes=0-{len(BODY) - 1}",
        f"bytes=300000-{len(BODY) - 1}",
        f"bytes=899999-{len(BODY) - 1}",
    ]


def test_a_reset_connection_is_resumed(network: FaultyStore, store_at: MakeStore) -> None:
    store = store_at(network.endpoint_url)
    put(store, "pack", BODY)
    network.expect([Cut(700_000, reset=True), Cut(1, reset=True)])
    assert store.get_range("pack", 5, 800_000) == BODY[5:800_005]


def test_a_download_that_never_gets_further_is_an_error(network: FaultyStore, store_at: MakeStore) -> None:
    store = store_at(network.endpoint_url)
    put(store, "pack", BODY)
    network.expect([Cut(1000), *([Cut(0)] * 5)])
    with pytest.raises(StoreTransientError) as refused:
        store.get_range("pack", 0, 2000)
    assert refused.value.code == "STORE_UNREACHABLE"
    assert len(network.requests) == 6


def test_an_object_replaced_between_two_connections_is_not_mixed(network: FaultyStore, store_at: MakeStore) -> None:
    store = store_at(network.endpoint_url)
    put(store, "pack", BODY)
    network.expect([Cut(1000, then=lambda: put(store, "pack", BODY[::-1]))])
    with pytest.raises(StoreTransientError) as refused:
        store.get_range("pack", 0, 2000)
    assert refused.value.code == "OBJECT_CHANGED"


def test_an_object_truncated_between_two_connections_is_not_mixed(network: FaultyStore, store_at: MakeStore) -> None:
    store = store_at(network.endpoint_url)
    put(store, "pack", BODY)
    network.expect([Cut(1000, then=lambda: put(store, "pack", b"short"))])
    with pytest.raises((StoreTransientError, IntegrityError)):
        store.get("pack")


def test_a_truncated_object_is_found_out_before_it_is_read(network: FaultyStore, network_store: S3Store) -> None:
    put(network_store, "pack", BODY)
    network.expect([])
    with pytest.raises(IntegrityError) as refused:
        network_store.get_range("pack", 100, len(BODY))
    assert refused.value.code == "OBJECT_TRUNCATED"
    assert f"{len(BODY):,}" in refused.value.message
    assert len(network.requests) == 1


def test_a_full_pack_is_held_once(weed: Weed, store_at: MakeStore) -> None:
    store = store_at(weed.endpoint_url)
    body = os.urandom(MAX_OBJECT_BYTES)
    digest = sha256(body)
    tracemalloc.start()
    try:
        store.put("pack", body, sha256=digest)
        sent = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        assert store.get_range("pack", 0, MAX_OBJECT_BYTES) == body
        received = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sent < MAX_OBJECT_BYTES // 8
    assert received < MAX_OBJECT_BYTES * 5 // 4


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"0123456789"),
        Answer(206, b"0123", {"Content-Range": "bytes 0-3/10"}),
        Answer(206, b"3456789", {"Content-Range": "bytes 3-9/10"}),
    ],
    ids=["whole", "other part", "more"],
)
def test_a_store_that_ignores_ranges_is_found_out(network: FaultyStore, store_at: MakeStore, answer: Answer) -> None:
    network.expect([answer])
    with pytest.raises(StoreError) as refused:
        store_at(network.endpoint_url).get_range("pack", 3, 4)
    assert refused.value.code == "RANGE_UNSUPPORTED"


@pytest.mark.usefixtures("trusted")
def test_a_download_over_tls_is_resumed(tls_network: FaultyStore, store_at: MakeStore) -> None:
    store = store_at(tls_network.endpoint_url)
    put(store, "pack", BODY)
    tls_network.expect([Cut(700_000, reset=True), Cut(1), Cut(0)])
    assert store.get("pack") == BODY
