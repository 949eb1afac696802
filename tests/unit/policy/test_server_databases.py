"""Databases of a server: which are chosen, and names that are safe, stable and never the same."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.model.database_target import Patterns
from coffre.model.errors import EventError
from coffre.model.target import TARGET_NAME
from coffre.policy.server_databases import chosen_databases, hashed_name, listed, plain_name

DATABASES = ("app", "app_eu", "a.b", "postgres", "rdsadmin", "Shop", "test_1", "_supabase", "cloudsqladmin")
# What PostgreSQL takes: at most 63 bytes without NUL.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=63)
names = texts.filter(lambda name: len(name.encode()) <= 63) | st.text(
    "abcdefghijklmnopqrstuvwxyz_0123456789-A.", min_size=1
)
servers = st.from_regex(TARGET_NAME, fullmatch=True).map(lambda name: name.rstrip("\n"))


@pytest.mark.parametrize(
    ("include", "exclude", "chosen"),
    [
        ((), (), ["Shop", "a.b", "app", "app_eu", "postgres", "test_1"]),
        ((), ("postgres", "test_*"), ["Shop", "a.b", "app", "app_eu"]),
        (("app*",), (), ["app", "app_eu"]),
        (("app*",), ("*_eu",), ["app"]),
        (("a.b",), (), ["a.b"]),
        (("shop",), (), []),
        (('"Shop"',), (), ["Shop"]),
        (("APP",), (), ["app"]),
        (("rdsadmin",), (), []),
        (("a?b", "test_?"), (), ["a.b", "test_1"]),
    ],
)
def test_patterns_choose_databases(include: tuple[str, ...], exclude: tuple[str, ...], chosen: list[str]) -> None:
    assert chosen_databases(DATABASES, Patterns(include=include, exclude=exclude)) == chosen


def test_an_empty_pattern_is_refused() -> None:
    with pytest.raises(EventError) as caught:
        chosen_databases(DATABASES, Patterns(include=("",)))

    assert caught.value.code == "PATTERN_INVALID"


@pytest.mark.parametrize(
    ("database", "plain"),
    [
        ("orders", "shop-orders"),
        ("app_eu", "shop-app-eu"),
        ("app-eu", None),
        ("Orders", None),
        ("", None),
        ("é", None),
        ("x" * 58, "shop-" + "x" * 58),
        ("x" * 59, None),
    ],
)
def test_plain_names_are_only_for_plain_databases(database: str, plain: str | None) -> None:
    assert plain_name("shop", database) == plain


@given(server=servers, database=names)
def test_every_database_gets_a_name_that_a_target_may_have(server: str, database: str) -> None:
    name = hashed_name(server, database)
    plain = plain_name(server, database)

    assert re.fullmatch(TARGET_NAME, name)
    assert hashed_name(server, database) == name
    assert plain is None or re.fullmatch(TARGET_NAME, plain)


@given(server=servers, databases=st.lists(names, unique=True, max_size=20))
def test_no_two_databases_of_a_server_get_the_same_name(server: str, databases: list[str]) -> None:
    plain = [name for one in databases if (name := plain_name(server, one)) is not None]
    hashed = [hashed_name(server, one) for one in databases]

    assert len(set(plain)) == len(plain)
    assert len(set(hashed)) == len(hashed)


def test_a_message_lists_the_first_few_names_as_they_may_be_shown() -> None:
    assert listed(["a", "b\n"]) == '"a", "b\\n"'
    assert listed([str(number) for number in range(30)]).endswith('"19" and 10 more')
