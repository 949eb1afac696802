"""A primary server and its standby: what is read where, and what is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from tests.integration.conftest import SHOP, Coffre, run_sql
from tests.integration.expect import failed_backup
from tests.integration.spread_machine import SpreadMachine, spread_machine

from coffre.model.backup import Backup, Status
from coffre.operations.backup_database.spread import step
from coffre.runtime import spread_backup
from coffre_local.postgres_server import PostgresServer, ServerOptions
from coffre_local.toolchain import Toolchain

OPTIONS = ServerOptions(settings={"wal_level": "replica", "max_wal_senders": "4"})
ALWAYS = {"limits": {"spread": "always", "streams": 1}}


@pytest.fixture(scope="module")
def primary(toolchain: Toolchain) -> Iterator[PostgresServer]:
    """A server with a shop that has an unlogged table, too."""
    with PostgresServer(toolchain.postgresql(18), OPTIONS) as server:
        run_sql(server.create_database("shop"), SHOP, "CREATE UNLOGGED TABLE cache AS SELECT 1 AS n")
        yield server


@pytest.fixture(scope="module")
def standby(primary: PostgresServer, toolchain: Toolchain) -> Iterator[PostgresServer]:
    """A server that replays what the primary does."""
    cluster, directory = primary.cluster, Path(tempfile.mkdtemp(prefix="coffre-standby-"))
    if cluster.user is not None:
        os.chown(directory, cluster.user, cluster.user)
    subprocess.run(
        [
            *(cluster.program("pg_basebackup"), "-d", primary.dsn(), "-D", str(directory / "data")),
            *("--write-recovery-conf", "--checkpoint=fast", "--wal-method=fetch", "--no-sync"),
        ],
        env=cluster.environment(),
        cwd=directory,
        user=cluster.user,
        group=cluster.user,
        check=True,
    )
    with PostgresServer(toolchain.postgresql(18), OPTIONS, directory=directory) as server:
        assert run_sql(server.dsn("shop"), "SELECT pg_is_in_recovery()") == [(True,)]
        yield server


def test_functions_that_reach_the_standby_never_join_a_snapshot_of_the_primary(
    coffre: Coffre, primary: PostgresServer, standby: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind an endpoint that leads to readers, too."""
    coffre.configure(primary.dsn("shop"), target=ALWAYS)

    with spread_machine(coffre, monkeypatch) as machine:
        machine.faults.before["hold-a"] = lambda: coffre.secret("coffre/database/shop", standby.dsn("shop"))
        backup = ended(coffre, machine)

    assert backup.failure is not None
    assert backup.failure.code == "WRONG_SERVER"
    assert "It is a standby" in backup.failure.message
    assert "no reader, no endpoint that distributes sessions" in (backup.failure.hint or "")


def test_a_standby_is_read_by_one_function_and_refused_where_several_are_needed(
    coffre: Coffre, standby: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A standby has no rows of unlogged tables
    coffre.configure(standby.dsn("shop"))
    failed_backup(coffre, "STANDBY_UNLOGGED", "no rows of unlogged tables: public.cache.", "tables.exclude_data")

    # Without them, one function reads it as it reads the primary
    alone: dict[str, Any] = {"tables": {"exclude_data": ["public.cache"]}}
    coffre.configure(standby.dsn("shop"), target=alone)
    backup = coffre.catalog.get_backup(coffre.backup()["id"])
    assert (backup.status, backup.rows) == (Status.COMPLETED, 1050)

    # Several functions cannot know that all of them have the same snapshot
    coffre.configure(standby.dsn("shop"), target=alone | ALWAYS)
    with spread_machine(coffre, monkeypatch) as machine:
        failed_backup(coffre, "SPREAD_STANDBY", "is a standby", "primary server's own address", "--here")
    assert machine.status == "NONE"


def test_a_server_that_restarts_in_the_middle_ends_the_run(
    coffre: Coffre, primary: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = primary.dsn("shop")
    coffre.configure(url, target=ALWAYS)
    monkeypatch.setattr(step, "_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(spread_backup, "_PAUSE_SECONDS", 0.1)

    sessions = "SELECT pid FROM pg_stat_activity WHERE application_name ~ 'coffre'"

    def crash() -> None:
        """Kill a session while both holders have theirs: the server ends all others, and starts again."""
        while {"a", "b"} - {epoch.holder for epoch in coffre.catalog.spread.epochs(machine.given["backup_id"])}:
            time.sleep(0.05)
        before = {pid for (pid,) in run_sql(url, sessions)}
        os.kill(min(before), signal.SIGKILL)
        while True:  # a state machine waits longer between attempts than a test does
            with suppress(psycopg2.OperationalError):
                if not before & {pid for (pid,) in run_sql(url, sessions)}:
                    return
            time.sleep(0.05)

    with spread_machine(coffre, monkeypatch, hold_seconds=60) as machine:
        machine.faults.before["work-0"] = crash
        backup = ended(coffre, machine)

    assert backup.failure is not None
    assert backup.failure.code == "SNAPSHOT_LOST"
    assert "A server that restarts" in (backup.failure.hint or "")


def ended(coffre: Coffre, machine: SpreadMachine) -> Backup:
    """Take a backup that fails, and return its record: nothing was published, and people know."""
    answer = coffre.backup()
    machine.wait()
    backup = coffre.catalog.get_backup(answer["id"])
    assert (backup.status, machine.status) == (Status.FAILED, "FAILED")
    assert coffre.backup_function().services.vault.find_manifest("shop", backup.id) is None
    assert coffre.catalog.locks._find("shop") is None
    assert [alert["MessageAttributes"]["kind"]["Value"] for alert in coffre.troubles()] == ["BACKUP_FAILED"]
    return backup
