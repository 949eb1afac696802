"""The state machine of a restore whose rows are shared, played by threads of this process, with what can go wrong."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.integration.conftest import Coffre, Context
from tests.integration.spread_machine import Killed, Lane, atomic

from coffre.model.errors import CoffreError
from coffre.runtime import restore_shares
from coffre.runtime.restore_function import RestoreFunction
from coffre.runtime.state_machine import Machine

MACHINE = "arn:aws:states:eu-west-1:123456789012:stateMachine:coffre-spread-restore"
# As the machine's definition has them: errors that are tried again.
RETRIED = frozenset({"TransientError", "CatalogError", "Killed"})
ATTEMPTS = 5


@dataclass
class ShareFaults:
    """What happens to the shares, by their numbers.

    `kill_at` ends each attempt but the last at its n-th call of the catalog or the vault; what is `doubled` is
    delivered twice, and what is `late` when the restore has ended. `remaining` is the time that each attempt has.
    """

    kill_at: dict[int, list[int]] = field(default_factory=dict)
    doubled: frozenset[int] = frozenset()
    late: frozenset[int] = frozenset()
    remaining: Callable[[], float] = lambda: 900.0


@dataclass
class ShareMachine:
    """Runs the steps as `statemachine/restore.asl.json` does."""

    coffre: Coffre
    faults: ShareFaults = field(default_factory=ShareFaults)
    given: dict[str, Any] = field(default_factory=dict)
    invoked: Counter[int] = field(default_factory=Counter)
    answers: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    is_stopped: bool = False
    _thread: threading.Thread | None = None

    def start(self, name: str, given: dict[str, Any]) -> None:
        self.names.append(name)
        self.given = json.loads(json.dumps(given))
        self._thread = threading.Thread(target=self._run, name="machine")
        self._thread.start()

    def wait(self) -> None:
        """Wait for the end of the execution."""
        assert self._thread is not None
        self._thread.join(timeout=120)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with ThreadPoolExecutor(2 * self.given["width"]) as pool:
            now = [number for number in self.given["shares"] if number not in self.faults.late]
            twice = [number for number in now if number in self.faults.doubled]
            for one in [pool.submit(self._share, number) for number in (*now, *twice)]:
                one.exception()  # the map fails, and the restore continues all the same
        if not self.is_stopped:
            self._continue()
        for number in sorted(self.faults.late):
            self.answers.append(self._load(number))

    def _continue(self) -> None:
        event = self.given["restore"]
        try:
            self.answers.append(
                RestoreFunction.make(self.coffre.environment).handle(event, Context(function_name="restore"))
            )
        except CoffreError as error:
            self.errors.append(f"restore: {error}")

    def _share(self, number: int) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                while not self._load(number)["over"]:
                    pass
            except (CoffreError, Killed) as error:
                self.errors.append(f"{number}: {type(error).__name__}: {error}")
                if type(error).__name__ not in RETRIED or attempt == ATTEMPTS:
                    raise
            else:
                return

    def _load(self, number: int) -> dict[str, Any]:
        names = ("restore", "sharing", "width", "streams")
        event = {"step": "load", "share": number, **{name: self.given[name] for name in names}}
        self.invoked[number] += 1
        function = RestoreFunction.make(self.coffre.environment)
        if kills := self.faults.kill_at.get(number):
            function = Lane.mortal(function, kills.pop(0))
        return function.handle(event, Context(self.faults.remaining, function_name="restore"))


@contextmanager
def share_machine(
    coffre: Coffre, monkeypatch: pytest.MonkeyPatch, faults: ShareFaults | None = None
) -> Iterator[ShareMachine]:
    """Let rows of restores of this scene be shared by a machine in this process."""
    played = ShareMachine(coffre, faults or ShareFaults())
    coffre.environment |= {"COFFRE_SPREAD_MACHINE": MACHINE}
    monkeypatch.setattr(restore_shares, "_BEAT_SECONDS", 0.2)
    monkeypatch.setattr(Machine, "start", lambda self, name, given: played.start(name, given))
    atomic(monkeypatch)
    yield played
    if played._thread is not None:
        played.wait()
