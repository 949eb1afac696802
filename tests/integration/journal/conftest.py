"""Servers whose changes can be decoded."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws
from tests.catalog_table import create
from tests.integration.journal_scene import OPTIONS, Scene
from tests.integration.journal_vault import Journal, journal_of

from coffre.catalog.catalog import Catalog
from coffre.postgres.journal import test_decoding
from coffre_local.postgres_server import PostgresServer
from coffre_local.toolchain import Toolchain

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def logical_server(toolchain: Toolchain) -> Iterator[Callable[[int], PostgresServer]]:
    """Return a server of a major with wal_level = logical, started on first demand."""
    servers: dict[int, PostgresServer] = {}
    with ExitStack() as running:

        def server(major: int) -> PostgresServer:
            if major not in servers:
                servers[major] = running.enter_context(PostgresServer(toolchain.postgresql(major), OPTIONS))
            return servers[major]

        yield server


@pytest.fixture
def make_scene(
    logical_server: Callable[[int], PostgresServer], toolchain: Toolchain, tmp_path: Path
) -> Iterator[Callable[..., Scene]]:
    """Return a source and an empty copy of its own on a server of this major."""
    with ExitStack() as stack:

        def make(major: int, plugin: str = test_decoding.PLUGIN, **changes: Any) -> Scene:
            name = f"journal_{next(_numbers)}"
            home = toolchain.postgresql(major)
            return Scene(logical_server(major), home, tmp_path, name, stack, plugin, **changes)

        yield make


@pytest.fixture
def journal_catalog(monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalog]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    monkeypatch.delenv("AWS_ENDPOINT_URL_DYNAMODB", raising=False)
    with mock_aws():
        catalog = Catalog("journals")
        create(catalog._table)
        yield catalog


@pytest.fixture
def make_journal(make_scene: Callable[..., Scene], journal_catalog: Catalog) -> Callable[..., Journal]:
    def make(major: int, *statements: str, plugin: str = test_decoding.PLUGIN, **changes: Any) -> Journal:
        scene = make_scene(major, plugin, **changes)
        scene.run(*statements)
        return journal_of(scene, journal_catalog)

    return make
