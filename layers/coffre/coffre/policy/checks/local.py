"""Checks of the machine that runs the command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from coffre.model.checkup import Severity
from coffre.policy.checks.answers import Refused
from coffre.policy.checks.check import Finding, Unread, check
from coffre.policy.checks.local_facts import LocalFacts

SKEW_SECONDS: Final = 5.0
"""From here on a clock is wrong: times of backups mislead, and from 15 minutes on signatures are refused."""
OLDEST_PYTHON: Final = (3, 13)

type Found = Iterator[Finding | Unread]


@check(
    "CREDENTIALS_UNUSABLE",
    Severity.BLOCKER,
    LocalFacts,
    fine="AWS takes the credentials of this machine.",
    cure="Sign in: aws sso login, aws configure, or set AWS_PROFILE.",
)
def credentials_unusable(local: LocalFacts) -> Found:
    """Find credentials that AWS does not take."""
    if isinstance(local.caller, Refused):
        yield Finding("AWS does not take the credentials of this machine.", local.caller.why)


@check(
    "REGION_MISSING",
    Severity.BLOCKER,
    LocalFacts,
    fine="A region is set.",
    cure="Set the region of the stack: export AWS_REGION=eu-west-3 (yours).",
)
def region_missing(local: LocalFacts) -> Found:
    """Find a machine that does not know where the stack is."""
    if not local.region:
        yield Finding(
            "No region is set: the command does not know where the stack is.",
            "neither AWS_REGION nor the profile has one",
        )


@check(
    "LOCAL_CLOCK_SKEW",
    Severity.WARNING,
    LocalFacts,
    fine="The clock of this machine is right.",
    cure="Turn time synchronisation on: sudo timedatectl set-ntp true (macOS: Date & Time).",
)
def local_clock_skew(local: LocalFacts) -> Found:
    """Find a clock that differs from AWS's."""
    ahead = local.clock_ahead_seconds
    if ahead is None:
        yield Unread("The clock of AWS could not be read: no answer of sts:GetCallerIdentity had a time.")
    elif abs(ahead) > SKEW_SECONDS:
        yield Finding(
            "The clock of this machine is wrong: from 15 minutes on AWS refuses every request.",
            f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} AWS",
        )


@check(
    "PYTHON_UNSUPPORTED",
    Severity.BLOCKER,
    LocalFacts,
    fine="Python is recent enough.",
    cure=f"Install Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer: uv python install.",
)
def python_unsupported(local: LocalFacts) -> Found:
    """Find a Python that is too old for the command."""
    if local.python < OLDEST_PYTHON:
        yield Finding("Python is too old for the command.", ".".join(map(str, local.python)))
