"""Which bases are compared, and when a sequence is behind."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.policy.test_moments import NOON, at, base, interval, segment

from coffre.model.journal_proof import JournalProof, ProofVerdict
from coffre.model.manifest import SequenceValue
from coffre.policy.journal_proof import behind, by_name, goes_back, is_read_later, pair_for, values_by_journal
from coffre.policy.moments import Stretch

SEGMENTS = (segment(1, 0, 100), segment(2, 100, 200), segment(3, 200, 300), segment(4, 300, 400))
STRETCH = Stretch(interval(1, 0), None, SEGMENTS, (base(50), base(150), base(250), base(350)))


def proof(newer: str, **changes: object) -> JournalProof:
    facts = {
        "verdict": ProofVerdict.EQUAL,
        "target": "shop",
        "drill_id": "D",
        "proven_at": NOON,
        "newer": newer,
        "until": NOON,
        "interval": "I1",
    }
    return JournalProof.model_validate(facts | changes)


def test_a_base_is_compared_with_where_the_last_proof_ended_or_the_first_that_can_be_used() -> None:
    def older(newer: str, *before: JournalProof, stretch: Stretch[str] = STRETCH) -> str | None:
        pair = pair_for(stretch, newer, before)
        if pair.chosen is None:
            return pair.why
        assert pair.chosen.seen_by == dict(stretch.bases)[newer]
        assert pair.chosen.segments[-1].to_lsn >= (pair.chosen.point.lsn or 0)
        return pair.chosen.backup

    assert older("B350") == "B50"
    assert older("B350", proof("B150")) == "B150"
    assert older("B350", proof("B250"), proof("B150")) == "B250"
    # One that was not equal is a beginning as well: the base itself is right. What was not proven is none.
    assert older("B350", proof("B250", verdict=ProofVerdict.NOT_EQUAL)) == "B250"
    assert older("B350", proof("B250", why="no time"), proof("B150")) == "B150"
    # Of another interval, of a backup that is gone, or of this base itself.
    assert older("B350", proof("B250", interval="I0")) == "B50"
    assert older("B350", proof("gone")) == "B50"
    assert older("B350", proof("B350")) == "B50"
    # The first segments are deleted.
    assert older("B350", stretch=replace(STRETCH, segments=SEGMENTS[2:])) == "B250"

    assert older("B50") == "the interval has no earlier base to compare it with"
    assert older("B350", stretch=replace(STRETCH, segments=SEGMENTS[:3])) == "the journal is not stored so far yet"


def value(last: int, *, is_called: bool = True, name: str = "s") -> SequenceValue:
    return SequenceValue(schema_name="public", sequence_name=name, last_value=last, is_called=is_called)


def test_a_sequence_is_behind_if_no_drain_has_seen_its_value() -> None:
    pair = pair_for(STRETCH, "B250", ())
    assert pair.chosen is not None
    known = values_by_journal(STRETCH, pair.chosen, [value(9, name="of the base alone")])

    def late(*wanted: SequenceValue, descending: bool = False) -> list[tuple[str, int | None]]:
        names = {("public", one.sequence_name) for one in wanted} if descending else set()
        found = behind(by_name(wanted), known, names)
        return [(name[1], newest.last_value if newest else None) for name, _, newest in found]

    # The journal has 300 at the base, and 400 later: a backup reads sequences after its snapshot.
    assert late(value(300), value(9, name="of the base alone")) == []
    assert late(value(400)) == []
    assert late(value(401)) == [("s", 400)]
    assert late(value(10, name="of the base alone"), value(1, name="new")) == [("of the base alone", 9), ("new", None)]
    assert late(value(200), descending=True) == [("s", 400)]
    assert late(value(500, is_called=False), descending=True) == []
    assert late(value(400, is_called=False)) == []

    assert is_read_later(STRETCH, at(4))
    assert not is_read_later(STRETCH, at(4.1))


def test_a_sequence_that_was_set_back_around_the_backup_is_told_from_one_that_is_behind() -> None:
    def goes(*read: int, descending: bool = False, newer: str = "B250") -> tuple[bool, bool]:
        segments = [one.model_copy(update={"sequences": (value(read[i]),)}) for i, one in enumerate(SEGMENTS)]
        stretch = replace(STRETCH, segments=segments)
        chosen = pair_for(stretch, newer, ()).chosen
        assert chosen is not None
        own, names = [value(-90 if descending else 90)], {("public", "s")} if descending else set[tuple[str, str]]()
        known = values_by_journal(stretch, chosen, own)
        wanted = by_name([value(-250 if descending else 250)])
        before = [by_name(own if one is None else one) for one in chosen.earlier]
        return bool(list(behind(wanted, known, names))), goes_back(("public", "s"), [*before, *known], names)

    # The backup reads 250 after its snapshot; the drain that sees its position reads the third value.
    assert goes(100, 240, 3, 9) == (True, True)
    assert goes(100, 200, 240, 3) == (True, True)
    assert goes(-100, -240, -3, -9, descending=True) == (True, True)
    assert goes(100, 240, 245, 246) == (True, False)
    # The drain before may have read it behind the backup. Earlier than that it says nothing about it.
    assert goes(200, 3, 9, 12) == (True, True)
    assert goes(200, 3, 9, 12, newer="B350") == (True, False)


def test_a_proof_says_what_it_came_to_and_what_it_makes_doubtful() -> None:
    told = proof("B2", since=NOON, from_lsn=10, to_lsn=20, tables=3)
    assert told.text == "proven equal from 2026-11-27 12:00:00 to 2026-11-27 12:00:00 UTC, 3 tables"
    assert not told.doubts("I1", 15)
    bad = told.model_copy(update={"verdict": ProofVerdict.NOT_EQUAL, "differences": ("a", "b")})
    assert bad.text.startswith("NOT EQUAL somewhere from")
    assert bad.text.endswith("2 differences")
    # What is made from a base before both goes through the stretch, too.
    assert [bad.doubts("I1", lsn) for lsn in (9, 10, 19, 20)] == [True, True, True, False]
    assert not bad.doubts("I2", 15)
    assert proof("B2", verdict=ProofVerdict.NOT_PROVEN, why="No time.").text == "not proven: No time"
