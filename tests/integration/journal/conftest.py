"""Servers whose changes can be decoded."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.integration.journal_scene import OPTIONS, Scene

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
) -> Iterator[Callable[[int], Scene]]:
    """Return a source and an empty copy of its own on a server of this major."""
    with ExitStack() as stack:

        def make(major: int) -> Scene:
            name = f"journal_{next(_numbers)}"
            return Scene(logical_server(major), toolchain.postgresql(major), tmp_path, name, stack)

        yield make
