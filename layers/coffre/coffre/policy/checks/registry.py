"""All checks. A module of checks is added here, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Final

from coffre.model.checkup import CheckResult
from coffre.policy.checks import (
    activity,
    address,
    buckets,
    contents,
    copies,
    endpoint,
    extensions,
    history,
    journal,
    keys,
    local,
    login,
    managed,
    network,
    objectives,
    publication,
    repositories,
    role,
    server,
    settings,
    stack,
    time_limit,
    vault,
)
from coffre.policy.checks.check import Check, Facts

MODULES: Final[tuple[ModuleType, ...]] = (
    address,
    login,
    endpoint,
    server,
    role,
    contents,
    extensions,
    activity,
    journal,
    publication,
    time_limit,
    managed,
    vault,
    copies,
    buckets,
    settings,
    repositories,
    history,
    objectives,
    keys,
    stack,
    network,
    local,
)

CHECKS: Final[tuple[Check, ...]] = tuple(
    found for module in MODULES for found in vars(module).values() if isinstance(found, Check)
)


def run_checks(facts: Facts, checks: Iterable[Check] = CHECKS) -> list[CheckResult]:
    """Return what the checks say about facts; those that do not apply say nothing."""
    return [result for check in checks for result in check.run(facts)]
