"""A document with servers: what it means before and after databases were found."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from coffre.model.any_target import is_gone
from coffre.model.configuration import Configuration
from coffre.model.database_target import FoundDatabase, Patterns
from coffre.model.errors import TargetUnknownError
from coffre.model.server import SeenDatabase

FOUND = datetime(2026, 11, 1, tzinfo=UTC)
SERVER = {
    "name": "shop",
    "secret": "coffre/database/shop",
    "databases": "all",
    "retention": {"daily_days": 3},
    "schedule": {"expression": "rate(1 hour)"},
    "confirmation": {"approvals": 1},
}
OTHER = {"name": "blog", "secret": "coffre/database/blog"}


def document(*targets: dict[str, Any]) -> Configuration:
    return Configuration.model_validate({"encryption": "none", "targets": list(targets)})


def seen(name: str, database: str, server: str = "shop", days: int = 0, *, gone: bool = False) -> SeenDatabase:
    at = FOUND + timedelta(days=days)
    return SeenDatabase(name, server, database, at, at if gone else None)


@pytest.mark.parametrize(
    ("databases", "patterns"),
    [
        ("all", Patterns()),
        ({"include": ["a*"]}, Patterns(include=("a*",))),
        ({"exclude": ["b"]}, Patterns(exclude=("b",))),
        (None, None),
    ],
)
def test_databases_are_all_or_patterns(databases: object, patterns: Patterns | None) -> None:
    assert document({**SERVER, "databases": databases}).databases[0].databases == patterns


@pytest.mark.parametrize("databases", ["none", ["a"], {"include": "a"}, {"only": ["a"]}, 1])
def test_anything_else_is_refused(databases: object) -> None:
    with pytest.raises(ValidationError):
        document({**SERVER, "databases": databases})


def test_found_databases_are_targets_with_the_settings_of_their_server() -> None:
    configuration = document(SERVER, OTHER).expanded([seen("shop-b", "b"), seen("shop-a", "a")])

    assert [target.name for target in configuration.targets] == ["shop-a", "shop-b", "blog"]
    found = configuration.database("shop-b")
    assert isinstance(found, FoundDatabase)
    assert (found.database, found.server, found.databases, is_gone(found)) == ("b", "shop", None, False)
    assert (found.secret, found.retention.daily_days) == ("coffre/database/shop", 3)
    assert found.schedule == configuration.target("shop").schedule
    assert configuration.confirmation_of("shop-a").approvals == 1
    assert [one.name for one in configuration.named("shop")] == ["shop-a", "shop-b"]
    assert [one.name for one in configuration.named("shop-b")] == ["shop-b"]
    # And the server's name is still known, to start all of them
    assert configuration.database("shop").databases == Patterns()
    assert [target.name for target in configuration.started_databases] == ["blog", "shop"]
    assert configuration.names == {"shop", "blog"}
    with pytest.raises(TargetUnknownError, match="shop-c"):
        configuration.target("shop-c")


def test_a_server_of_which_nothing_is_known_is_a_target_itself() -> None:
    configuration = document(SERVER).expanded([seen("other-a", "a", server="other")])

    assert [target.name for target in configuration.targets] == ["shop"]
    assert [target.name for target in configuration.started_databases] == ["shop"]


def test_a_database_that_is_gone_stays_a_target() -> None:
    configuration = document(SERVER).expanded([seen("shop-a", "a", gone=True)])

    assert is_gone(configuration.target("shop-a"))


def test_a_name_of_the_document_wins_and_the_last_name_of_a_database_counts() -> None:
    taken = {"name": "shop-a", "secret": "coffre/database/other"}
    both = [seen("shop-a", "a"), seen("shop-a-0123456789", "a", days=1)]

    with_other = document(SERVER, taken).expanded(both)
    without = document(SERVER).expanded(both)

    assert [target.name for target in with_other.targets] == ["shop-a-0123456789", "shop-a"]
    assert not isinstance(with_other.target("shop-a"), FoundDatabase)
    assert [target.name for target in without.targets] == ["shop-a-0123456789"]
