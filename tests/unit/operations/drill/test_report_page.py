"""The page of a drill: everything is text, nothing comes from elsewhere."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from coffre.model.backup import Failure
from coffre.model.drill import Outcome
from coffre.model.drill_report import CheckProof, DrillReport, ObjectProof, Sample, Structure, TableProof, Verdict
from coffre.operations.drill.report_page import heading_of, page_of

NOW = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;{{ 7*7 }}{% raw %}"


def drilled(**changes: Any) -> DrillReport:
    """A report in which every name is hostile."""
    table = TableProof(
        table=HOSTILE, verdict=Verdict.DIFFERENT, rows=1000, rows_found=999, size_bytes=12345, slices=3, slices_equal=2,
        sha256="a" * 64, sha256_found="b" * 64, detail=HOSTILE,
    )  # fmt: skip
    check = CheckProof(name=HOSTILE, query=HOSTILE, expected=HOSTILE, found=HOSTILE, passed=False, error=HOSTILE)
    return DrillReport(
        **{
            "id": "01K9X000000000000000000001",
            "backup_id": "01K9X000000000000000000000",
            "target": "shop",
            "outcome": Outcome.FAILED,
            "backup_created_at": NOW - timedelta(hours=4),
            "started_at": NOW,
            "completed_at": NOW + timedelta(seconds=90),
            "source_version": HOSTILE,
            "server_version": "18.6",
            "coffre_version": "0.1.0",
            "tables": (table,),
            "checks": (check,),
            "structure": Structure(indexes=1, amcheck="pg_amcheck"),
            "problems": (HOSTILE,),
            "exceptions": (HOSTILE,),
            "limits": (HOSTILE,),
            "phases_ms": {HOSTILE: 1500},
            "restore_seconds": 61.0,
            "restore_limit_seconds": 60,
            "failure": Failure(code="ROWS_DIFFER", message=HOSTILE, hint=HOSTILE),
            **changes,
        }
    )


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_names_from_a_database_stay_text() -> None:
    page = _Page()
    page.feed(page_of(drilled()))

    assert {"script", "img", "iframe", "link", "a"}.isdisjoint(tag for tag, _ in page.tags)
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert page.text.count(HOSTILE) >= 12


def test_names_of_objects_stay_text_and_nothing_is_said_of_tables() -> None:
    proof = ObjectProof(
        name=HOSTILE, verdict=Verdict.DIFFERENT, size_bytes=12, sha256="a" * 64, sha256_found="b" * 64, detail=HOSTILE
    )
    sample = Sample(objects=12_345, size_bytes=5_000_000, chosen=1, chosen_bytes=12)
    page = _Page()
    page.feed(page_of(drilled(tables=(), checks=(), objects=(proof,), sample=sample)))

    assert {"script", "img", "iframe", "link", "a"}.isdisjoint(tag for tag, _ in page.tags)
    assert page.text.count(HOSTILE) >= 6
    assert "1 of 12,345" in page.text
    for words in ("Rows compared", "PostgreSQL", "indexes"):
        assert words not in page.text


def test_nothing_is_fetched_and_no_script_could_run() -> None:
    html = page_of(drilled(exceptions=(), problems=()))

    assert not re.search(r"https?://|url\(|@import|src=\"|href=", html)
    assert "default-src 'none'; style-src 'unsafe-inline'" in html
    assert "@media print" in html
    assert "prefers-color-scheme: dark" in html


def test_it_says_what_came_of_it() -> None:
    late = page_of(drilled())
    passed = page_of(drilled(outcome=Outcome.PASSED, problems=(), failure=None, restore_limit_seconds=600))

    assert "The backup did not come back as it was taken" in late
    assert "more than the" in late
    assert "1 min 01 s" in late
    assert "999" in late
    assert "What is wrong" not in passed
    assert "more than the" not in passed


@pytest.mark.parametrize(
    ("changes", "heading"),
    [
        ({"outcome": Outcome.PASSED, "exceptions": ()}, "Restored and proven"),
        ({"outcome": Outcome.PASSED}, "Restored and proven, except for 1 thing that could not be proven here"),
        ({"outcome": Outcome.NOT_POSSIBLE}, "The drill was not possible here: nothing is known against the backup"),
    ],
)
def test_its_heading_is_one_sentence(changes: dict[str, Any], heading: str) -> None:
    assert heading_of(drilled(**changes)) == heading
