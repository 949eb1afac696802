"""What is said of tables whose columns are others than those of the backup."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from coffre.operations.restore_database.altered_columns import say_altered
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.staging import Staging
from coffre.operations.runs.progress import Meter
from coffre.postgres.destination.live_tables import LiveColumn, LiveTable

NAME = ("public", "prices")
DEFINITION = """CREATE TABLE public.prices (
    id integer NOT NULL,
    "Größe" numeric(10,4) DEFAULT 0,
    gross numeric(10,2),
    gone text
);
"""


def said(*, touches: bool, size: str) -> ReportBuilder:
    columns = (
        LiveColumn("id", "bigint", is_generated=False, is_always_identity=False),
        LiveColumn("Größe", size, is_generated=False, is_always_identity=False),
        LiveColumn("gross", "numeric(10,2)", is_generated=True, is_always_identity=False),
        LiveColumn("added", "text", is_generated=False, is_always_identity=False),
    )
    content = SimpleNamespace(columns=("id", "Größe", "gross", "gone"))
    staging = Staging({NAME: cast("Any", content)}, {NAME: LiveTable(*NAME, "r", columns, ())})
    source = SimpleNamespace(content=SimpleNamespace(encoding="LATIN1"))
    # Names in an archive are in the source's encoding.
    definition = DEFINITION.encode("latin-1").decode("utf-8", "surrogateescape")
    outcome = ReportBuilder(Meter())
    entry = SimpleNamespace(definition=definition)
    say_altered(cast("Any", source), {NAME: cast("Any", entry)}, staging, outcome, touches=touches)
    return outcome


def test_columns_that_went_are_generated_or_narrower_are_exceptions_and_new_ones_a_note() -> None:
    outcome = said(touches=True, size="numeric(10,2)")

    gone, generated, narrower = outcome.exceptions
    assert "has no column gone any more" in gone
    assert generated.startswith("gross of public.prices is generated now")
    assert narrower.startswith("Größe of public.prices is numeric(10,2) now, and numeric(10,4) in the backup")
    (new,) = outcome.notes
    assert "no column added" in new


def test_what_takes_all_values_is_not_worth_a_word() -> None:
    outcome = said(touches=False, size="numeric(12,4) COLLATE x.y")

    assert len(outcome.exceptions) == 2
    assert outcome.notes == []
