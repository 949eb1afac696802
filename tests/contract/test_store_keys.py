"""Every store lists and names objects as `coffre.stores.store.Store` promises."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.objects import keys_of, put

from coffre.model.errors import StoreError
from coffre.stores.store import MAX_KEY_BYTES, MAX_SEGMENT_BYTES, Store, check_key, check_prefix

# The stores of a parametrized fixture are shared by the examples of one test: each uses a key of its own, or cleans up.
ON_EACH_STORE = settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

HOSTILE_KEYS = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    "..",
    "../a",
    "a/..",
    "a/../b",
    ".",
    "./a",
    "a/./b",
    "a\\b",
    "..\\a",
    "a\0b",
    "a\nb",
    "a\x7f",
    "\ud800",
    "é" * (MAX_KEY_BYTES // 2 + 1),
    "a" * (MAX_SEGMENT_BYTES + 1),
    "b/" + "é" * (MAX_SEGMENT_BYTES // 2 + 1),
]

SEGMENTS = (
    st.text(st.characters(blacklist_categories=["Cc", "Cs", "Cn"], blacklist_characters="/\\"), min_size=1, max_size=12)
    .filter(lambda segment: segment not in {".", ".."})
    .filter(lambda segment: segment.strip() == segment)
)
KEYS = st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join)


# --- listings --------------------------------------------------------------------------------------------------------


def test_an_empty_store_lists_nothing(store: Store) -> None:
    assert keys_of(store) == []
    assert keys_of(store, "v1/backups/") == []


def test_a_listing_has_every_object_once_over_several_pages(store: Store) -> None:
    bodies = {f"v1/packs/{number:03}": b"x" * number for number in range(30)}
    for key, body in bodies.items():
        put(store, key, body)
    found = list(store.list())
    assert [(one.key, one.size) for one in found] == [(key, len(body)) for key, body in bodies.items()]
    assert {one.sha256 for one in found} == {None}
    assert all(one.last_modified is not None and one.last_modified.tzinfo is not None for one in found)


def test_a_listing_has_the_etags_of_head(store: Store) -> None:
    put(store, "a", b"one")
    put(store, "b", b"two")
    assert [one.etag for one in store.list()] == [store.head("a").etag, store.head("b").etag]


def test_keys_are_sorted_as_text_and_not_as_a_tree(store: Store) -> None:
    keys = ["A", "a b", "a!", "a-b/x", "a.b", "a/x", "a/y-", "a/y/z", "a0", "aé", "a\ufb00", "a\U0001f600"]
    for key in reversed(keys):
        put(store, f"v1/{key}")
    assert keys_of(store) == [f"v1/{key}" for key in keys]


@pytest.mark.parametrize(
    ("prefix", "wanted"),
    [
        ("", ["v1/backups/app-2/1", "v1/backups/app/1", "v1/backups/app/2", "v1/packs/1"]),
        ("v1/backups/app/", ["v1/backups/app/1", "v1/backups/app/2"]),
        ("v1/backups/app", ["v1/backups/app-2/1", "v1/backups/app/1", "v1/backups/app/2"]),
        ("v1/b", ["v1/backups/app-2/1", "v1/backups/app/1", "v1/backups/app/2"]),
        ("v1/packs/1", ["v1/packs/1"]),
        ("v1/packs/1/", []),
        ("v2", []),
        ("v1/backups/other/", []),
    ],
)
def test_a_prefix_may_end_anywhere(store: Store, prefix: str, wanted: list[str]) -> None:
    for key in ("v1/packs/1", "v1/backups/app/1", "v1/backups/app/2", "v1/backups/app-2/1"):
        put(store, key)
    assert keys_of(store, prefix) == wanted


def test_objects_can_be_deleted_while_they_are_listed(store: Store) -> None:
    for number in range(20):
        put(store, f"packs/{number:02}")
    for found in store.list("packs/"):
        store.delete(found.key)
    assert keys_of(store) == []


def test_a_listing_can_be_left_early(store: Store) -> None:
    for number in range(20):
        put(store, f"packs/{number:02}")
    assert next(store.list()).key == "packs/00"


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", HOSTILE_KEYS, ids=range(len(HOSTILE_KEYS)))
def test_a_hostile_key_is_refused_by_every_method(store: Store, key: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: put(store, key),
        lambda: store.get(key),
        lambda: store.get_range(key, 0, 1),
        lambda: store.head(key),
        lambda: store.delete(key),
    ]
    for call in calls:
        with pytest.raises(StoreError) as refused:
            call()
        assert refused.value.code == "KEY_INVALID"
    assert keys_of(store) == []


@pytest.mark.parametrize("prefix", ["/", "/a", "../", "a/../b", "a//", "a/./", "a\0", "\\"])
def test_a_hostile_prefix_is_refused(store: Store, prefix: str) -> None:
    with pytest.raises(StoreError) as refused:
        list(store.list(prefix))
    assert refused.value.code == "KEY_INVALID"


@ON_EACH_STORE
@given(key=KEYS)
def test_any_valid_key_names_one_object(store: Store, key: str) -> None:
    body = key.encode()
    put(store, key, body)
    try:
        assert keys_of(store) == [key]
        assert store.head(key).size == len(body)
        assert store.get(key) == body
        assert store.get_range(key, 0, 1) == body[:1]
    finally:
        store.delete(key)
    assert keys_of(store) == []


@given(key=st.text())
def test_an_accepted_key_stays_below_its_directory_and_has_one_spelling(key: str) -> None:
    with suppress(StoreError):
        assert check_key(key) == key
        assert_one_spelling_below_root(key)


def assert_one_spelling_below_root(key: str) -> None:
    assert os.path.normpath(f"/vault/{key}") == f"/vault/{key}"
    assert PurePosixPath("/root", key).is_relative_to("/root")
    assert len(key.encode()) <= MAX_KEY_BYTES


@given(
    before=st.lists(SEGMENTS, max_size=3), bad=st.sampled_from(["", ".", ".."]), after=st.lists(SEGMENTS, max_size=3)
)
def test_a_bad_segment_anywhere_is_refused(before: list[str], bad: str, after: list[str]) -> None:
    with pytest.raises(StoreError, match="KEY_INVALID"):
        check_key("/".join([*before, bad, *after]))


@given(key=KEYS, cut=st.integers(0, 60))
def test_every_start_of_a_valid_key_is_a_valid_prefix(key: str, cut: int) -> None:
    assert check_key(key) == key
    assert check_prefix(key[:cut]) == key[:cut]
