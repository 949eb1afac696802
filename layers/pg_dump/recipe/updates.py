"""Newer releases of what is pinned: finding them, and moving the pins to the newest that passes the gate."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .contents import Plan
from .debian import open_apt
from .downloads import renew
from .layer import build
from .model import ARCHITECTURES, Input, RecipeError, Settings, read_lock, say

type Ask = Callable[[str], Sequence[str]]
"""Returns the versions of a wheel that the package index has."""

_AVAILABLE = re.compile(r"^Available versions: (.+)$", re.MULTILINE)
_PINNED = re.compile(r"^([A-Za-z0-9-]+)==([0-9.]+)", re.MULTILINE)
_MINOR = re.compile(r"(\d+)\.(\d+)")
# Debian 12 has this major, and gets each of its minors on the day of the release, before any wheel is built.
DEBIAN_PACKAGE = "postgresql-15"


@dataclass(frozen=True, order=True)
class Pinned:
    """A package of the index at a version, and the file that says so."""

    name: str
    version: str
    file: str


def newer(pinned: str, available: Iterable[str]) -> list[str]:
    """Return the versions of the same major that are newer than a pinned one, the newest first."""
    found = {version for version in available if _number(version)[:1] == _number(pinned)[:1]}
    return sorted((version for version in found if _number(version) > _number(pinned)), key=_number, reverse=True)


def versions_of(name: str) -> Sequence[str]:
    """Ask the package index for the versions of a wheel.

    Raises
    ------
    RecipeError
        It could not be asked.
    """
    command = [sys.executable, "-m", "pip", "index", "versions", name]
    env = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)
    found = _AVAILABLE.search(result.stdout)
    if result.returncode != 0 or found is None:
        raise RecipeError(f"pip could not list the versions of {name}: {result.stderr.strip()[-400:]}")
    return [version.strip() for version in found[1].split(",")]


def update(pins: Sequence[Input], settings: Settings, plan: Plan, ask: Ask = versions_of) -> list[Input]:
    """Return the pins at the newest versions of their major that pass the gate for every architecture.

    Raises
    ------
    RecipeError
        An input is not to be had, or the layer does not pass even with the versions that were pinned.
    """
    current = renew(pins, settings)
    _gate(current, settings, plan)
    for name in sorted({pin.name for pin in pins if pin.is_of_the_layer and pin.kind == "wheel"}):
        pinned = next(pin.version for pin in current if pin.kind == "wheel" and pin.name == name)
        for version in newer(pinned, ask(name)):
            try:
                tried = renew(_with_version(current, name, version), settings)
                _gate(tried, settings, plan)
            except RecipeError as error:
                say(f"{name} {version} does not do: {error}")
                continue
            say(f"{name} {pinned} -> {version}.")
            current = tried
            break
        else:
            say(f"{name} stays at {pinned}: the index has nothing newer of this major that passes.")
    return current


def behind(pinned: Iterable[Pinned], available: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a line for each pin of which the index has a newer release of the same major."""
    return [
        f"{pin.file} pins {pin.name} {pin.version}; the index has {found[0]}."
        for pin in sorted(set(pinned))
        if (found := newer(pin.version, available.get(pin.name, ())))
    ]


def behind_debian(pinned: Iterable[Pinned], version: str) -> str | None:
    """Return a line when Debian's servers have a newer minor than any pin of their major; None when they have not."""
    found = _MINOR.match(version)
    if found is None:
        return None
    theirs = (int(found[1]), int(found[2]))
    ours = [_number(pin.version)[:2] for pin in pinned if _number(pin.version)[0] == theirs[0]]
    if not ours or max(ours) >= theirs:
        return None
    newest = ".".join(map(str, max(ours)))
    return (
        f"Debian's servers are PostgreSQL {found[0]}, the newest pin of this major is {newest}: the minors that were "
        "released together with it are newer than the client programs too."
    )


def pins_of(files: Iterable[Path]) -> list[Pinned]:
    """Return the wheels that lock files of layers (`.lock`) and requirements (`.in`) pin."""
    found: list[Pinned] = []
    for file in files:
        shown = f"{file.parent.name}/{file.name}"
        if file.suffix == ".lock":
            wheels = (pin for pin in read_lock(file)[1] if pin.is_of_the_layer and pin.kind == "wheel")
            found += [Pinned(pin.name, pin.version, shown) for pin in wheels]
        else:
            found += [Pinned(name, version, shown) for name, version in _PINNED.findall(file.read_text("utf-8"))]
    return found


def warnings(files: Iterable[Path], settings: Settings, ask: Ask = versions_of) -> list[str]:
    """Return what is newer than the pins. A registry that cannot be asked is one line more, and no error."""
    pinned = pins_of(files)
    available: dict[str, Sequence[str]] = {}
    lines = []
    for name in sorted({pin.name for pin in pinned}):
        try:
            available[name] = ask(name)
        except (RecipeError, OSError, subprocess.SubprocessError) as error:
            lines.append(f"The versions of {name} could not be looked up: {error}")
    lines += behind(pinned, available)
    try:
        (offer,) = open_apt(settings.cache / "layer-inputs" / "apt", settings.os_release).offers(
            [f"{DEBIAN_PACKAGE}:amd64"], newest_only=True
        )
    except (RecipeError, ValueError, OSError, subprocess.SubprocessError) as error:
        lines.append(f"Debian's version of {DEBIAN_PACKAGE} could not be looked up: {error}")
    else:
        lines += [line for line in [behind_debian(pinned, offer.version)] if line]
    return lines


def _gate(pins: Sequence[Input], settings: Settings, plan: Plan) -> None:
    for architecture in ARCHITECTURES.values():
        with tempfile.TemporaryDirectory() as directory:
            build(pins, Path(directory), replace(settings, architecture=architecture, strict=True), plan)


def _with_version(pins: Iterable[Input], name: str, version: str) -> list[Input]:
    return [replace(pin, version=version) if pin.kind == "wheel" and pin.name == name else pin for pin in pins]


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
