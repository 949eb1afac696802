"""What is proven of journals: the newest first, never more than a document can hold, and no result of a drill."""

from __future__ import annotations

from datetime import datetime

import pytest
from tests.unit.catalog.conftest import RawTable

from coffre.catalog.catalog import Catalog
from coffre.model.errors import IntegrityError
from coffre.model.journal_proof import JournalProof, ProofVerdict


def test_the_newest_proofs_are_kept_in_short(catalog: Catalog, raw_table: RawTable, now: datetime) -> None:
    proofs = catalog.journal_proofs
    assert proofs.of("shop") == ()
    for number in range(60):
        proof = JournalProof(
            verdict=ProofVerdict.EQUAL,
            target="shop",
            drill_id=f"D{number}",
            proven_at=now,
            newer="B",
            until=now,
            excluded=("x" * 10_000,),
            differences=("y",) * 100,
        )
        proofs.note(proof)
    proofs.note(proof.model_copy(update={"verdict": ProofVerdict.NOT_EQUAL}))

    found = proofs.of("shop")
    assert [one.drill_id for one in found] == [f"D{number}" for number in range(59, 7, -1)]
    assert [one.verdict for one in found[:2]] == [ProofVerdict.NOT_EQUAL, ProofVerdict.EQUAL]
    assert (found[0].excluded, found[0].differences) == ((), ("y",) * 10)
    assert (catalog.latest.drills(), list(catalog.drill_runs.newest())) == ({}, [])

    raw_table.put_item(Item={"pk": "DRILL", "sk": "proofs/shop", "record": "{"})
    with pytest.raises(IntegrityError):
        proofs.of("shop")
    # Another drill can be noted all the same.
    proofs.note(proof)
    assert [one.drill_id for one in proofs.of("shop")] == ["D59"]
