"""What a proof says when something ends it: damage is no difference, and no time is no equality."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import psycopg2
import psycopg2.errors
import pytest
from tests.unit.policy.test_journal_proof import STRETCH
from tests.unit.policy.test_moments import NOON

from coffre.model.errors import CoffreError, IntegrityError, JournalError, RestoreError, StoreError
from coffre.model.journal_proof import JournalProof
from coffre.operations.drill import journal_proof
from coffre.operations.drill.findings import Found
from coffre.operations.drill.group import Invocation
from coffre.operations.drill.journal_pair import Pair
from coffre.operations.drill.journal_proof import prove_journal
from coffre.operations.drill.table_groups import Course
from coffre.operations.runs.progress import Meter
from coffre.policy.journal_proof import pair_for


class StoppedError(Exception):
    """The run is to end."""


def proven(
    monkeypatch: pytest.MonkeyPatch, end: Exception | bool, *, is_last: bool = True, **changes: Any
) -> JournalProof | None:
    """Return the proof after `run` has ended so; None: another invocation continues."""

    def run(proof: Any) -> bool:
        proof.tables = 3
        proof.differences += changes.get("differences", [])
        if isinstance(end, Exception):
            raise end
        return end

    def check() -> None:
        if changes.get("is_stopped"):
            raise StoppedError

    def refuse_impossible(_: Exception) -> None:
        if changes.get("is_full"):
            raise RestoreError("The disk is full.", code="SCRATCH_FULL")

    monkeypatch.setattr(journal_proof._Proof, "run", run)
    monkeypatch.setattr(journal_proof, "drop", lambda _: None)
    named = ("problems", "journal", "compared")
    found = Found(Meter(), **{name: changes[name] for name in named if name in changes})
    job = SimpleNamespace(
        id="D",
        backup=SimpleNamespace(id="B350", target="shop"),
        now=lambda: NOON,
        children=SimpleNamespace(check=check),
    )
    here = SimpleNamespace(found=found, job=job, server=SimpleNamespace(refuse_impossible=refuse_impossible))
    course = SimpleNamespace(begin_proof=lambda _: None, may_continue_proof=not is_last)
    chosen = pair_for(STRETCH, "B350", ()).chosen
    assert chosen is not None
    pair = Pair(STRETCH, chosen, cast("Any", SimpleNamespace(id="B50")), dict(STRETCH.bases)["B350"])
    is_done = prove_journal(cast("Invocation", here), cast("Course", course), pair)
    return found.journal if is_done else None


def test_what_earlier_invocations_compared_is_taken_up(monkeypatch: pytest.MonkeyPatch) -> None:
    first = proven(monkeypatch, True, differences=["public.a: 1 rows by the journal, 2 in the backup."])
    assert first is not None

    again = proven(monkeypatch, True, journal=first, compared=["public.a", "public.b", "public.c"])
    assert again is not None
    assert again.differences == first.differences
    # Of another pair nothing is.
    other = proven(monkeypatch, True, journal=first.model_copy(update={"older": "B150"}), compared=["public.a"])
    assert other is not None
    assert other.is_equal


def refused(cause: Exception) -> JournalError:
    error = JournalError("The restored database does not take the changes.", code="JOURNAL_REPLAY", detail="why")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (JournalError("The table public.a is not what the journal continues.", code="JOURNAL_DIVERGED"), "not_equal"),
        (JournalError("No such table.", code="JOURNAL_UNKNOWN_TABLE"), "not_equal"),
        (refused(psycopg2.errors.UniqueViolation("duplicate key")), "not_equal"),
        (refused(psycopg2.errors.DiskFull("no space")), "not_proven"),
        (JournalError("A line is not understood.", code="JOURNAL_UNREADABLE"), "not_proven"),
        (JournalError("Triggers would fire.", code="JOURNAL_TRIGGERS"), "not_proven"),
        (IntegrityError("A pack is damaged.", code="PACK_DAMAGED"), "not_proven"),
        (StoreError("The store does not answer.", code="STORE_UNAVAILABLE"), "not_proven"),
        (psycopg2.OperationalError("gone"), "not_proven"),
    ],
    ids=lambda value: getattr(value, "code", str(value)[:20]),
)
def test_what_does_not_fit_is_not_equal_and_what_cannot_be_read_is_not_proven(
    monkeypatch: pytest.MonkeyPatch, error: Exception, verdict: str
) -> None:
    proof = proven(monkeypatch, error)

    assert proof is not None
    words = error.message.rstrip(".") if isinstance(error, CoffreError) else str(error)
    assert (proof.verdict, proof.older, proof.interval) == (verdict, "B50", "I1")
    assert words in (proof.why or proof.differences[0])
    assert (proof.why is None) == (verdict == "not_equal")


def test_a_proof_ends_equal_not_equal_or_without_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def verdict(end: Exception | bool, **how: Any) -> tuple[str, str] | None:
        proof = proven(monkeypatch, end, **how)
        return (proof.verdict.value, proof.why or "") if proof is not None else None

    assert verdict(True) == ("equal", "")
    assert verdict(True, differences=["public.a: 1 rows by the journal, 2 in the backup."]) == ("not_equal", "")
    late = verdict(False)
    assert late is not None
    assert late[0] == "not_proven"
    assert "did not fit" in late[1]
    assert verdict(False, differences=["a"]) == ("not_equal", "")
    assert verdict(False, is_last=False) is None
    full = verdict(RestoreError("Writing failed.", code="RESTORE_FAILED"), is_full=True)
    assert full == ("not_proven", "The disk is full [SCRATCH_FULL]")
    wrong = verdict(True, problems=["public.a is not as it was backed up."])
    assert wrong is not None
    assert wrong[0] == "not_proven"
    # A run that is to end is no proof of anything.
    with pytest.raises(StoppedError):
        proven(monkeypatch, RestoreError("StoppedError.", code="STOPPED"), is_stopped=True)
