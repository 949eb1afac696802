"""What `verify_chain` finds: 10,000 random attacks on the items of the table, with the last anchor alone."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from tests.unit.catalog.audit_items import (
    CONSISTENT,
    NAIVE,
    SHARDS,
    START,
    Attack,
    Table,
    an_event,
    drop,
    fork,
    in_table,
    raw_of,
)

from coffre.catalog.audit import stored_event
from coffre.model.audit import Anchor, AuditEvent, Head
from coffre.policy.audit_chain import STALE_AFTER, canonical, chained, hash_of, normal

GOLDEN = Path(__file__).parent / "audit_event.golden.json"
ROUNDS = 10_000
ATTACKS = (*NAIVE, *CONSISTENT, drop)


def a_world(seed: int) -> tuple[Table, Anchor, random.Random]:
    """Return a table, an anchor of an earlier state of it, and the source of chance that made them."""
    table, anchor, state = _world(seed)
    chance = random.Random()
    chance.setstate(state)
    return table.copy(), anchor, chance


@lru_cache(200)
def _world(seed: int) -> tuple[Table, Anchor, Any]:
    chance = random.Random(seed)
    chains = {shard: [an_event(number, shard, chance) for number in range(1, chance.randint(2, 7))] for shard in SHARDS}
    anchored = Table.of({shard: events[: chance.randint(1, len(events))] for shard, events in chains.items()})
    return Table.of(chains), anchored.anchor(), chance.getstate()


@pytest.fixture(autouse=True)
def hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash an event once, as long as it is the same: attacks leave most of them as they are."""
    monkeypatch.setattr("coffre.policy.audit_chain.hash_of", lru_cache(4096)(hash_of))


def anchored_numbers(anchor: Anchor, shard: str) -> int:
    return next(head.sequence for head in anchor.heads if head.shard == shard)


def test_chains_as_coffre_writes_them_are_intact() -> None:
    for seed in range(200):
        table, anchor, _ = a_world(seed)
        report = table.check(anchor)
        assert report.is_intact, (seed, report.findings)
        assert report.events == sum(len(items) for items in table.items.values())
        assert report.unanchored == report.events - sum(head.sequence for head in anchor.heads)


def test_what_stands_in_for_an_item_is_what_is_read_of_one() -> None:
    for seed in range(100):
        table, _, chance = a_world(seed)
        attack, shard = ATTACKS[seed % len(ATTACKS)], chance.choice(SHARDS)
        attack(table, shard, chance.randint(1, len(table.items[shard])), chance)
        for kept in (one for items in table.items.values() for one in items.values()):
            if kept.event is not None:
                raw = raw_of(kept.event, pk=f"AUDIT#{kept.shard}", sk=kept.sort)
                assert stored_event(raw) == kept == in_table(kept.event, kept.shard, kept.sort)


def test_10_000_attacks_on_anchored_events_are_all_found_given_the_last_anchor_alone() -> None:
    """Insertions, deletions, changes, reorderings, forks, rollbacks, moves to another chain: also by somebody who
    computes every hash and head again."""
    tried: Counter[str] = Counter()
    for seed in range(ROUNDS):
        if seed % 20 == 0:
            world, anchor, _ = a_world(seed)
        chance, table = random.Random(-seed - 1), world.copy()
        attack, shard = ATTACKS[seed % len(ATTACKS)], chance.choice(SHARDS)
        number = chance.randint(1, anchored_numbers(anchor, shard))
        attack(table, shard, number, chance)
        assert not table.check(anchor).is_intact, (seed, attack.__name__, shard, number)
        tried[attack.__name__] += 1
    assert set(tried) == {attack.__name__ for attack in ATTACKS}
    assert sum(tried.values()) == ROUNDS


@pytest.mark.parametrize("attack", NAIVE, ids=lambda attack: attack.__name__)
def test_attacks_on_newer_events_that_leave_a_contradiction_are_found_without_any_anchor(attack: Attack) -> None:
    for seed in range(200):
        table, _, chance = a_world(seed)
        shard = chance.choice(SHARDS)
        attack(table, shard, chance.randint(1, len(table.items[shard])), chance)
        assert not table.check().is_intact, (seed, shard)


def test_a_consistent_forgery_after_the_last_anchor_is_not_found_and_the_report_counts_what_it_cannot_prove() -> None:
    """The limit that docs/audit.md states: events after the last anchor are protected by the head alone."""
    checked = 0
    for seed in range(600):
        table, anchor, chance = a_world(seed)
        shard = chance.choice(SHARDS)
        anchored = anchored_numbers(anchor, shard)
        if anchored == len(table.items[shard]):
            continue
        CONSISTENT[seed % len(CONSISTENT)](table, shard, chance.randint(anchored + 1, len(table.items[shard])), chance)
        report = table.check(anchor)
        # A reordering may exchange the event with an anchored one.
        if report.is_intact:
            checked += 1
            others = sum(len(table.items[one]) - anchored_numbers(anchor, one) for one in SHARDS if one != shard)
            assert report.unanchored == others + len(table.items[shard]) - anchored
    assert checked > 200


def test_without_an_anchor_a_consistent_forgery_is_not_found() -> None:
    table, anchor, chance = a_world(3)
    fork(table, "shop", 1, chance)
    assert table.check().is_intact
    assert not table.check(anchor).is_intact


# --- what is said ---


def codes(table: Table, *anchors: Anchor, now: datetime | None = None) -> list[tuple[str, str, int | None]]:
    return [(one.code, one.shard, one.sequence) for one in table.check(*anchors, now=now).findings]


@pytest.fixture
def table() -> Table:
    chance = random.Random(11)
    return Table.of({"shop": [an_event(number, "shop", chance) for number in range(1, 6)]})


def test_the_event_that_is_wrong_is_named(table: Table) -> None:
    anchor, third = table.anchor(), table.events("shop")[2]

    changed = table.copy()
    changed.put(replace(third, actor="nobody"))
    assert codes(changed, anchor) == [("EVENT_CHANGED", "shop", 3), ("CHAIN_FORKED", "shop", 4)]

    deleted = table.copy()
    del deleted.items["shop"]["0" * 19 + "3"]
    assert codes(deleted, anchor) == [("EVENT_MISSING", "shop", 3)]

    cut = table.copy()
    cut.write("shop", table.events("shop")[:2])
    assert codes(cut, anchor) == [("CHAIN_CUT", "shop", 5)]
    assert "the chain ends at 2" in cut.check(anchor).findings[0].text

    misfiled = table.copy()
    misfiled.put(table.events("shop")[0], sort="0" * 19 + "3")
    assert codes(misfiled, anchor) == [("EVENT_MISFILED", "shop", 3), ("CHAIN_FORKED", "shop", 4)]

    set_back = table.copy()
    set_back.heads["shop"] = Head(shard="shop", sequence=3, hash=third.hash or "")
    assert codes(set_back, anchor) == [("EVENT_INSERTED", "shop", 4)]

    headless = table.copy()
    headless.heads.clear()
    assert codes(headless, anchor) == [("HEAD_MISSING", "shop", 5)]

    gone = Table(heads=dict(table.heads))
    assert codes(gone) == [("EVENT_MISSING", "shop", 1)]
    assert codes(Table(), anchor) == [("CHAIN_CUT", "shop", 5)]


def test_removed_and_contradicting_anchors_are_named(table: Table) -> None:
    first = table.anchor(START)
    second = table.anchor(START + timedelta(hours=1), first)
    third = table.anchor(START + timedelta(hours=2), second)
    assert codes(table, first, second, third) == []
    assert codes(table, second, third) == [], "the first that is given has none before it"
    assert codes(table, first, third) == [("ANCHOR_MISSING", "", None)]

    forked = table.copy()
    forked.write("shop", [*table.events("shop")[:4], an_event(77, "shop", random.Random(1))])
    after = forked.anchor(START + timedelta(hours=1), first)
    assert ("CHAIN_FORKED", "shop", 5) in codes(table, first, after)


def test_an_event_that_no_anchor_covers_for_hours_is_named(table: Table) -> None:
    newest = table.events("shop")[-1].at
    oldest = table.events("shop")[0].at
    assert codes(table, now=oldest + STALE_AFTER) == []
    assert codes(table, now=newest + STALE_AFTER) == [("ANCHOR_STALE", "", None)]
    assert codes(table, table.anchor(), now=newest + timedelta(days=300)) == []


# --- the form that is hashed ---


def test_the_canonical_form_and_its_hash_never_change() -> None:
    """The golden file was written by the first version: a later one has to hash old events as they were hashed."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for one in golden:
        given = one["event"]
        event = normal(AuditEvent(**{**given, "at": datetime.fromisoformat(given["at"])}))
        head = Head.model_validate(one["head"]) if one["head"] else None
        link = chained(event, one["shard"], head)
        assert canonical(link).decode() == one["canonical"]
        assert link.hash == hash_of(link) == one["sha256"]


def test_texts_are_stored_as_they_are_hashed() -> None:
    """Composed and decomposed letters, lone surrogates, and more than an item should hold."""
    event = normal(AuditEvent("01K", START, "zoe\u0308", "x", subject="\ud800", detail="é" * 9_000))
    assert (event.actor, event.subject) == ("zo\u00eb", "?")
    assert len(event.detail or "") == 2_048
    link = chained(event, "-", None)
    read = stored_event(raw_of(link)).event
    assert read == link
    assert read is not None
    assert hash_of(read) == link.hash


def test_a_time_in_another_zone_is_the_same_event() -> None:
    paris = datetime.fromisoformat("2026-11-01T01:00:00+01:00")
    made = [chained(normal(AuditEvent("01K", at, "ana", "x")), "-", None) for at in (paris, paris.astimezone(UTC))]
    assert made[0].hash == made[1].hash
