"""Identifiers as text: quoting is undone by PostgreSQL's own rules."""

import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.model.names import qualified, quoted, shown, visible, visible_json

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


# --- before a person ---

# Steers a terminal, forges a line, turns the direction around, or is not to be seen at all.
UNSEEN = [
    *map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u00ad", "\u034f", "\u061c", "\u115f", "\u1160", "\u17b4",
    "\u180e", "\u200b", "\u200c", "\u200d", "\u200e", "\u200f", *map(chr, range(0x2028, 0x202F)),
    *map(chr, range(0x2060, 0x2070)), "\u3164", "\ufe0f", "\ufeff", "\uffa0", "\ufff9", "\ufffe", "\ud800", "\udcff",
    "\U000e0001", "\U000e0041", "\U000e0100",
]  # fmt: skip


@pytest.mark.parametrize("letter", UNSEEN, ids=ascii)
def test_what_nobody_can_see_is_written_out(letter: str) -> None:
    text = visible(f"a{letter}b")

    assert text.isprintable()
    assert letter not in text
    assert text.encode("ascii").decode("unicode_escape") == f"a{letter}b"


@pytest.mark.parametrize("text", ["", "Odd Name", "Größe/日本語\u3000", "naïve", "русский", "a\\b", "€", "عربى"])
def test_what_can_be_seen_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


@given(st.text())
def test_no_text_is_shown_with_a_character_that_cannot_be_seen(text: str) -> None:
    categories = {unicodedata.category(letter) for letter in visible(text)}
    assert not categories & {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"}
    assert set(visible(text, breaks=True)) - set(visible(text)) <= {"\n", "\t"}
    assert visible(visible(text)) == visible(text)


@given(st.text())
def test_json_means_the_same_and_shows_only_what_can_be_seen(text: str) -> None:
    written = visible_json(json.dumps({text: [text]}, indent=2, ensure_ascii=False))

    assert json.loads(written) == {text: [text]}
    assert visible(written, breaks=True) == written
