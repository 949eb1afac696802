"""The container of the command: its recipe is read, and what it runs is run in a folder; no engine is needed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

from coffre_local.toolchain import Toolchain

ROOT = Path(__file__).parents[3]
PROGRAMS = ROOT / "container" / "programs.sh"


@dataclass(frozen=True)
class Instruction:
    """One instruction of the Dockerfile, in the stage that it belongs to."""

    stage: int
    word: str
    arguments: str


def instructions() -> list[Instruction]:
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    found, stage = [], 0
    for line in filter(None, text.replace("\\\n", " ").splitlines()):
        word, _, arguments = line.partition(" ")
        stage += word == "FROM"
        found.append(Instruction(stage, word, " ".join(arguments.split())))
    return found


def arguments_of(word: str, stage: int | None = None) -> list[str]:
    return [one.arguments for one in instructions() if one.word == word and stage in (None, one.stage)]


LAST = max(one.stage for one in instructions())


def copied_from_here() -> list[str]:
    copies = [copy for copy in arguments_of("COPY") if not copy.startswith("--from=")]
    return [source for copy in copies for source in copy.split()[:-1]]


def test_every_instruction_is_one_that_engines_know() -> None:
    known = {"ARG", "FROM", "COPY", "RUN", "ENV", "USER", "WORKDIR", "ENTRYPOINT", "CMD"}
    assert {one.word for one in instructions()} <= known
    stages = {image.rpartition(" AS ")[2] for image in arguments_of("FROM") if " AS " in image}
    used = {copy.split()[0].removeprefix("--from=") for copy in arguments_of("COPY") if copy.startswith("--from=")}
    assert used == stages, "each stage is made for the last one"


def test_the_bases_are_official_images_with_a_version_and_can_be_pinned() -> None:
    bases = dict(argument.split("=", 1) for argument in arguments_of("ARG"))
    assert {image.split()[0] for image in arguments_of("FROM")} == {f"${{{name}}}" for name in bases}
    for image in bases.values():
        assert re.fullmatch(r"[a-z]+:\d[\w.-]+", image), "an official image's short name, and no moving tag"
    releases = {image.rpartition("-")[2] for image in bases.values()}
    assert len(releases) == 1, "programs run with the libraries and the glibc of one Debian"


def test_what_is_copied_exists_and_nothing_else_is_sent_to_the_engine() -> None:
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    sent = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert ignored[0] == "*"
    for source in copied_from_here():
        assert (ROOT / source).exists()
        assert any(source == one or fnmatch(source, f"{one}/*") for one in sent), f"{source} is not sent"
    assert all(any(source == one or source.startswith(f"{one}/") for source in copied_from_here()) for one in sent)


def test_it_runs_as_a_user_without_rights_and_starts_the_command() -> None:
    (user,) = arguments_of("USER", LAST)
    assert all(int(number) >= 1000 for number in user.split(":"))
    (entry,) = arguments_of("ENTRYPOINT", LAST)
    assert json.loads(entry) == ["python3.13", "-m", "coffre_cli"]
    assert not arguments_of("RUN", LAST), "what builds stays in the stages before"


def pins(file: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements" / file).read_text(), re.MULTILINE))


def test_the_locked_libraries_are_those_that_are_tested_and_all_that_the_command_needs() -> None:
    locked, tested = pins("command.txt"), pins("dev.txt")
    assert {name: tested.get(name, version) for name, version in locked.items()} == locked
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[<>=]", one)[0].replace(".", "-") for one in needed}
    assert names <= set(locked)


def test_programs_are_copied_with_every_library_that_they_need(toolchain: Toolchain, tmp_path: Path) -> None:
    home = toolchain.postgresql(18)
    names = [Path(word).name for word in arguments_of("RUN")[0].split() if word.startswith("/usr/lib/postgresql/")]
    environment = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(home / "lib")}

    subprocess.run(["sh", PROGRAMS, tmp_path, *(home / "bin" / name for name in names)], env=environment, check=True)

    assert "pg_dump" in names
    own = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(tmp_path / "lib")}
    for name in names:
        said = subprocess.run([tmp_path / "bin" / name, "--version"], env=own, capture_output=True, check=True)
        assert b"(PostgreSQL) 18" in said.stdout
    linked = subprocess.run(["ldd", tmp_path / "bin" / "pg_dump"], env=own, capture_output=True, text=True, check=True)
    assert f"{tmp_path}/lib/libpq.so.5" in linked.stdout
    assert not list((tmp_path / "lib").glob("libc.so*"))


def test_a_library_that_is_missing_stops_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, ldd = tmp_path / "program", tmp_path / "bin" / "ldd"
    ldd.parent.mkdir()
    program.write_text("")
    ldd.write_text("#!/bin/sh\necho '  libodd.so.1 => not found'\n")
    ldd.chmod(0o755)
    path = f"{ldd.parent}:{os.environ['PATH']}"

    done = subprocess.run(
        ["sh", PROGRAMS, tmp_path / "to", program], env={"PATH": path}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "needs libodd.so.1, which does not exist here." in done.stderr


def test_the_command_starts_from_what_is_copied(tmp_path: Path) -> None:
    """Given the package alone, where the image has it: `--here` imports nothing that is not copied."""
    for source in ("layers/coffre/coffre", "cli/coffre_cli"):
        (tmp_path / Path(source).name).symlink_to(ROOT / source)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    program = "import coffre_cli.here, coffre_cli.commands.verify.drill_here, coffre_cli; print(coffre_cli.__file__)"

    said = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )

    assert said.stdout.startswith(str(tmp_path))
