"""What the command says of row counts is true of every restore that left something out."""

from __future__ import annotations

import pytest

from coffre.model.restore_report import LeftOut
from coffre_cli.commands.restore.database_result import counts_of


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (None, "Row counts equal the backup's."),
        ("the index by_date of public.orders", "Row counts equal the backup's."),
        ("the rows of public.orders", "Row counts of these tables equal the backup's."),
        ("the table public.orders", "Row counts of these tables equal the backup's."),
        ("1,204 rows of public.orders", "Rows of damaged slices are missing. All other row counts equal the backup's."),
        ("1 row of public.orders", "Rows of damaged slices are missing. All other row counts equal the backup's."),
    ],
)
def test_row_counts_are_said_to_be_equal_only_of_what_was_counted(what: str | None, said: str) -> None:
    left_out = () if what is None else (LeftOut(what=what, reason="refused"),)

    assert counts_of(left_out) == said
