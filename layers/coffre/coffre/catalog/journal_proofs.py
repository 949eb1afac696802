"""What drills have proven of the journals: one document of each target, in the partition of drills."""

from __future__ import annotations

from typing import Final

from coffre.catalog.drill_runs import DRILLS, PROOFS
from coffre.catalog.items import LatestItem
from coffre.catalog.records import read_json
from coffre.catalog.tables import DynamoTable
from coffre.model.errors import IntegrityError
from coffre.model.journal_proof import JournalProof, JournalProofs

# A year of weekly drills.
_MOST: Final = 52
_MOST_SAID: Final = 10


class ProofsOfJournals:
    """The newest proofs of each target, in short. The reports of the drills in the vault have all of them."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def of(self, target: str) -> tuple[JournalProof, ...]:
        """Return the proofs of a target's journal, the newest first."""
        raw = self._table.get(DRILLS, f"{PROOFS}{target}")
        if raw is None:
            return ()
        return read_json(raw, LatestItem, JournalProofs).proofs

    def note(self, proof: JournalProof) -> None:
        """Add the proof of a drill; that of a drill which is noted already replaces it, as it does a damaged record."""
        try:
            before = self.of(proof.target)
        except IntegrityError:
            before = ()
        others = [one for one in before if one.drill_id != proof.drill_id]
        short = proof.model_copy(update={"excluded": (), "differences": proof.differences[:_MOST_SAID]})
        kept = JournalProofs(target=proof.target, proofs=(short, *others)[:_MOST])
        item = LatestItem(
            pk=DRILLS, sk=f"{PROOFS}{proof.target}", at=proof.proven_at, record=kept.model_dump_json(exclude_none=True)
        )
        self._table.put(item)
