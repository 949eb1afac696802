"""Checks of the machine that runs the command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from coffre.model.checkup import CheckResult
from coffre.policy.checks.answers import Refused
from coffre.policy.checks.code import blocker, warning
from coffre.policy.checks.local_facts import LocalFacts

CREDENTIALS: Final = blocker("CREDENTIALS_UNUSABLE")
REGION: Final = blocker("REGION_MISSING")
CLOCK: Final = warning("CLOCK_SKEW")
PYTHON: Final = blocker("PYTHON_UNSUPPORTED")

SKEW_SECONDS: Final = 5.0
"""From here on a clock is wrong: times of backups mislead, and from 15 minutes on signatures are refused."""
OLDEST_PYTHON: Final = (3, 13)


def check_local(local: LocalFacts) -> Iterator[CheckResult]:
    """Judge this machine."""
    if isinstance(local.caller, Refused):
        yield CREDENTIALS.found(
            "AWS does not take the credentials of this machine.",
            local.caller.why,
            "Sign in: aws sso login, aws configure, or set AWS_PROFILE",
        )
    else:
        yield CREDENTIALS.ok("AWS takes the credentials of this machine.", local.caller)
    if local.region:
        yield REGION.ok("A region is set.", local.region)
    else:
        words = "No region is set: the command does not know where the stack is."
        yield REGION.found(words, "neither AWS_REGION nor a profile has one", "export AWS_REGION=eu-west-3 (yours)")
    yield _check_clock(local.clock_ahead_seconds)
    version, oldest = (".".join(map(str, one)) for one in (local.python, OLDEST_PYTHON))
    if local.python >= OLDEST_PYTHON:
        yield PYTHON.ok("Python is recent enough.", version)
    else:
        words = "Python is too old for the command."
        yield PYTHON.found(words, version, f"Install Python {oldest} or newer (uv python install {oldest})")


def _check_clock(ahead: float | None) -> CheckResult:
    if ahead is None:
        return CLOCK.unseen("The clock of AWS", Refused("sts:GetCallerIdentity", "no answer had a time"))
    evidence = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} AWS"
    if abs(ahead) <= SKEW_SECONDS:
        return CLOCK.ok("The clock of this machine is right.", evidence)
    words = "The clock of this machine is wrong: from 15 minutes on AWS refuses every request."
    return CLOCK.found(words, evidence, "Turn time synchronisation on: timedatectl set-ntp true (macOS: Date & Time)")
