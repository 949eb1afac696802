"""A stack as `--here` sees it, and what its tests share: the command, Ctrl-C, and what is left at the server."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import BUCKET, TABLE, Coffre, run_sql
from tests.integration.vault_copies import Command, command_in

from coffre_cli import stack_choice
from coffre_cli.deployed import DeployedStack

FUNCTIONS = {
    "BackupDatabaseFunction": "coffre-backup-database",
    "BackupStorageFunction": "coffre-backup-storage",
    "RestoreFunction": "coffre-restore",
    "DrillFunction": "coffre-drill",
}


class Functions:
    """Lambda, as far as `--here` asks it: the settings of a function."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def get_function_configuration(self, FunctionName: str) -> dict[str, Any]:  # noqa: N803
        assert FunctionName in FUNCTIONS.values()
        return {"Environment": {"Variables": self.environment}}


@pytest.fixture
def stack(coffre: Coffre, monkeypatch: pytest.MonkeyPatch) -> Coffre:
    outputs = {
        "VaultBucket": BUCKET,
        "VaultPrefix": "/",
        "CatalogTable": TABLE,
        "Configuration": "configuration",
        **FUNCTIONS,
    }
    monkeypatch.setattr(stack_choice, "read_state", lambda: None)
    monkeypatch.setattr(stack_choice, "_outputs", lambda _: outputs)
    monkeypatch.setattr(DeployedStack, "functions", Functions(coffre.environment))
    monkeypatch.setenv("COFFRE_STACK", "coffre")
    return coffre


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Command]:
    monkeypatch.delenv("COFFRE_VAULT", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    yield command_in(tmp_path / "work", monkeypatch, capfd)
    signal.signal(signal.SIGTERM, before)


def is_free(stack: Coffre) -> bool:
    """Tell whether no run holds the target's lock."""
    now = datetime.now(UTC)
    return stack.catalog.locks.acquire("shop", "the test", now, stale_after=timedelta(hours=1)).acquired


@pytest.fixture
def heard_interrupts() -> Iterator[None]:
    """Ctrl-C as in a shell: the workers of pytest-xdist ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def sessions(url: str) -> int:
    [[count]] = run_sql(
        url,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    return int(count)


def waiting(url: str) -> int:
    [[count]] = run_sql(url, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    return int(count)


def interrupt_when(ready: Callable[[], bool], with_signal: signal.Signals = signal.SIGINT) -> None:
    while not ready():
        time.sleep(0.05)
    signal.pthread_kill(threading.main_thread().ident or 0, with_signal)
