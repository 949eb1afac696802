"""The state machine of a spread backup, played by threads of this process, and what can happen to its invocations."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from tests.integration.conftest import Coffre, Context

from coffre.catalog.tables import DynamoTable
from coffre.model.errors import CoffreError
from coffre.operations.backup_database.spread import begin
from coffre.runtime import spread_backup, spread_steps
from coffre.runtime.backup_database_function import BackupDatabaseFunction
from coffre.runtime.restore_function import RestoreFunction
from coffre.runtime.state_machine import Machine
from coffre.stores.s3 import S3Store
from coffre.stores.store import Store

MACHINE = "arn:aws:states:eu-west-1:123456789012:stateMachine:coffre-spread"
DEFINITION = json.loads((Path(__file__).parents[2] / "statemachine" / "spread.asl.json").read_text())


class Killed(BaseException):
    """The platform ends a function: nothing of it runs any more."""

    # The name by which Step Functions knows it.
    name = "Sandbox.Timedout"


def tries_of(machine: dict[str, Any] = DEFINITION) -> dict[str, dict[str, int]]:
    """Return how often the definition tries each step again, by the name of what it raised: Lambda has no others."""
    found: dict[str, dict[str, int]] = {}
    for state in machine["States"].values():
        for inner in (*state.get("Branches", ()), *filter(None, [state.get("ItemProcessor")])):
            found |= tries_of(inner)
        if state["Type"] == "Task":
            payload = state["Parameters"].get("Payload", {"step": "work"})
            name = f"hold-{payload['holder']}" if payload["step"] == "hold" else payload["step"]
            found[name] = {error: one["MaxAttempts"] for one in state["Retry"] for error in one["ErrorEquals"]}
    return found


TRIES = tries_of()


class _Fatal:
    """Passes calls on to a table or a store, until the invocation is killed."""

    def __init__(self, inner: Any, lane: Lane) -> None:
        self._inner = inner
        self._lane = lane

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found) or name.startswith("__"):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            self._lane.count()
            answer = found(*arguments, **named)
            self._lane.check()
            return answer

        return call


@dataclass
class Lane:
    """One environment of the function. It can be killed at its n-th call of the catalog or the vault."""

    function: BackupDatabaseFunction | RestoreFunction
    kill_at: int | None = None
    calls: int = 0
    is_dead: bool = False

    @classmethod
    def mortal[F: (BackupDatabaseFunction, RestoreFunction)](cls, function: F, kill_at: int | None) -> F:
        """Let a function be killed, and return it."""
        lane = cls(function, kill_at)
        catalog, vault = function.services.catalog, function.services.vault
        for part in (catalog.spread, catalog.locks, catalog._backups):
            part._table = cast("DynamoTable", _Fatal(part._table, lane))
        vault.store = cast("Store", _Fatal(vault.store, lane))
        return function

    def count(self) -> None:
        self.check()
        self.calls += 1
        if self.kill_at is not None and self.calls >= self.kill_at:
            self.is_dead = True
            self.check()

    def check(self) -> None:
        if self.is_dead:
            raise Killed


@dataclass
class Faults:
    """What happens in one run: by the name of a step, `hold-a`, `work-3`, `seal`. `before` is called once."""

    kill_at: dict[str, int] = field(default_factory=dict)
    doubled: frozenset[str] = frozenset()
    delayed: dict[str, float] = field(default_factory=dict)
    order: random.Random | None = None
    stop_after: float | None = None
    before: dict[str, Callable[[], object]] = field(default_factory=dict)


@dataclass
class SpreadMachine:
    """Runs the steps as `statemachine/spread.asl.json` does."""

    coffre: Coffre
    faults: Faults = field(default_factory=Faults)
    status: str = "NONE"
    given: dict[str, Any] = field(default_factory=dict)
    invoked: Counter[str] = field(default_factory=Counter)
    answers: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _thread: threading.Thread | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)
    _is_abandoned: bool = False
    _idle: list[BackupDatabaseFunction] = field(default_factory=list)

    def start(self, run_id: str, given: dict[str, Any]) -> None:
        self.given = json.loads(json.dumps(given))
        self._stopped = threading.Event()
        self.status = "RUNNING"
        self._thread = threading.Thread(target=self._run, name="machine")
        self._thread.start()

    def abandon(self) -> None:
        """Stop the execution as a person does in the console: nothing is settled by the machine itself."""
        self._is_abandoned = True
        self._stopped.set()

    def wait(self) -> str:
        """Wait for the end of the execution."""
        assert self._thread is not None
        self._thread.join(timeout=120)
        assert not self._thread.is_alive()
        return self.status

    # --- the definition ---

    def _run(self) -> None:
        pool = ThreadPoolExecutor(3)
        branches = [pool.submit(self._holders, "a"), pool.submit(self._holders, "b"), pool.submit(self._work)]
        if self.faults.stop_after is not None:
            threading.Timer(self.faults.stop_after, self._stopped.set).start()
        caught: dict[str, str] | None = None
        waiting = set(branches)
        while waiting and caught is None and not self._stopped.is_set():
            for branch in [one for one in waiting if one.done()]:
                waiting.discard(branch)
                if (error := branch.exception()) is not None:
                    caught = {"Error": type(error).__name__, "Cause": json.dumps({"errorMessage": str(error)})}
            time.sleep(0.02)
        if self._stopped.is_set() and waiting:
            caught = {"Error": "States.Stopped", "Cause": ""}
        self._stopped.set()  # a state whose machine has ended starts nothing more; what runs is left behind
        if caught is not None and not self._is_abandoned:
            self._invoke("settle", {"step": "settle", "caught": caught})
        pool.shutdown()
        self.status = "FAILED" if caught else "SUCCEEDED"

    def _holders(self, holder: str) -> None:
        while not self._stopped.is_set():
            if self._invoke(f"hold-{holder}", {"step": "hold", "holder": holder})["over"]:
                return

    def _work(self) -> None:
        store = self.coffre.backup_function().services.vault.store
        lines = store.get(self.given["plan"]["key"]).splitlines()
        groups = [json.loads(line)["group"] for line in lines]
        if self.faults.order is not None:
            self.faults.order.shuffle(groups)
        with ThreadPoolExecutor(self.given["width"]) as pool:
            done = [pool.submit(self._group, group) for group in groups]
            try:
                for one in done:
                    one.result()
            except BaseException:
                self._stopped.set()
                raise
        self._invoke("seal", {"step": "seal"})

    def _group(self, group: int) -> None:
        if self._stopped.is_set():
            return
        event = {"step": "work", "group": group}
        name = f"work-{group}"
        if name in self.faults.doubled:
            with ThreadPoolExecutor(2) as pool:
                for one in [pool.submit(self._invoke, name, event) for _ in range(2)]:
                    one.result()
        else:
            self._invoke(name, event)

    def _invoke(self, name: str, event: dict[str, Any]) -> dict[str, Any]:
        tries = TRIES["work" if event["step"] == "work" else name]
        whole = {key: self.given[key] for key in ("target", "backup_id", "plan")} | event
        for attempt in itertools.count():
            self._stopped.wait(self.faults.delayed.get(name, 0.0))
            self.faults.before.pop(name, lambda: None)()
            self.invoked[name] += 1
            kill_at = self.faults.kill_at.pop(name, None)
            function = self._function(kill_at)
            try:
                answer = function.handle(whole, Context())
                if kill_at is None:
                    self._idle.append(function)
            except (CoffreError, Killed) as error:
                self.errors.append(f"{name}: {type(error).__name__}: {error}")
                raised = error.name if isinstance(error, Killed) else type(error).__name__
                may_repeat = attempt < tries.get(raised, tries.get("States.ALL", 0))
                if not may_repeat or (self._stopped.is_set() and name != "settle"):
                    raise
                time.sleep(0.2)
            else:
                self.answers.append({"step": name, **answer})
                return answer
        raise AssertionError

    def _function(self, kill_at: int | None) -> BackupDatabaseFunction:
        if kill_at is None and self._idle:
            return self._idle.pop()
        function = BackupDatabaseFunction.make(self.coffre.environment)
        return function if kill_at is None else Lane.mortal(function, kill_at)


@contextmanager
def spread_machine(
    coffre: Coffre, monkeypatch: pytest.MonkeyPatch, faults: Faults | None = None, *, hold_seconds: float = 2.0
) -> Iterator[SpreadMachine]:
    """Let backups of this scene be spread by a machine in this process, with short holders and tiny groups."""
    played = SpreadMachine(coffre, faults or Faults())
    coffre.environment |= {
        "COFFRE_SPREAD_MACHINE": MACHINE,
        "COFFRE_SPREAD_HOLD_SECONDS": str(hold_seconds),
        "COFFRE_SPREAD_GROUP_BYTES": "1",
    }
    # What is waited for in AWS for seconds is as long here as a step is: some hundred milliseconds.
    monkeypatch.setattr(spread_steps, "BEAT_SECONDS", 0.3)
    monkeypatch.setattr(spread_backup, "BEAT_SECONDS", 0.3)
    monkeypatch.setattr(spread_steps, "STALE_AFTER", timedelta(seconds=3))
    monkeypatch.setattr(begin, "_GRACE_SECONDS", 0.1)
    monkeypatch.setattr(Machine, "start", lambda self, run_id, given: played.start(run_id, given))
    atomic(monkeypatch)
    yield played
    if played._thread is not None:
        played.wait()


def atomic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each write be atomic, as those of DynamoDB and S3 are: moto checks a condition and writes in two steps."""
    lock = threading.Lock()

    def locked(write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            with lock:
                return write(*arguments, **named)

        return call

    for kind, names in ((DynamoTable, ("put", "update", "delete", "get")), (S3Store, ("put",))):
        for name in names:
            monkeypatch.setattr(kind, name, locked(getattr(kind, name)))
