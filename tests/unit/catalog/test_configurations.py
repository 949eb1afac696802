"""Versions of the configuration: each number is written once, and what is read is what was written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from tests.unit.catalog.conftest import TABLE

from coffre.catalog.catalog import Catalog
from coffre.model.configuration_version import LONGEST_DOCUMENT_BYTES, ConfigurationVersion, sha256_of
from coffre.model.errors import IntegrityError

AT = datetime(2026, 11, 28, 3, 0, 0, 123456, tzinfo=UTC)


def version(number: int, document: str = "{}", **fields: Any) -> ConfigurationVersion:
    known = {"at": AT + timedelta(minutes=number), "actor": "arn:ada", "sha256": sha256_of(document), **fields}
    return ConfigurationVersion(number=number, document=document, **known)


def test_without_a_version_there_is_no_newest(catalog: Catalog) -> None:
    assert catalog.configurations.newest() is None
    assert list(catalog.configurations.all()) == []
    assert catalog.configurations.find(1) is None


def test_a_version_is_read_as_it_was_written(catalog: Catalog) -> None:
    full = version(
        1, '{"é": 1}', verified=True, note="why", changes=("a: 1 -> 2", "b: new"), template_sha256=sha256_of("t")
    )
    assert catalog.configurations.add(full)
    assert catalog.configurations.newest() == full == catalog.configurations.find(1)


def test_the_newest_is_the_one_with_the_largest_number_not_the_longest_digits(catalog: Catalog) -> None:
    for number in (9, 10, 2, 100):
        assert catalog.configurations.add(version(number))

    newest = catalog.configurations.newest()
    assert newest is not None
    assert newest.number == 100
    assert [one.number for one in catalog.configurations.all()] == [100, 10, 9, 2]


def test_a_number_is_written_once_and_two_writers_have_one_winner(catalog: Catalog) -> None:
    first, second = version(1, actor="arn:ada"), version(1, actor="arn:grace")

    assert catalog.configurations.add(first)
    assert not catalog.configurations.add(second)
    assert catalog.configurations.newest() == first


def test_a_write_whose_answer_was_lost_counts_as_made(catalog: Catalog) -> None:
    assert catalog.configurations.add(version(1))
    assert catalog.configurations.add(version(1)), "the same version again is our own attempt"


def test_the_longest_document_fits_with_many_changes(catalog: Catalog) -> None:
    longest = version(1, "é" * (LONGEST_DOCUMENT_BYTES // 2), changes=("x" * 200,) * 200, note="n" * 256)

    assert catalog.configurations.add(longest)
    assert catalog.configurations.newest() == longest


@pytest.mark.parametrize(
    ("field", "value"), [("document", {"S": "{}x"}), ("sha256", {"S": "0"}), ("at", {"S": "soon"}), ("actor", None)]
)
def test_a_version_that_was_changed_by_hand_is_an_error_and_not_in_effect(
    catalog: Catalog, field: str, value: dict[str, str] | None
) -> None:
    catalog.configurations.add(version(1))
    key = {"pk": {"S": "CONFIG"}, "sk": {"S": "0000000001"}}
    client = boto3.client("dynamodb")
    item = client.get_item(TableName=TABLE, Key=key)["Item"]
    changed = {**item, field: value} if value else {name: it for name, it in item.items() if name != field}
    client.put_item(TableName=TABLE, Item=changed)

    with pytest.raises(IntegrityError, match="CONFIG / 0000000001"):
        catalog.configurations.newest()
