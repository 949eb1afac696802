"""Several jobs on one catalog and one vault that take turns as a test chooses, one call of the store at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
from tests.unit.operations.conftest import Scene

type Task = Callable[[], Any]
type Move = str | tuple[str, str]

_CALLS = ("get", "put", "update", "query", "delete")


class Turns:
    """Runs tasks in threads of which one moves at a time: each waits for its turn before every step.

    `steps` says afterwards how many each took. A step is a call of the catalog's table, or one that reads or writes
    what is kept beside a backup. Threads that a task starts itself are never held up.
    """

    def __init__(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        self._mine = threading.local()
        self.steps: dict[str, int] = {}
        for name in _CALLS:
            self._hold_up(monkeypatch, scene.catalog._table, name, lambda *_: True)
        for name in ("put", "list"):
            self._hold_up(monkeypatch, scene.store, name, lambda key="", *_: "/reports/damage" in key)

    @property
    def running(self) -> str | None:
        """The task whose step it is; None outside of all."""
        return getattr(self._mine, "name", None)

    def run(self, tasks: Mapping[str, Task], order: Iterable[Move]) -> dict[str, Any]:
        """Run all tasks to their end and return what they returned or raised.

        `order` names whose step is next, or with a call: who goes on until that is its next step. One that is done
        already is passed over. What is left at the end of `order` goes on one task after another.
        """
        players = {name: _Player(self, name, task) for name, task in tasks.items()}
        for move in order:
            name, until = (move, None) if isinstance(move, str) else move
            player = players[name]
            if until is None and not player.is_done:
                player.move()
            while until is not None and not player.is_done and player.next_call != until:
                player.move()
        for player in players.values():
            while not player.is_done:
                player.move()
        self.steps = {name: player.steps for name, player in players.items()}
        return {name: player.result for name, player in players.items()}

    def _hold_up(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, is_step: Callable[..., bool]) -> None:
        original = getattr(owner, name)

        def held_up(*arguments: Any, **options: Any) -> Any:
            player = getattr(self._mine, "player", None)
            if player is not None and is_step(*arguments):
                player.wait_for_turn(name)
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, held_up)


class _Player:
    def __init__(self, turns: Turns, name: str, task: Task) -> None:
        self.result: Any = None
        self.is_done = False
        self.steps = 0
        self.next_call: str | None = None
        self._turn = threading.Semaphore(0)
        self._moved = threading.Semaphore(0)

        def play() -> None:
            turns._mine.player, turns._mine.name = self, name
            self._turn.acquire()
            try:
                self.result = task()
            except Exception as error:  # noqa: BLE001 - the test looks at it
                self.result = error
            finally:
                self.is_done = True
                self._moved.release()

        threading.Thread(target=play, name=name, daemon=True).start()

    def move(self) -> None:
        """Let it take one step, and wait until it stands before the next one."""
        self.steps += 1
        self._turn.release()
        self._moved.acquire()

    def wait_for_turn(self, call: str) -> None:
        self.next_call = call
        self._moved.release()
        self._turn.acquire()
