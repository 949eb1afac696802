"""A restore goes by what its first attempt has kept: also where a deployment came between the two."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from coffre.model.errors import RestoreError
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.resume import is_kept
from coffre.operations.restore_database.saved_steps import Memory
from coffre.operations.runs.progress import Meter
from coffre.postgres.destination.ledger import Ledger

JOB = cast("Any", SimpleNamespace(owner_id="01", connection="here"))
DESTINATION = cast("Any", SimpleNamespace(schemas=(), given=(), exceptions=()))


def known(**other: Any) -> dict[str, Any]:
    report = ReportBuilder(Meter())
    return {
        "ledger": Ledger().state(),
        "report": report.state(),
        "done": ["definitions"],
        "lost": [],
        "kept_out": [],
        **other,
    }


def attached(kept: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Memory:
    monkeypatch.setattr("coffre.operations.restore_database.saved_steps.restored_by", lambda _: {})
    memory = Memory(JOB, ReportBuilder(Meter()), _known=kept)
    memory.attach(DESTINATION, Ledger(), {}, {})
    return memory


def test_what_the_same_version_has_kept_is_taken_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert attached(known(), monkeypatch).done == ["definitions"]


@pytest.mark.parametrize(
    "other",
    [
        {"report": {}},
        {"ledger": []},
        {"lost": [["public", "orders", "of three parts"]]},
        {"report": {**ReportBuilder(Meter()).state(), "kept": [{"what": "a field that is gone"}]}},
    ],
)
def test_what_another_version_has_kept_is_refused_and_the_database_stays(
    other: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RestoreError, match="another version of Coffre") as caught:
        attached(known(**other), monkeypatch)

    assert caught.value.code == "RESUME_OTHER"
    assert is_kept(caught.value)
