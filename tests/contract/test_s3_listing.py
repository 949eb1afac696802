"""Listings of stores that repeat themselves, never end, or have an order of their own."""

import random
from collections.abc import Callable

import pytest
from tests.contract.conftest import MakeStore
from tests.contract.faults import Answer, FaultyStore, Request, endless, page_of

from coffre.model.errors import StoreError, StoreTransientError
from coffre.stores import listing_order, s3_listing


def refused_listing(script: FaultyStore, store_at: MakeStore, prefix: str = "") -> StoreError:
    with pytest.raises(StoreError) as refused:
        list(store_at(script.endpoint_url, prefix="v").list(prefix))
    assert refused.value.code == "LISTING_BROKEN"
    assert "s3://coffre-contract/v/" in refused.value.message
    return refused.value


def test_pages_follow_each_other(script: FaultyStore, store_at: MakeStore) -> None:
    script.expect([page_of(["v/a", "v/b"], next_token="1"), page_of([], next_token="2"), page_of(["v/c"])])
    assert [found.key for found in store_at(script.endpoint_url, prefix="v").list()] == ["a", "b", "c"]
    assert ["continuation-token=2" in request.path for request in script.requests] == [False, False, True]


def test_a_page_that_comes_again_is_noticed(script: FaultyStore, store_at: MakeStore) -> None:
    script.script = endless(lambda number: page_of(["v/a", "v/b"], next_token=str(number)))
    refused_listing(script, store_at)
    assert len(script.requests) == 2


def test_a_token_that_comes_again_is_noticed(script: FaultyStore, store_at: MakeStore) -> None:
    script.script = endless(lambda number: page_of([f"v/{number:09}"], next_token=str(number % 3)))
    refused_listing(script, store_at)
    assert len(script.requests) == 4


def test_a_page_without_a_token_to_the_next_is_noticed(script: FaultyStore, store_at: MakeStore) -> None:
    script.script = endless(lambda _: page_of(["v/a"], truncated=True))
    refused_listing(script, store_at)


def test_empty_pages_without_end_are_noticed(
    script: FaultyStore, store_at: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_listing, "_EMPTY_PAGES_IN_A_ROW", 20)
    script.script = endless(lambda number: page_of([], next_token=str(number)))
    refused_listing(script, store_at)
    assert len(script.requests) == 20


def test_a_circle_of_keys_without_end_is_noticed(
    script: FaultyStore, store_at: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_order, "SORTED_IN_MEMORY", 50)
    circle = [f"v/{number:02}" for number in range(25)]
    pages = [[circle[(7 * number + at) % 25] for at in range(10)] for number in range(24)]
    script.script = endless(lambda number: page_of(pages[number % 24], next_token=str(number)))
    refused_listing(script, store_at)


def test_a_key_twice_in_a_small_listing_is_noticed(script: FaultyStore, store_at: MakeStore) -> None:
    script.expect([page_of(["v/a", "v/b"], next_token="1"), page_of(["v/c", "v/b"])])
    refused_listing(script, store_at)


@pytest.mark.parametrize("foreign", ["other/a", "a", "V/a"])
def test_a_key_that_was_not_asked_for_is_noticed(script: FaultyStore, store_at: MakeStore, foreign: str) -> None:
    script.expect([page_of(["v/a", foreign])])
    assert foreign in refused_listing(script, store_at).message


def test_a_key_outside_of_the_prefix_is_noticed(script: FaultyStore, store_at: MakeStore) -> None:
    script.expect([page_of(["v/packs/1", "v/backups/1"])])
    refused_listing(script, store_at, "packs/")


def test_a_small_listing_in_any_order_is_sorted(script: FaultyStore, store_at: MakeStore) -> None:
    keys = [f"v/{number:03}" for number in range(200)]
    mixed = random.Random(1).sample(keys, len(keys))
    script.script = paged(mixed)
    assert [f"v/{found.key}" for found in store_at(script.endpoint_url, prefix="v").list()] == keys


def test_a_large_listing_in_order_is_passed_on_as_it_comes(
    script: FaultyStore, store_at: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_order, "SORTED_IN_MEMORY", 20)
    keys = [f"v/{number:03}" for number in range(200)]
    script.script = paged(keys)
    listing = store_at(script.endpoint_url, prefix="v").list()
    assert next(listing).key == "000"
    assert len(script.requests) == 1
    assert [f"v/{found.key}" for found in listing] == keys[1:]


def test_a_large_listing_out_of_order_is_refused(
    script: FaultyStore, store_at: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_order, "SORTED_IN_MEMORY", 20)
    script.script = paged([f"v/{number:03}" for number in (*range(100), 150, 149)])
    assert "149" in refused_listing(script, store_at).message


def test_foreign_keys_are_listed_as_they_are(script: FaultyStore, store_at: MakeStore) -> None:
    script.expect([page_of(["v/", "v//a", "v/a/../b"])])
    assert [found.key for found in store_at(script.endpoint_url, prefix="v").list()] == ["", "/a", "a/../b"]


def test_a_listing_that_fails_in_the_middle_is_not_a_short_one(script: FaultyStore, store_at: MakeStore) -> None:
    script.expect([page_of(["v/a"], next_token="1"), Answer.error(500, "InternalError")])
    with pytest.raises(StoreTransientError):
        list(store_at(script.endpoint_url, prefix="v", attempts=1).list())


def paged(keys: list[str], size: int = 20) -> Callable[[Request], Answer]:
    def answer(request: Request) -> Answer:
        start = int(request.path.partition("continuation-token=")[2].partition("&")[0] or 0)
        end = start + size
        return page_of(keys[start:end], next_token=str(end) if end < len(keys) else None)

    return answer
