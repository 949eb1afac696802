"""What makes the samples of the documentation real: for each one the account, the functions and the person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest
from tests.unit.cli.conftest import Account
from tests.unit.docs.terminal import Terminal


@dataclass
class Stage:
    """Where a scene is set: an AWS account with a stack, and a terminal in an empty directory.

    `after` looks at what the command did besides printing. `part` is the part of a command that prints an output, where
    the whole command does more than can be done here.
    """

    account: Account
    terminal: Terminal
    monkeypatch: pytest.MonkeyPatch
    fixture: Callable[[str], Any]
    after: Callable[[], bool] = lambda: True
    part: Callable[[], object] | None = None


@dataclass(frozen=True)
class Scene:
    """How a sample becomes real: `prepare` sets the stage, then the command of the page runs.

    Parameters
    ----------
    command
        What runs for an output that a page shows without its command.
    typed
        What a person answers to its questions.
    status
        How the commands end.
    """

    prepare: Callable[[Stage], None]
    command: str = ""
    typed: str = ""
    status: int = 0


SCENES: Final[dict[tuple[str, str], Scene]] = {}


def scene(
    place: str, shown: str, *, command: str = "", typed: str = "", status: int = 0
) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    """Add a scene.

    Parameters
    ----------
    place
        The page and the heading that the sample is below: `docs/restore.md#I dropped a table`.
    shown
        Its command, as the page shows it; of an output without a command its first line.
    """

    def add(prepare: Callable[[Stage], None]) -> Callable[[Stage], None]:
        assert (place, shown) not in SCENES
        SCENES[place, shown] = Scene(prepare, command, typed, status)
        return prepare

    return add
