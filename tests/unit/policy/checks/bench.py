"""The bench: for each code, facts that provoke it and facts that do not.

A module `fixtures_<area>.py` has `HEALTHY`, facts about which no check of the area says anything, and `FIXTURES`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from coffre.policy.checks.check import Facts


@dataclass(frozen=True)
class Fixture:
    """One code's facts: groups that replace those of `HEALTHY`.

    Parameters
    ----------
    provokes
        Groups with which the check finds something.
    spares
        Groups that look alike, about which it says nothing.
    also
        Codes that the same facts provoke too, and rightly so.
    """

    code: str
    provokes: tuple[object, ...]
    spares: tuple[object, ...]
    also: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Area:
    """The facts and fixtures of one module."""

    name: str
    healthy: Facts
    fixtures: tuple[Fixture, ...]


def areas() -> list[Area]:
    """Return every module of fixtures in this folder."""
    return [_area(path) for path in sorted(Path(__file__).parent.glob("fixtures_*.py"))]


def _area(path: Path) -> Area:
    module = _load(path)
    return Area(path.stem, module.HEALTHY, tuple(module.FIXTURES))


def _load(path: Path) -> ModuleType:
    return importlib.import_module(f"tests.unit.policy.checks.{path.stem}")
