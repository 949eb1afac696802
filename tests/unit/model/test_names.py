"""Identifiers as text: quoting is undone by PostgreSQL's own rules."""

import re

from hypothesis import given
from hypothesis import strategies as st

from coffre.model.names import qualified, quoted, shown

# PostgreSQL takes any character but NUL.
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=63)
names |= st.sampled_from(
    ["select", "A", "a.b", 'a"b', '"', '""', ".", "a-b", "1a", "_a", "é", "\\", " ", "\n", "tables/x"]
)
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')


def read(text: str) -> list[str]:
    """Read a dotted name as the server's scanner does: quotes keep everything, the rest is folded to lower case."""
    found, rest = [], text
    while rest:
        if part := _QUOTED.match(rest):
            found.append(part[1].replace('""', '"'))
        else:
            part = re.match(r"[a-z_][a-z0-9_]*", rest)
            assert part is not None, text
            found.append(part[0])
        rest = rest[part.end() :]
        assert not rest or rest.startswith("."), text
        rest = rest[1:]
    return found


@given(names)
def test_a_quoted_name_reads_as_itself(name: str) -> None:
    assert read(quoted(name)) == [name]


@given(names, names)
def test_a_qualified_name_reads_as_both_names(schema: str, name: str) -> None:
    assert read(qualified(schema, name)) == [schema, name]
    assert read(shown(schema, name)) == [schema, name]


@given(st.tuples(names, names), st.tuples(names, names))
def test_no_two_tables_are_shown_alike(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (shown(*one) == shown(*other)) == (one == other)


def test_plain_names_are_shown_plainly() -> None:
    assert shown("public", "orders_2024") == "public.orders_2024"
    assert shown("Public", "orders") == '"Public".orders'
    assert shown("public", "a.b") == 'public."a.b"'
