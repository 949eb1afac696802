"""Which objects a drill restores: few, of every kind, and the same for the same drill."""

from __future__ import annotations

import random
from collections.abc import Iterable

from coffre.model.manifest import Entry, EntryKind, Frame, ObjectFacts
from coffre.policy.sampling import SampleLimits, Sampling

LIMITS = SampleLimits(objects=10, size_bytes=1000)


def entry(name: str, size: int = 10, frames: int = 1, facts: ObjectFacts | None = None) -> Entry:
    one = Frame(pack="p", offset=0, length=size + 1, size=size, sha256="0" * 64, stored_sha256="0" * 64)
    whole = facts or ObjectFacts()
    return Entry(name=name, kind=EntryKind.OBJECT, size=size, sha256="0" * 64, object=whole, frames=(one,) * frames)


def sample(entries: Iterable[Entry], limits: SampleLimits = LIMITS, seed: str = "drill") -> Sampling:
    return Sampling(seed, limits, lambda one: "no" not in one.name).take(entries)


def names(sampling: Sampling) -> list[str]:
    return [one.name for one in sampling.chosen]


PLAIN = [entry(f"b/{number:04d}") for number in range(2000)]


def test_the_same_drill_chooses_the_same_whatever_the_order_and_another_one_others() -> None:
    mixed = random.Random(1).sample(PLAIN, len(PLAIN))

    assert names(sample(PLAIN)) == names(sample(mixed)) == sorted(names(sample(PLAIN)))
    assert len(names(sample(PLAIN))) == 10
    assert len({*names(sample(PLAIN)), *names(sample(PLAIN, seed="another"))}) > 15


def test_every_object_is_chosen_about_as_often() -> None:
    drawn = [name for seed in range(400) for name in names(sample(PLAIN[:100], seed=str(seed)))]

    counts = sorted(drawn.count(one.name) for one in PLAIN[:100])
    # 40 times each, give or take
    assert counts[0] > 15
    assert counts[-1] < 70


def test_one_of_each_kind_is_among_them() -> None:
    special = [
        entry("b/0500-empty", 0, frames=0),
        entry("b/0600 odd//\u00fc"),
        entry("b/0700-frames", 20, frames=2),
        entry("b/0800-shared").model_copy(update={"size": 5}),
        entry("b/0900-tags", facts=ObjectFacts(tags={"a": "b"})),
        entry("b/0950-large", 500),
        entry("b/0960-larger", 501),
    ]

    found = sample([*PLAIN, *special])

    assert {one.name for one in special[:6]} <= set(names(found))
    assert len(names(found)) == 10


def test_no_more_bytes_than_allowed_are_chosen() -> None:
    found = sample(entry(f"b/{number}", 300) for number in range(50))

    assert len(names(found)) == 3
    assert sample([entry("b/huge", 1001)]).chosen == []


def test_when_everything_fits_everything_is_chosen() -> None:
    entries = [entry("b/a", 900), entry("b/b", 90), entry("b/c", 10)]

    found = sample(entries)

    assert names(found) == ["b/a", "b/b", "b/c"]
    assert found.summary(found.chosen).is_all


def test_what_cannot_be_restored_is_counted_and_not_chosen() -> None:
    unread = entry("b/unread", frames=0, facts=ObjectFacts(unread="denied"))

    found = sample([entry("b/a"), entry("b/no"), unread])
    told = found.summary(found.chosen)

    assert (names(found), found.count, found.unread, found.unfit) == (["b/a"], 2, 1, 1)
    assert (told.chosen, told.objects, told.is_all) == (1, 2, False)


def test_no_more_entries_than_the_limits_allow_are_kept() -> None:
    found = sample(PLAIN)

    assert len(found._lot) == 10
    assert sample(PLAIN, SampleLimits(0, 1000)).chosen == []
