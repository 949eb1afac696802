"""Which restores to a moment are warned of a journal that a drill has found not to be equal."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from tests.unit.policy.test_journal_proof import STRETCH, proof
from tests.unit.policy.test_moments import at

from coffre.model.journal_proof import JournalProof, ProofVerdict
from coffre.operations.restore_database.journal_replay import doubts
from coffre.policy.journal_proof import pair_for
from coffre.policy.moments import Point


def test_every_moment_whose_changes_come_through_the_stretch_is_warned_of() -> None:
    bad = proof("B250", verdict=ProofVerdict.NOT_EQUAL, older="B150", since=at(1.5), from_lsn=150, to_lsn=250)
    made = pair_for(STRETCH, "B350", ()).chosen
    assert made is not None

    def warned(base: str, point: Point, proofs: tuple[JournalProof, ...] | None = (bad,)) -> bool:
        chosen = replace(made, point=point, backup=base, base=dict(STRETCH.bases)[base], seen_by=None)
        job, source = SimpleNamespace(proofs=proofs), SimpleNamespace(chosen=chosen)
        return bool(doubts(cast("Any", job), cast("Any", source)))

    # From the base before both: as soon as the moment reaches the stretch, and ever after.
    assert [warned("B50", Point(lsn=lsn)) for lsn in (149, 150, 300)] == [False, True, True]
    assert [warned("B50", Point(at(minute))) for minute in (1.4, 1.5, 3)] == [False, True, True]
    assert warned("B150", Point(lsn=200))
    assert not warned("B250", Point(lsn=300))
    # That nothing is known is said, and that nothing was found is not.
    assert warned("B150", Point(lsn=200), None)
    assert not warned("B150", Point(lsn=200), ())
