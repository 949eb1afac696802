"""Who holds the snapshot of a spread backup, how far its groups are, and who seals."""

from __future__ import annotations

from datetime import datetime, timedelta

from coffre.catalog.catalog import Catalog
from coffre.catalog.spread import Epoch, GroupState
from coffre.model.backup import Failure

RUN, OTHER = "01K9X000000000000000000000", "01K9X000000000000000000001"
STALE = timedelta(seconds=30)


def epoch(number: int, now: datetime, holder: str = "a") -> Epoch:
    return Epoch(number, holder, f"0000-{number}-{holder}", now + timedelta(minutes=10), now)


def test_the_newest_epoch_comes_first_and_only_of_its_run(catalog: Catalog, now: datetime) -> None:
    for number in (1, 2, 10):
        assert catalog.spread.begin_epoch(RUN, epoch(number, now))
    catalog.spread.begin_epoch(OTHER, epoch(11, now))

    assert [one.number for one in catalog.spread.epochs(RUN)] == [10, 2, 1]


def test_a_number_is_given_out_once(catalog: Catalog, now: datetime) -> None:
    assert catalog.spread.begin_epoch(RUN, epoch(2, now, "a"))

    assert not catalog.spread.begin_epoch(RUN, epoch(2, now, "b"))
    assert catalog.spread.epochs(RUN) == [epoch(2, now, "a")]


def test_an_epoch_lives_by_its_heartbeats_until_it_ends(catalog: Catalog, now: datetime) -> None:
    catalog.spread.begin_epoch(RUN, epoch(1, now))
    later = now + timedelta(minutes=1)
    [found] = catalog.spread.epochs(RUN)
    assert not found.is_alive(later, STALE)

    catalog.spread.keep_epoch(RUN, 1, later)
    [found] = catalog.spread.epochs(RUN)
    assert found.is_alive(later, STALE)

    catalog.spread.end_epoch(RUN, 1)
    [found] = catalog.spread.epochs(RUN)
    assert not found.is_alive(later, STALE)


def test_the_last_attempt_at_a_group_counts(catalog: Catalog, now: datetime) -> None:
    failure = Failure(code="CONNECTION_LOST", message="It was cut.", hint=None)
    catalog.spread.put_group(RUN, GroupState(3, "first", now, 500, 2, "public.a", is_over=True, failure=failure))
    catalog.spread.put_group(RUN, GroupState(12, "x", now, 7, 1))
    [last, first] = catalog.spread.groups(RUN)
    assert (last.number, first) == (12, GroupState(3, "first", now, 500, 2, "public.a", True, failure))
    assert not first.is_alive(now, STALE)

    catalog.spread.put_group(RUN, GroupState(3, "second", now, 100))

    assert catalog.spread.groups(RUN)[1] == GroupState(3, "second", now, 100)


def test_one_invocation_seals_until_it_is_silent(catalog: Catalog, now: datetime) -> None:
    spread = catalog.spread
    assert not spread.is_sealing(RUN)
    assert spread.claim_seal(RUN, "first", now, stale_after=STALE)
    assert not spread.claim_seal(RUN, "second", now + timedelta(seconds=20), stale_after=STALE)
    assert spread.claim_seal(RUN, "first", now + timedelta(seconds=25), stale_after=STALE)
    assert not spread.claim_seal(RUN, "second", now + timedelta(seconds=50), stale_after=STALE)
    assert spread.claim_seal(RUN, "second", now + timedelta(seconds=56), stale_after=STALE)
    assert not spread.claim_seal(RUN, "first", now + timedelta(seconds=57), stale_after=STALE)
    assert spread.is_sealing(RUN)
