"""Findings of scanners: each is mended, or suppressed with a reason that still holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from supply_chain.scan import SUPPRESSIONS, Finding, ScanError, Suppression, judge, read_suppressions, secrets, tracked

from coffre_local.toolchain import Toolchain

SQL = Finding("bandit", "B608", "layers/coffre/coffre/a.py", "line 3: SQL")


def test_a_finding_without_a_suppression_is_named() -> None:
    other = Suppression("bandit", "B608", "layers/notify/*", "why")

    assert judge([SQL], [other])[0] == "bandit B608 in layers/coffre/coffre/a.py: line 3: SQL"


@pytest.mark.parametrize(
    ("suppression", "covers"),
    [
        (Suppression("bandit", "B608", "layers/coffre/*", "why"), True),
        (Suppression("bandit", "B608", "layers/coffre/coffre/a.py", "why"), True),
        (Suppression("bandit", "B101", "*", "why"), False),
        (Suppression("checkov", "B608", "*", "why"), False),
    ],
)
def test_a_suppression_is_for_one_check_in_some_places(suppression: Suppression, covers: bool) -> None:
    assert suppression.covers(SQL) is covers
    assert judge([SQL], [suppression]) == [] if covers else judge([SQL], [suppression])


def test_a_suppression_that_suppresses_nothing_is_named() -> None:
    stale = Suppression("bandit", "B101", "*", "why")

    assert judge([], [stale]) == ["The suppression of bandit B101 for * suppresses nothing: remove it."]


@pytest.mark.parametrize(
    "entry",
    ["{check: B1, where: x}", '{check: B1, where: x, reason: " "}', "{check: B1, where: x, reason: y, more: z}"],
)
def test_a_suppression_without_a_reason_is_refused(entry: str) -> None:
    with pytest.raises(ScanError, match="needs check, where and reason"):
        read_suppressions(f"bandit: [{entry}]")


def test_the_suppressions_of_this_checkout_can_be_read() -> None:
    assert {one.tool for one in read_suppressions(SUPPRESSIONS.read_text())} == {"bandit", "checkov", "detect-secrets"}
    assert "supply_chain/suppressions.yml" in tracked()


def test_a_private_key_in_a_file_is_found(tmp_path: Path) -> None:
    leaked = tmp_path / "notes.md"
    leaked.write_text("the key: " + "AGE-SECRET-KEY-1" + "Q" * 58 + "\n")

    (found,) = secrets(Toolchain().scanners(), [leaked.name], tmp_path)

    assert (found.check, found.what) == ("Private age key", "line 1")
