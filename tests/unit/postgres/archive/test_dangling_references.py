"""Keys and partitions that point out of a backup of chosen tables are found, whatever the names."""

from __future__ import annotations

import pytest

from coffre.postgres.archive.dangling_references import missing_relation, relations
from coffre.postgres.archive.reader import Section, TocEntry

_CUSTOMERS = (
    "ALTER TABLE ONLY public.orders\n    ADD CONSTRAINT c FOREIGN KEY (customer) REFERENCES public.customers(id);"
)

_ODD = (
    'ALTER TABLE ONLY public."x FOREIGN KEY (y) REFERENCES a.b("\n    ADD CONSTRAINT "1 REFERENCES c.d(" '
    'FOREIGN KEY ("a)b", c, PERIOD d) REFERENCES "Odd.Name"."quote"" ("(id) ON DELETE CASCADE;'
)


def entry(description: str, definition: str) -> TocEntry:
    return TocEntry(1, 2606, 1, description, "orders c", "public", "ada", Section.POST_DATA, definition=definition)


@pytest.mark.parametrize(
    ("description", "definition", "table"),
    [
        ("FK CONSTRAINT", _CUSTOMERS, ("public", "customers")),
        (
            "FK CONSTRAINT",
            _ODD,
            ("Odd.Name", 'quote" ('),
        ),
        ("TABLE ATTACH", "ALTER TABLE ONLY public.whole ATTACH PARTITION public.half DEFAULT;", ("public", "whole")),
    ],
)
def test_the_table_that_is_pointed_at_is_found(description: str, definition: str, table: tuple[str, str]) -> None:
    assert missing_relation(entry(description, definition), frozenset({table})) is None
    assert missing_relation(entry(description, definition), frozenset({("public", "half")})) is not None


def test_other_entries_point_at_nothing() -> None:
    assert missing_relation(entry("TRIGGER", _CUSTOMERS), frozenset()) is None


def test_an_index_of_a_constraint_is_found_behind_the_name_of_its_table() -> None:
    constraint = TocEntry(1, 2606, 1, "CONSTRAINT", "odd name odd key", "public", "ada", Section.POST_DATA)
    attach = entry("INDEX ATTACH", 'ALTER INDEX public."odd key" ATTACH PARTITION public.half_pkey;')

    assert missing_relation(attach, relations([constraint])) is None
    assert missing_relation(attach, relations([])) == 'public."odd key"'
