"""Every store keeps the promises of `coffre.stores.store.Store`."""

import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.objects import keys_of, put, sha256

from coffre.model.errors import CoffreError, IntegrityError, ObjectMissingError, StoreError, StoreTransientError
from coffre.stores.store import MAX_OBJECT_BYTES, Store, put_new

# The stores of a parametrized fixture are shared by the examples of one test: each uses a key of its own, or cleans up.
ON_EACH_STORE = settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


# --- put and get -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 255, 65_536, 3_000_001])
def test_what_is_put_can_be_got(store: Store, size: int) -> None:
    body = os.urandom(size)
    put(store, "v1/packs/01/0001", body)
    assert store.get("v1/packs/01/0001") == body


@pytest.mark.parametrize("sizes", [[], [0], [3], [0, 1, 0], [300_000, 1, 262_144, 700_000]])
def test_pieces_are_stored_one_after_another(store: Store, sizes: list[int]) -> None:
    pieces = [os.urandom(size) for size in sizes]
    store.put("pack", pieces, sha256=hashlib.sha256(b"".join(pieces)).hexdigest())
    assert store.get("pack") == b"".join(pieces)


def test_an_object_of_the_largest_size_can_be_put_and_one_byte_more_cannot(store: Store) -> None:
    half, other = bytes(MAX_OBJECT_BYTES // 2), bytes(MAX_OBJECT_BYTES // 2 + 1)
    body = [half, other]
    with pytest.raises(StoreError) as refused:
        store.put("pack", body, sha256=sha256(body))
    assert refused.value.code == "OBJECT_TOO_LARGE"
    assert keys_of(store) == []
    largest = [half, half]
    store.put("pack", largest, sha256=sha256(largest))
    assert store.head("pack").size == MAX_OBJECT_BYTES


def test_a_put_again_of_the_same_bytes_is_fine(store: Store) -> None:
    put(store, "a", b"same")
    put(store, "a", b"same")
    assert store.get("a") == b"same"
    assert keys_of(store) == ["a"]


def test_a_put_replaces_what_is_there(store: Store) -> None:
    put(store, "a", b"long old content")
    put(store, "a", b"new")
    assert store.get("a") == b"new"
    assert store.head("a").size == 3


def test_bytes_that_are_not_what_the_digest_names_are_not_stored(real_store: Store) -> None:
    with pytest.raises(StoreTransientError) as refused:
        real_store.put("a", b"content", sha256=sha256(b"other content"))
    assert refused.value.code == "UPLOAD_CORRUPTED"
    assert keys_of(real_store) == []


def test_bytes_that_are_not_what_the_digest_names_leave_the_old_object(real_store: Store) -> None:
    put(real_store, "a", b"old")
    with pytest.raises(StoreTransientError):
        real_store.put("a", b"new", sha256=sha256(b"other"))
    assert real_store.get("a") == b"old"


@pytest.mark.parametrize("digest", ["", "abc", "Z" * 64, "A" * 64, "a" * 65])
def test_a_malformed_digest_is_refused(store: Store, digest: str) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        store.put("a", b"content", sha256=digest)
    assert keys_of(store) == []


def test_put_if_absent_stores_a_new_object(store: Store) -> None:
    store.put("a", b"first", sha256=sha256(b"first"), if_absent=True)
    assert store.get("a") == b"first"


@pytest.mark.parametrize("second", [b"second", b"first"])
def test_put_if_absent_leaves_an_object_that_is_there(store: Store, second: bytes) -> None:
    put(store, "dir/a", b"first")
    with pytest.raises(StoreError) as refused:
        store.put("dir/a", second, sha256=sha256(second), if_absent=True)
    assert refused.value.code == "OBJECT_EXISTS"
    assert "dir/a" in refused.value.message
    assert store.get("dir/a") == b"first"


def test_what_is_written_once_may_come_again_with_the_same_bytes_and_with_no_others(store: Store) -> None:
    assert put_new(store, "dir/a", b"first") == put_new(store, "dir/a", b"first") == sha256(b"first")
    with pytest.raises(StoreError) as refused:
        put_new(store, "dir/a", b"second")
    assert refused.value.code == "OBJECT_EXISTS"
    assert store.get("dir/a") == b"first"


def test_of_several_put_if_absent_at_once_one_wins(real_store: Store) -> None:
    bodies = [f"writer {number}".encode() * 500 for number in range(6)]
    start = threading.Barrier(len(bodies))

    def write(body: bytes) -> str:
        start.wait()
        try:
            real_store.put("manifest", body, sha256=sha256(body), if_absent=True)
        except CoffreError as error:
            return error.code
        return "WON"

    with ThreadPoolExecutor(len(bodies)) as pool:
        outcomes = list(pool.map(write, bodies))
    assert sorted(set(outcomes)) == ["OBJECT_EXISTS", "WON"]
    assert outcomes.count("WON") == 1
    assert real_store.get("manifest") == bodies[outcomes.index("WON")]


def test_a_reader_sees_one_whole_object_or_the_other(real_store: Store) -> None:
    bodies = [bytes([number]) * 300_000 for number in (1, 2)]
    put(real_store, "pack", bodies[0])
    done = threading.Event()

    def write() -> None:
        try:
            for turn in range(12):
                put(real_store, "pack", bodies[turn % 2])
        finally:
            done.set()

    seen = set()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while not done.is_set():
            seen.add(real_store.get("pack"))
        writing.result()
    assert seen <= set(bodies)


def test_several_threads_use_one_store(real_store: Store) -> None:
    bodies = {f"v1/packs/{number:04}": os.urandom(20_000 + number) for number in range(24)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: put(real_store, key, bodies[key]), bodies))
        read = dict(zip(bodies, pool.map(real_store.get, bodies), strict=True))
    assert read == bodies
    assert keys_of(real_store) == sorted(bodies)


def test_a_larger_object_than_the_limit_is_not_got(store: Store) -> None:
    put(store, "manifest", b"x" * 101)
    with pytest.raises(StoreError) as refused:
        store.get("manifest", limit_bytes=100)
    assert refused.value.code == "OBJECT_TOO_LARGE"
    assert store.get("manifest", limit_bytes=101) == b"x" * 101


# --- ranges ----------------------------------------------------------------------------------------------------------


@ON_EACH_STORE
@given(data=st.data())
def test_a_range_is_exactly_the_bytes_asked_for(store: Store, data: st.DataObject) -> None:
    body = data.draw(st.binary(min_size=1, max_size=300))
    offset = data.draw(st.integers(0, len(body) - 1))
    length = data.draw(st.integers(1, len(body) - offset))
    put(store, "pack", body)
    assert store.get_range("pack", offset, length) == body[offset : offset + length]


@pytest.mark.parametrize(("offset", "length"), [(0, 11), (9, 2), (10, 1), (10_000, 5)])
def test_a_range_beyond_the_end_is_an_error(store: Store, offset: int, length: int) -> None:
    put(store, "pack", b"0123456789")
    with pytest.raises(IntegrityError) as refused:
        store.get_range("pack", offset, length)
    assert refused.value.code == "OBJECT_TRUNCATED"
    assert "pack" in refused.value.message


def test_every_range_of_an_empty_object_is_beyond_its_end(store: Store) -> None:
    put(store, "pack", b"")
    with pytest.raises(IntegrityError) as refused:
        store.get_range("pack", 0, 1)
    assert refused.value.code == "OBJECT_TRUNCATED"


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, 0), (5, -1)])
def test_a_range_that_no_object_has_is_refused(store: Store, offset: int, length: int) -> None:
    put(store, "pack", b"0123456789")
    with pytest.raises(ValueError, match="range"):
        store.get_range("pack", offset, length)


# --- missing objects, head and delete --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "read",
    [lambda store, key: store.get(key), lambda store, key: store.get_range(key, 0, 1), lambda s, key: s.head(key)],
    ids=["get", "get_range", "head"],
)
@pytest.mark.parametrize("key", ["b", "dir", "dir/b", "other/dir/b"])
def test_what_is_not_there_is_missing(store: Store, read: Callable[[Store, str], object], key: str) -> None:
    put(store, "dir/a")
    with pytest.raises(ObjectMissingError) as missing:
        read(store, key)
    assert missing.value.code == "OBJECT_MISSING"
    assert key in missing.value.message


def test_head_tells_size_time_and_the_digest_if_the_store_knows_it(store: Store) -> None:
    body = os.urandom(12_345)
    before = datetime.now(UTC) - timedelta(minutes=1)
    put(store, "dir/a", body)
    found = store.head("dir/a")
    assert (found.key, found.size) == ("dir/a", 12_345)
    assert found.sha256 in {sha256(body), None}
    assert found.last_modified is not None
    assert before < found.last_modified < datetime.now(UTC) + timedelta(minutes=1)
    assert found.etag is None or '"' not in found.etag


def test_a_changed_object_has_another_etag_or_none(store: Store) -> None:
    put(store, "a", b"one")
    first = store.head("a").etag
    put(store, "a", b"two")
    assert store.head("a").etag != first or first is None


def test_delete_removes_one_object(store: Store) -> None:
    put(store, "dir/a")
    put(store, "dir/ab")
    store.delete("dir/a")
    assert keys_of(store) == ["dir/ab"]


@pytest.mark.parametrize("key", ["b", "dir", "dir/b", "dir/a/b", "nothing/here"])
def test_delete_of_what_is_not_there_is_quiet(store: Store, key: str) -> None:
    put(store, "dir/a")
    store.delete(key)
    store.delete(key)
    assert keys_of(store) == ["dir/a"]
