"""Scripted answers to the questions of `coffre init`, and what it finds before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from coffre_cli.commands.init.ask import Given
from coffre_cli.commands.init.existing_resources import Before
from coffre_cli.commands.init.questions import Questions


@dataclass
class Person:
    """Answers in order; Enter when there is nothing left to say."""

    answers: list[str]
    asked: list[str] = field(default_factory=list)

    def questions(self) -> Questions:
        return Questions(True, self._answer, self._answer)

    def _answer(self, prompt: str) -> str:
        self.asked.append(prompt)
        return self.answers.pop(0) if self.answers else ""


def given(**options: Any) -> Given:
    """Return options, of which none is given unless it is named."""
    nothing: dict[str, Any] = {
        "address": None,
        "databases": (),
        "buckets": (),
        "offline": None,
        "mail": None,
        "subnets": (),
        "security_groups": (),
        "architecture": None,
    }
    return Given(**{**nothing, **options})


def before(
    document: Mapping[str, Any] | None = None,
    parameters: Mapping[str, str] | None = None,
    recipients: Sequence[str] = (),
) -> Before:
    """Return what exists; nothing without arguments."""
    return Before(document is not None, {}, parameters or {}, document or {}, tuple(recipients))
