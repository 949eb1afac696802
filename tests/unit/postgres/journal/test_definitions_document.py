"""What is compared and stored of definitions, and documents that nobody of Coffre wrote."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from coffre.model.errors import JournalError
from coffre.model.names import TableName
from coffre.postgres.journal.barriers import barriers, marked, marks_of, names_of, touched
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
    assert barriers(before, emptied, {(ODD, 79): frozenset({ODD}), (ODD, 80): frozenset({ODD})}) == []
    assert barriers(before, emptied, {(ODD, 79): frozenset({ODD})}) == [Barrier(BarrierKind.REWRITTEN, ODD)]
    assert barriers(before, emptied) == [Barrier(BarrierKind.REWRITTEN, ODD)]
    assert barriers(before, granted, {(ODD, 80): frozenset({ODD})}) == [Barrier(BarrierKind.DEFINITION_CHANGED, ODD)]
    assert barriers(before, labelled) == [Barrier(BarrierKind.DEFINITION_CHANGED, ("a", "mood"))]
    assert [one.about for one in barriers(without, before)] == [("a", "mood"), ("a", "pair")]
    assert len({marked(found) for found in (before, emptied, granted, labelled, without)}) == 5


def test_what_may_have_rows_that_no_line_of_the_stream_has_is_named() -> None:
    def made(name: str, *types: str, generated: str = "", version: int = 5) -> Table:
        columns = tuple(replace(TABLE.columns[0], name=f"c{n}", type_name=one) for n, one in enumerate(types))
        columns = tuple(replace(one, generated=generated) for one in columns)
        return replace(TABLE, name=("a", name), columns=columns, version=version, file=version)

    tables = [
        made("plain", "pg_catalog.int4"),
        made("gen", "pg_catalog.int4", generated="s"),
        made("moody", "a.mood"),
        made("pairs", "a._pair"),
        made("rowed", "a.plain"),
        made("vector", "ext.vector"),
    ]
    types = {("a", "mood"): UserType(5, 6, ("x",), None), ("a", "pair"): UserType(7, 8, None, ("n 23 -1",))}
    names = {("a", ""): "3", ("b", ""): "3", ("a", "mood"): "3"}
    before = Definitions({one.name: one for one in tables}, frozenset(), types, names)

    def named(after: Definitions) -> list[str]:
        return [name for _, name in touched(marks_of(before), marks_of(after), after, names_of(before))]

    def without(*names: str) -> dict[TableName, Table]:
        return {name: one for name, one in before.tables.items() if name[1] not in names}

    assert named(before) == ["gen"]
    assert named(replace(before, tables=without("plain", "rowed"))) == ["gen", "plain", "rowed"]
    changed = without() | {("a", "plain"): made("plain", "pg_catalog.int8", version=6)}
    assert named(replace(before, tables=changed)) == ["gen", "pairs", "plain", "rowed"]
    rewritten = without() | {("a", "plain"): replace(made("plain", "pg_catalog.int4"), file=9)}
    assert named(replace(before, tables=rewritten)) == ["gen", "pairs", "plain", "rowed"]
    for other in ({("a", "pair"): types["a", "pair"]}, types | {("a", "mood"): UserType(5, 7, ("y",), None)}):
        assert named(replace(before, types=other)) == ["gen", "moody", "pairs", "rowed", "vector"]

    # What was renamed, and has its name again
    assert named(replace(before, names=names | {("b", ""): "4"})) == ["gen"]
    assert named(replace(before, names=names | {("a", ""): "4"})) == sorted(name for _, name in before.tables)
    assert named(replace(before, names=names | {("a", "mood"): "4"})) == ["gen", "moody", "pairs", "rowed", "vector"]

    # What is not followed has no marks: a type can be made of its rows
    marks = marks_of(before)
    part = [name for _, name in touched(marks, marks, before, names_of(before), is_part=True)]
    assert part == ["gen", "moody", "pairs", "rowed", "vector"]
