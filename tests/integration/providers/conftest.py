"""One server of each provider for all tests here; each test has databases of its own on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.providers.servers import ProviderServer, neon_like, rds_like, supabase_like

from coffre_local.toolchain import Toolchain


@pytest.fixture(scope="session")
def _supabase(toolchain: Toolchain) -> Iterator[ProviderServer]:
    with supabase_like(toolchain.embedded_postgresql()) as server:
        server.project("fresh")
        server.made.clear()
        yield server


@pytest.fixture(scope="session")
def _neon(toolchain: Toolchain) -> Iterator[ProviderServer]:
    with neon_like(toolchain.embedded_postgresql()) as server:
        yield server


@pytest.fixture(scope="session")
def _rds(toolchain: Toolchain) -> Iterator[ProviderServer]:
    with rds_like(toolchain.embedded_postgresql()) as server:
        yield server


@pytest.fixture
def supabase(_supabase: ProviderServer) -> Iterator[ProviderServer]:
    """A server of Supabase whose projects go after the test."""
    yield _supabase
    _supabase.remove()


@pytest.fixture
def neon(_neon: ProviderServer) -> Iterator[ProviderServer]:
    """A server of Neon whose databases go after the test."""
    yield _neon
    _neon.remove()


@pytest.fixture
def rds(_rds: ProviderServer) -> Iterator[ProviderServer]:
    """A server of RDS whose databases go after the test."""
    yield _rds
    _rds.remove()
