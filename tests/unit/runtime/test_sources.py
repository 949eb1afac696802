from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from coffre.catalog.catalog import Catalog
from coffre.model.configuration_version import ConfigurationVersion, CurrentConfiguration, sha256_of
from coffre.model.errors import IntegrityError
from coffre.runtime.sources import configurations

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def document(name: str) -> str:
    return json.dumps({"encryption": "none", "targets": [{"name": name, "secret": "s"}]})


def version(number: int, text: str) -> ConfigurationVersion:
    at = NOW - timedelta(days=10 - number)
    return ConfigurationVersion(number=number, at=at, actor="ada", sha256=sha256_of(text), document=text)


def found(versions: list[ConfigurationVersion | Exception], template_at: datetime | None) -> list[tuple[int, Any]]:
    def read() -> Iterator[ConfigurationVersion]:
        for one in versions:
            if isinstance(one, Exception):
                raise one
            yield one

    catalog = cast(Catalog, SimpleNamespace(configurations=SimpleNamespace(all=read)))
    newest = versions[0] if versions and isinstance(versions[0], ConfigurationVersion) else None
    current = CurrentConfiguration(newest, document("template"), template_at, "parameter")
    return [
        ((NOW - at).days, configuration.targets[0].name if configuration else None)
        for at, configuration in configurations(catalog, current)
    ]


def test_what_was_in_effect_comes_newest_first_and_the_template_of_before_last() -> None:
    versions: list[ConfigurationVersion | Exception] = [version(2, document("b")), version(1, '{"gone": 1}')]

    assert found(versions, NOW - timedelta(days=20)) == [(8, "b"), (9, None), (20, "template")]
    assert found(versions, NOW - timedelta(days=1)) == [(8, "b"), (9, None)], "deployed later, and not in effect"
    assert found(versions, None) == [(8, "b"), (9, None)]
    assert found([], NOW - timedelta(days=3)) == [(3, "template")]


@pytest.mark.parametrize("place", [0, 1])
def test_a_version_that_cannot_be_read_ends_it(place: int) -> None:
    versions: list[ConfigurationVersion | Exception] = [version(2, document("b"))]
    versions.insert(place, IntegrityError("damaged", code="CATALOG_DAMAGED"))

    assert found(versions, None) == [(8, "b")][:place]
