"""The statements of an entry: constraints that do not look at rows that exist, and their validation."""

from __future__ import annotations

import pytest

from coffre.postgres.archive.entry_sql import owner_of, validation_of, without_validation
from coffre.postgres.archive.reader import Section, TocEntry


def constraint(definition: str, description: str = "FK CONSTRAINT") -> TocEntry:
    return TocEntry(1, 0, 0, description, "t c", "public", "me", Section.POST_DATA, definition=definition)


@pytest.mark.parametrize(
    ("table", "name"),
    [("public.points", "points_kind_fkey"), ('"odd ""ADD CONSTRAINT x"." t;"', '"c ; d"'), ('app."T"', '"k""1"')],
)
def test_a_key_is_added_without_looking_and_validated_by_name(table: str, name: str) -> None:
    head = f"ALTER TABLE ONLY {table}\n    ADD CONSTRAINT {name} FOREIGN KEY (kind) REFERENCES public.kinds(id)"
    entry = constraint(f"{head} ON DELETE CASCADE;\n")

    assert without_validation(entry) == f"{head} ON DELETE CASCADE NOT VALID;\n"
    assert validation_of(entry) == f"ALTER TABLE {table} VALIDATE CONSTRAINT {name};\n"


def test_only_constraints_can_be_added_like_that() -> None:
    assert without_validation(constraint("CREATE INDEX i ON public.t (a);\n", "INDEX")) is None
    assert validation_of(constraint("CREATE INDEX i ON public.t (a);\n", "INDEX")) is None


def test_names_of_owners_are_always_quoted() -> None:
    entry = TocEntry(1, 0, 0, "TABLE", 'a"b', "S", 'me"; DROP TABLE x; --', Section.PRE_DATA, drop="DROP TABLE x;")

    assert owner_of(entry) == 'ALTER TABLE "S"."a""b" OWNER TO "me""; DROP TABLE x; --";\n\n'
