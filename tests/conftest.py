"""Servers and binaries that tests of every depth share. Each xdist worker has its own."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from coffre_cli.local.postgres_server import PostgresServer, ServerOptions
from coffre_cli.local.toolchain import Toolchain

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def toolchain() -> Toolchain:
    """The checkout's tools, made on first use."""
    return Toolchain()


@pytest.fixture(scope="session")
def postgresql_home(toolchain: Toolchain) -> Path:
    """A PostgreSQL 18 with `bin/{pg_dump,pg_restore,psql,pg_dumpall}` and `lib`, like the layer's."""
    return toolchain.postgresql(18)


@pytest.fixture(scope="session")
def postgres_server(toolchain: Toolchain) -> Iterator[PostgresServer]:
    """A PostgreSQL 18 that trusts everyone on this machine."""
    with PostgresServer(toolchain.embedded_postgresql()) as server:
        yield server


@pytest.fixture
def empty_database(postgres_server: PostgresServer) -> Iterator[str]:
    """The connection URL of a database that holds nothing, dropped afterwards."""
    name = f"empty_{next(_numbers)}"
    yield postgres_server.create_database(name)
    postgres_server.drop_database(name)


@pytest.fixture(scope="session")
def server_of_major(toolchain: Toolchain) -> Iterator[Callable[[int], PostgresServer]]:
    """Return a server of a PostgreSQL major (14 to 18), started on first demand."""
    servers: dict[int, PostgresServer] = {}
    with ExitStack() as running:

        def server(major: int) -> PostgresServer:
            if major not in servers:
                servers[major] = running.enter_context(PostgresServer(toolchain.postgresql(major)))
            return servers[major]

        yield server


@pytest.fixture(scope="session")
def tls_server(toolchain: Toolchain) -> Iterator[PostgresServer]:
    """A PostgreSQL 18 that takes TLS connections only and asks for a password (SCRAM)."""
    options = ServerOptions(tls=True, password="p@ss/word with:odd%signs")
    with PostgresServer(toolchain.postgresql(18), options) as server:
        yield server
