"""What is known about the machine that runs the command."""

from __future__ import annotations

from dataclasses import dataclass

from coffre.policy.checks.answers import Answer


@dataclass(frozen=True, slots=True)
class LocalFacts:
    """This machine.

    Attributes
    ----------
    caller
        The ARN of the AWS credentials.
    region
        None: no region is set.
    clock_ahead_seconds
        How far this machine's clock is ahead of AWS's (behind: negative); None: AWS did not say.
    python
        Major and minor version.
    """

    caller: Answer[str]
    region: str | None
    clock_ahead_seconds: float | None
    python: tuple[int, int]
