"""Listings of buckets: each object once, sorted, in bounded memory, or an error that says why not."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote_plus
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.memory_store import MemoryStore, directory_order

from coffre.buckets import spool
from coffre.buckets.listing import LOOKED_AT, SortedListing, merged_prefixes, pages_of
from coffre.buckets.object_facts import Listed
from coffre.buckets.reader import BucketReader
from coffre.buckets.spool import Spool
from coffre.model.errors import StoreError
from coffre.stores.s3_errors import Call
from coffre.stores.s3_exchange import Answer
from coffre.stores.s3_wire import S3Wire

NOISE = random.Random(7)


def filled(keys: list[str], **how: Any) -> MemoryStore:
    store = MemoryStore(page_size=3, **how)
    store.buckets["b"] = {}
    for key in keys:
        store.put("b", key, key.encode())
    return store


def listing(
    store: MemoryStore, scratch: Path, prefix: str = "", *, looked_at: int = LOOKED_AT, **how: Any
) -> SortedListing:
    reader = BucketReader(cast("S3Wire", store))
    call = reader.call("s3:ListBucket", "b", prefix)
    return SortedListing(pages_of(reader, "b", prefix, **how), call, scratch, looked_at)


def keys_of(found: SortedListing) -> list[str]:
    return [one.key for one in found.objects()]


@pytest.mark.parametrize("order", [str, directory_order, lambda key: key[::-1]])
def test_any_order_becomes_the_order_of_the_bytes(tmp_path: Path, order: Callable[[str], Any]) -> None:
    keys = ["a", "a/b", "a-b", "a.b/c", "é", "z", "~", "\U0001f5c4", "\uffff", "A"]
    store = filled(keys, order=order)

    found = listing(store, tmp_path)

    assert keys_of(found) == sorted(keys) == sorted(keys, key=str.encode)
    assert list(tmp_path.iterdir()) == []


def test_a_prefix_a_choice_and_a_start_are_kept_to(tmp_path: Path) -> None:
    store = filled([f"{folder}/{number:02}" for folder in "abc" for number in range(20)])

    found = listing(store, tmp_path, "b/", takes=lambda key: key.endswith(("0", "1")), after="b/05")

    assert keys_of(found) == ["b/10", "b/11"]


def test_a_store_that_does_not_sort_is_not_asked_to_begin_in_the_middle(tmp_path: Path) -> None:
    store = filled(["a/x", "a-b", "b"], order=directory_order)

    found = listing(store, tmp_path, after="a-b", may_skip=False)

    assert keys_of(found) == ["a/x", "b"]
    assert keys_of(listing(store, tmp_path, after="a-b", may_skip=True)) == ["b"]  # what would be lost


def test_a_long_listing_comes_in_stretches_that_say_how_long_they_are(tmp_path: Path) -> None:
    store = filled([f"{number:03}" for number in range(20)])

    found = listing(store, tmp_path, looked_at=6)
    stretches = [(one.count, one.size, [object_.key for object_ in one.objects]) for one in found.stretches()]

    assert [(count, size) for count, size, _ in stretches] == [(6, 18), (6, 18), (6, 18), (2, 6)]
    assert [key for _, _, keys in stretches for key in keys] == sorted(store.buckets["b"])
    assert found.is_sorted


def test_disorder_that_is_seen_late_is_an_error(tmp_path: Path) -> None:
    store = filled([f"a/{number:03}" for number in range(20)] + ["a-b"], order=directory_order)

    with pytest.raises(StoreError) as late:
        keys_of(listing(store, tmp_path, looked_at=6))

    assert late.value.code == "LISTING_BROKEN"


@given(keys=st.sets(st.text(min_size=1, max_size=3), min_size=1, max_size=120), seed=st.integers())
@settings(max_examples=40)
def test_a_spool_sorts_whatever_comes(tmp_path_factory: pytest.TempPathFactory, keys: set[str], seed: int) -> None:
    folder = tmp_path_factory.mktemp("spool")
    shuffled = sorted(keys)
    random.Random(seed).shuffle(shuffled)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "_RUNS_MERGED", 3)
        with Spool(folder, run_objects=4) as found:
            for start in range(0, len(shuffled), 3):
                found.add([Listed(key, 1, "e") for key in shuffled[start : start + 3]])

            assert [one.key for one in found.in_order()] == sorted(keys)
            assert found.count == found.size == len(keys)
    assert list(folder.iterdir()) == []


def test_what_is_known_of_an_object_survives_the_spool(tmp_path: Path) -> None:
    store = filled([])
    store.put("b", "new\nline\t", b"123")
    kept = store.buckets["b"]["new\nline\t"]
    with Spool(tmp_path, run_objects=1) as found:
        for page in listing(store, tmp_path).pages:
            found.add(page)

        (one,) = found.in_order()

    assert one == Listed("new\nline\t", 3, kept.etag, kept.modified)


# --- broken stores ---


def refused(store: MemoryStore, scratch: Path) -> str:
    with pytest.raises(StoreError) as broken:
        keys_of(listing(store, scratch))
    assert broken.value.code == "LISTING_BROKEN"
    return broken.value.message


def test_a_page_that_comes_again_and_again_is_noticed(tmp_path: Path) -> None:
    """Supabase's listing of large folders does this (field note 30)."""
    store = filled([f"{number:03}" for number in range(20)])
    first: list[Answer] = []
    numbers = iter(range(1000))

    def repeat(call: Call, answer: Answer) -> Answer:
        first.append(answer)
        token = b"<NextContinuationToken>%04d</NextContinuationToken>" % next(numbers)
        body = first[0].body
        start, end = body.index(b"<NextC"), body.index(b"</NextContinuationToken>") + 24
        return Answer(200, {}, body[:start] + token + body[end:])

    store.change = repeat

    assert "the same page came twice" in refused(store, tmp_path)
    assert store.requests["list"] <= 3


def test_a_listing_without_an_end_is_noticed(tmp_path: Path) -> None:
    store = filled(["a", "b", "c", "d"])
    store.change = lambda call, answer: Answer(
        200, {}, answer.body.replace(b"<IsTruncated>false", b"<IsTruncated>true")
    )

    assert "without a way to ask for it" in refused(store, tmp_path)


def test_a_key_that_comes_twice_is_noticed(tmp_path: Path) -> None:
    store = filled(["a", "b", "c", "d", "e"], order=lambda key: -ord(key))
    store.change = lambda call, answer: Answer(200, {}, answer.body.replace(b"<Key>a</Key>", b"<Key>d</Key>"))

    assert "'d' came twice" in refused(store, tmp_path)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>"]
)
def test_what_is_no_listing_is_refused(tmp_path: Path, body: bytes) -> None:
    store = filled(["a"])
    store.change = lambda call, answer: Answer(200, {}, body)

    assert "a page cannot be read" in refused(store, tmp_path)


def test_a_key_that_is_no_text_is_named_and_costs_no_other(tmp_path: Path) -> None:
    store = filled(["a", "b", "c"])
    store.change = lambda call, answer: Answer(200, {}, answer.body.replace(b"<Key>b<", b"<Key>%FF%FE<"))
    reader = BucketReader(cast("S3Wire", store))

    found = list(chain.from_iterable(pages_of(reader, "b", "")))

    assert [one.key for one in found] == ["a", "c"]
    (text,) = reader.missing
    assert "page 1" in text
    assert "object 2 ('%FF%FE', after 'a', before 'c')" in text


def test_a_listing_of_one_key_that_is_no_text_is_named_too(tmp_path: Path) -> None:
    store = filled(["a"])
    store.change = lambda call, answer: Answer(200, {}, answer.body.replace(b"<Key>a<", b"<Key>\xff<"))
    reader = BucketReader(cast("S3Wire", store))

    assert list(chain.from_iterable(pages_of(reader, "b", ""))) == []
    assert len(reader.missing) == 1


def unencoded(call: Call, answer: Answer) -> Answer:
    """What a store sends that ignores `encoding-type`."""
    body = answer.body.replace(b"<EncodingType>url</EncodingType>", b"")
    return Answer(200, {}, re.sub(rb"<Key>(.*?)</Key>", lambda key: b"<Key>%s</Key>" % plain(key[1]), body))


def plain(key: bytes) -> bytes:
    return escape(unquote_plus(key.decode())).encode()


@given(
    keys=st.sets(
        st.text(
            st.characters(exclude_categories=["Cs"]) | st.sampled_from("\x00\x01\x1f\r\n\ufffe\uffff\U0010fc01"),
            min_size=1,
        ),
        min_size=1,
    )
)
@settings(max_examples=100)
def test_keys_come_through_that_xml_cannot_hold(tmp_path_factory: pytest.TempPathFactory, keys: set[str]) -> None:
    store = filled(sorted(keys))
    store.change = unencoded

    assert keys_of(listing(store, tmp_path_factory.mktemp("listing"))) == sorted(keys)


@pytest.mark.parametrize("reference", ["&#1;", "&#x1;", "&#X01;", "&#0001;"])
def test_references_to_control_characters_are_understood(tmp_path: Path, reference: str) -> None:
    store = filled(["a"])
    body = f"<Key>a{reference}b&#233;&#13;</Key>".encode()
    store.change = lambda call, answer: Answer(
        200, {}, answer.body.replace(b"<Key>a</Key>", body).replace(b"<EncodingType>url</EncodingType>", b"")
    )

    assert keys_of(listing(store, tmp_path)) == ["a\x01b\u00e9\r"]


def repeating_borders(store: MemoryStore, *, again: int = 1) -> None:
    """Let each page begin with the last objects of the page before."""
    last: list[bytes] = []

    def repeat(call: Call, answer: Answer) -> Answer:
        items = re.findall(rb"<Contents>.*?</Contents>", answer.body)
        body = answer.body.replace(items[0], b"".join(last) + items[0]) if items else answer.body
        last[:] = items[-again:]
        return Answer(200, {}, body)

    store.change = repeat


@pytest.mark.parametrize("again", [1, 2])
@pytest.mark.parametrize("looked_at", [6, 50_000])
def test_keys_that_come_again_at_a_border_are_taken_once_and_noted(tmp_path: Path, again: int, looked_at: int) -> None:
    store = filled([f"{number:03}" for number in range(20)])
    repeating_borders(store, again=again)
    reader = BucketReader(cast("S3Wire", store))
    call = reader.call("s3:ListBucket", "b", "")
    found = SortedListing(pages_of(reader, "b", ""), call, tmp_path, looked_at)

    assert [one.key for one in found.objects()] == sorted(store.buckets["b"])
    assert found.is_sorted
    ((text, times),) = reader.notes.items()
    assert "taken once" in text
    assert times == again * (store.requests["list"] - 1)


def test_an_object_that_is_written_between_two_pages_is_taken_once(tmp_path: Path) -> None:
    store = filled([f"{number:03}" for number in range(20)])
    repeating_borders(store)
    repeat = store.change
    store.change = lambda call, answer: repeat(
        call, Answer(200, {}, re.sub(rb"<Size>\d+<", b"<Size>%d<" % store.requests["list"], answer.body))
    )

    assert keys_of(listing(store, tmp_path)) == sorted(store.buckets["b"])


@pytest.mark.parametrize(
    ("prefixes", "merged"),
    [([], [""]), (["b", "a"], ["a", "b"]), (["a/b", "a/", "a", "ab"], ["a"]), (["a/", "a-"], ["a-", "a/"])],
)
def test_prefixes_that_others_cover_are_not_listed_twice(prefixes: list[str], merged: list[str]) -> None:
    assert merged_prefixes(prefixes) == merged
