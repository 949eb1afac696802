"""A transaction that cannot be read ends the interval exactly before it, wherever it is in what the server sends."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import ExitStack
from unittest.mock import patch

import pytest
from tests.integration.journal_vault import Journal

from coffre.model import journal_lines
from coffre.model.errors import JournalError
from coffre.model.journal import JournalEnd
from coffre.postgres.journal import slot_changes

# No character of UTF-8 stands for this byte of WIN1252.
_UNREADABLE = "convert_from('\\x81', 'WIN1252')"
_TABLE = "CREATE TABLE one (id int PRIMARY KEY, v text)"
_PUBLICATION = "CREATE PUBLICATION coffre FOR TABLE one"


@pytest.mark.parametrize("by_stream", [False, True])
@pytest.mark.parametrize("plugin", ["test_decoding", "pgoutput"])
def test_what_can_be_read_before_it_is_stored(
    make_journal: Callable[..., Journal], plugin: str, by_stream: bool
) -> None:
    journal = make_journal(
        18,
        _TABLE,
        _PUBLICATION,
        plugin=plugin,
        properties="ENCODING 'WIN1252' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    )
    journal.drain()
    ids = itertools.count()

    def insert(count: int, text: str = "'é'") -> None:
        for _ in range(count):
            journal.scene.run(f"INSERT INTO one VALUES ({next(ids)}, {text})")

    for before, after, text, piece in (
        (0, 2, "'x'", None),  # the first one
        (3, 2, "'x'", None),  # in the middle of a piece
        (3, 0, "'x'", None),  # the last one
        (3, 2, "'x'", 100),  # in a piece of its own
        (3, 2, "repeat('é', 500)", 600),  # across pieces
    ):
        insert(before)
        insert(1, f"{text} || {_UNREADABLE}")
        insert(after)
        with ExitStack() as stack:
            if by_stream:
                large = JournalError("A SELECT.", code="JOURNAL_TOO_LARGE")
                stack.enter_context(patch.object(slot_changes, "pieces", side_effect=large))
            if piece is not None:
                stack.enter_context(patch.object(slot_changes, "_FRAME_BYTES", piece))
                stack.enter_context(patch.object(journal_lines, "_PIECE_CHARACTERS", piece))
            report = journal.drain()

        case = (before, after, text, piece)
        [(interval, end)] = report.ended
        assert (end.reason, report.transactions) == (JournalEnd.UNREADABLE, before), case
        [stored] = [one for one in journal.intervals() if one.id == interval]
        assert sum(line.data.endswith("'é'") for lines in journal.lines(stored) for line in lines) == before, case
        assert journal.drain().ended == (), case

    # Behind changed definitions: both end a stretch, and the drain makes a new slot
    journal.scene.run("COMMENT ON TABLE one IS 'x'")
    insert(1, f"'x' || {_UNREADABLE}")
    assert [end.reason for _, end in journal.drain().ended] == [JournalEnd.DEFINITIONS, JournalEnd.UNREADABLE]

    # A TRUNCATE before it explains a new file all the same
    journal.scene.run("TRUNCATE one")
    insert(1, f"'x' || {_UNREADABLE}")
    report = journal.drain()
    assert ([end.reason for _, end in report.ended], report.transactions) == ([JournalEnd.UNREADABLE], 1)
