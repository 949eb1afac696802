"""What a drill has proven of a journal: whether it makes of one base what a later base is."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime

from coffre.model.document import FrozenModel
from coffre.model.words import counted


class ProofVerdict(StrEnum):
    """What a comparison of a base with what the journal makes of an earlier one has shown; NOT_PROVEN is neither."""

    EQUAL = "equal"
    NOT_EQUAL = "not_equal"
    NOT_PROVEN = "not_proven"


class JournalProof(FrozenModel):
    """One comparison.

    Parameters
    ----------
    interval, older, newer
        The interval, and the ids of the two backups. Without an interval or an older one nothing could be compared.
    since, until
        The moments of the two bases, by the clock of their server.
    from_lsn, to_lsn
        Their positions.
    tables
        How many were compared.
    differences
        A sentence for each table or sequence that is not equal, or for what the journal could not change.
    excluded
        What was not compared, a sentence each.
    why
        Why nothing is proven.
    """

    verdict: ProofVerdict
    target: str
    drill_id: str
    proven_at: AwareDatetime
    newer: str
    until: AwareDatetime
    interval: str | None = None
    older: str | None = None
    since: AwareDatetime | None = None
    from_lsn: int = 0
    to_lsn: int = 0
    segments: int = 0
    tables: int = 0
    differences: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    why: str | None = None

    @property
    def is_equal(self) -> bool:
        """Whether everything that was compared is equal."""
        return self.verdict is ProofVerdict.EQUAL

    @property
    def is_doubtful(self) -> bool:
        """Whether moments between the two bases may lack changes."""
        return self.verdict is ProofVerdict.NOT_EQUAL

    @property
    def text(self) -> str:
        """What it came to, in one sentence without a full stop."""
        if self.verdict is ProofVerdict.NOT_PROVEN:
            return f"not proven: {(self.why or 'nothing was compared').rstrip('.')}"
        period = f"from {self.since:%Y-%m-%d %H:%M:%S} to {self.until:%Y-%m-%d %H:%M:%S} UTC"
        if self.is_equal:
            return f"proven equal {period}, {counted(self.tables, 'table')}"
        return f"NOT EQUAL somewhere {period}: {counted(len(self.differences), 'difference')}"

    def doubts(self, interval: str, base_lsn: int) -> bool:
        """Return whether moments that are made from a base of an interval may lack changes."""
        return self.is_doubtful and self.interval == interval and base_lsn < self.to_lsn


class JournalProofs(FrozenModel):
    """The newest comparisons of a target's journal, the newest first."""

    target: str
    proofs: tuple[JournalProof, ...] = ()
