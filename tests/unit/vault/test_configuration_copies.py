"""Copies of the configuration in the vault: written once each; the newest is the one that was in effect last."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from coffre.model.configuration_version import ConfigurationVersion, sha256_of
from coffre.model.errors import IntegrityError
from coffre.stores.directory import DirectoryStore
from coffre.stores.store import put_small
from coffre.vault.configuration_copies import keep_copy, newest_copy
from coffre.vault.layout import CONFIGURATIONS, is_configuration

AT = datetime(2026, 11, 28, 3, tzinfo=UTC)


def version(number: int, at: datetime = AT, document: str | None = None) -> ConfigurationVersion:
    text = document or f'{{"version": {number}}}'
    return ConfigurationVersion(number=number, at=at, actor="arn:ada", sha256=sha256_of(text), document=text)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path)


def test_a_vault_without_a_copy_has_none(store: DirectoryStore) -> None:
    assert newest_copy(store) is None


def test_a_copy_is_stored_once_and_read_as_it_was(store: DirectoryStore) -> None:
    first = version(1)

    assert keep_copy(store, first)
    assert not keep_copy(store, first)
    assert newest_copy(store) == first
    assert [is_configuration(info.key) for info in store.list(CONFIGURATIONS)] == [True]


def test_the_newest_is_the_one_in_effect_last_also_of_a_stack_that_counts_from_1_again(store: DirectoryStore) -> None:
    for one in (version(9, AT + timedelta(hours=1)), version(10, AT), version(1, AT + timedelta(days=400))):
        keep_copy(store, one)

    newest = newest_copy(store)
    assert newest is not None
    assert newest.number == 1


def test_objects_of_others_are_no_copies(store: DirectoryStore) -> None:
    keep_copy(store, version(1))
    put_small(store, f"{CONFIGURATIONS}zzz.json", b"{}")

    assert newest_copy(store) == version(1)


@pytest.mark.parametrize("change", ["text", "document", "name"])
def test_a_copy_that_is_not_as_it_was_written_is_an_error_that_names_it(store: DirectoryStore, change: str) -> None:
    keep_copy(store, version(1))
    [info] = store.list(CONFIGURATIONS)
    body, key = store.get(info.key), info.key
    if change == "text":
        body = b"{" * 100_000
    elif change == "document":
        body = body.replace(b"version", b"versiom")
    else:
        key = f"{CONFIGURATIONS}20991231T000000Z-{'0' * 16}.json"
    put_small(store, key, body)

    with pytest.raises(IntegrityError, match=key) as caught:
        newest_copy(store)
    assert caught.value.code == "COPY_DAMAGED"
