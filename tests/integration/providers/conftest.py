"""One server of each provider for all tests here; each test has databases of its own on it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.conftest import Coffre
from tests.integration.contents import RoundTrip
from tests.integration.providers.supabase_project import OF_SERVICES, PROJECT
from tests.providers.pooler import unpack_pgbouncer
from tests.providers.servers import ProviderServer, execute, neon_like, rds_like, supabase_like

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


@pytest.fixture(scope="session")
def _in_use(_supabase: ProviderServer) -> str:
    """The name of a project with users, files, jobs, secrets, and what its owner has added."""
    name = "project_in_use"
    execute(_supabase.project(name), *PROJECT)
    execute(_supabase.url(name, "supabase_admin"), *OF_SERVICES)
    _supabase.made.remove(name)
    return name


@pytest.fixture
def project(coffre: Coffre, supabase: ProviderServer, _in_use: str, postgresql_home: Path) -> RoundTrip:
    """A project in use, and a fresh one."""
    source, copy = supabase.project(template=_in_use), supabase.project(template="fresh")
    return RoundTrip(coffre, supabase.server, source, copy, postgresql_home)


@pytest.fixture(scope="session")
def pgbouncer_root() -> Iterator[Path]:
    """pgbouncer and its libraries, where another user may read them."""
    with tempfile.TemporaryDirectory(prefix="coffre-pgbouncer-") as place:
        yield unpack_pgbouncer(Path(place))
