"""What is compared and stored of definitions, and documents that nobody of Coffre wrote."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from coffre.model.errors import JournalError
from coffre.postgres.journal.barriers import barriers, marked, marks_of
from coffre.postgres.journal.changes import Barrier, BarrierKind
from coffre.postgres.journal.definitions import Column, Definitions, Table, UserType
from coffre.postgres.journal.definitions_document import definitions_document, parse_definitions

ODD = ('Odd "S', "t'able:\né🙂")
COLUMN = Column(1, "a", 'pg_catalog."char"', -1, "", "", 9)
TABLE = Table(7, ODD, "r", 7, 8, "d", ("a",), False, (COLUMN, replace(COLUMN, number=2, type_name='"X ""y".pair')))
DEFINITIONS = Definitions(
    {ODD: TABLE, ("b", "c"): replace(TABLE, name=("b", "c"), kind="p", file=0, columns=())},
    frozenset({("a", "seen")}),
    {("a", "mood"): UserType(5, 6, ("x", "y"), None), ("a", "pair"): UserType(6, 6, None, ("n 23 -1",))},
)


def test_definitions_are_stored_and_read_as_they_were_and_a_document_of_another_is_refused() -> None:
    document = definitions_document(DEFINITIONS)

    assert parse_definitions(document) == DEFINITIONS
    assert marks_of(parse_definitions(document)) == marks_of(DEFINITIONS)

    valid = json.loads(document)
    forged = json.loads(document)
    forged["tables"][0]["columns"][0]["type_name"] = "int); DROP TABLE x; --"
    for body, words in (
        (b"\xff", "fields"),
        (b"[" * 100_000, "fields"),
        (document[:-9], "fields"),
        (json.dumps(valid | {"tables": [{"oid": "x"}]}).encode(), "fields"),
        (json.dumps(valid | {"format": 2}).encode(), "its format is 2, and this version reads 1"),
        (json.dumps(forged).encode(), "no quoted name"),
    ):
        with pytest.raises(JournalError, match=words) as caught:
            parse_definitions(body)
        assert caught.value.code == "JOURNAL_UNREADABLE"
        assert caught.value.hint


def test_marks_tell_a_new_file_from_a_new_definition() -> None:
    before = marks_of(DEFINITIONS)
    emptied = marks_of(replace(DEFINITIONS, tables={**DEFINITIONS.tables, ODD: replace(TABLE, file=70, version=80)}))
    granted = marks_of(replace(DEFINITIONS, tables={**DEFINITIONS.tables, ODD: replace(TABLE, version=80)}))
    labelled = marks_of(replace(DEFINITIONS, types={**DEFINITIONS.types, ("a", "mood"): UserType(5, 6, ("x",), None)}))
    without = marks_of(replace(DEFINITIONS, types={}))

    assert barriers(before, before) == []
    assert barriers(before, emptied, [ODD]) == []
    assert barriers(before, emptied) == [Barrier(BarrierKind.REWRITTEN, ODD)]
    assert barriers(before, granted, [ODD]) == [Barrier(BarrierKind.DEFINITION_CHANGED, ODD)]
    assert barriers(before, labelled) == [Barrier(BarrierKind.DEFINITION_CHANGED, ("a", "mood"))]
    assert [one.about for one in barriers(without, before)] == [("a", "mood"), ("a", "pair")]
    assert len({marked(found) for found in (before, emptied, granted, labelled, without)}) == 5
