"""What became of each object is told by one pass over listing and previous backup."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.buckets.changes import ObjectChange, SourceObject, compare, with_stored
from coffre.buckets.object_facts import Listed
from coffre.model.manifest import Entry, EntryKind, Frame, ObjectFacts

THEN = datetime(2026, 11, 17, 3, 0, tzinfo=UTC)
KEYS = st.text(alphabet="ab/-", min_size=1, max_size=3)
STATES = st.tuples(st.integers(0, 2), st.sampled_from(["1", "2"]), st.sampled_from([THEN, THEN + timedelta(seconds=1)]))


def entry(name: str, size: int, etag: str | None, modified: datetime | None, pack: str = "p") -> Entry:
    frame = Frame(pack=pack, offset=0, length=1, size=size, sha256="0" * 64)
    facts = ObjectFacts(etag=etag, last_modified=modified)
    return Entry(name=name, kind=EntryKind.OBJECT, size=size, sha256="0" * 64, object=facts, frames=(frame,))


def changes(
    here: dict[str, tuple[int, str, datetime]], before: dict[str, tuple[int, str, datetime]], usable: frozenset[str]
) -> dict[str, ObjectChange]:
    found = (SourceObject(name, "b", Listed(name, *state)) for name, state in sorted(here.items()))
    previous = (entry(name, *state) for name, state in sorted(before.items()))
    return {compared.name: compared.change for compared in compare(found, previous, usable)}


@given(here=st.dictionaries(KEYS, STATES), before=st.dictionaries(KEYS, STATES), usable=st.booleans())
def test_every_name_is_told_once_and_rightly(
    here: dict[str, tuple[int, str, datetime]], before: dict[str, tuple[int, str, datetime]], usable: bool
) -> None:
    kept = ObjectChange.UNCHANGED if usable else ObjectChange.STORE_AGAIN
    expected = dict.fromkeys(before.keys() - here.keys(), ObjectChange.REMOVED)
    expected |= dict.fromkeys(here.keys() - before.keys(), ObjectChange.ADDED)
    for name in here.keys() & before.keys():
        expected[name] = kept if here[name] == before[name] else ObjectChange.CHANGED

    told = changes(here, before, frozenset({"p"} if usable else ()))

    assert told == expected
    assert list(told) == sorted(told)


def test_what_an_unfinished_run_stored_is_named_beside_the_previous_backup() -> None:
    first, second = (1, "1", THEN), (1, "2", THEN)
    here = {"changed": second, "changed again": second, "new": first, "same": first}
    before = {"changed": first, "changed again": first, "gone": first, "same": first}
    stored = {"changed": second, "changed again": (2, "3", THEN), "gone": first, "new": first, "only stored": first}
    found = (SourceObject(name, "b", Listed(name, *state)) for name, state in here.items())
    compared = compare(found, (entry(name, *state) for name, state in before.items()), frozenset({"p"}))

    made = list(with_stored(compared, (entry(name, *state) for name, state in stored.items())))

    assert {one.name: (one.change.value, one.is_stored) for one in made} == {
        "changed": ("changed", True),
        "changed again": ("changed", False),
        "gone": ("removed", False),
        "new": ("added", True),
        "same": ("unchanged", False),
    }


@pytest.mark.parametrize(
    ("listed", "recorded", "same"),
    [
        ((1, "e", THEN), (1, "e", THEN), True),
        ((1, "e", THEN + timedelta(milliseconds=7)), (1, "e", THEN), True),
        ((1, "e", None), (1, "e", None), True),
        ((1, None, THEN), (1, None, THEN), True),
        ((1, None, None), (1, None, None), False),
        ((1, "e", THEN), (1, None, THEN), False),
        ((1, "e", THEN), (2, "e", THEN), False),
    ],
)
def test_without_a_mark_of_change_nothing_is_taken_for_unchanged(
    listed: tuple[int, str | None, datetime | None], recorded: tuple[int, str | None, datetime | None], same: bool
) -> None:
    size, etag, modified = recorded

    assert Listed("k", *listed).is_same(size, ObjectFacts(etag=etag, last_modified=modified)) is same
