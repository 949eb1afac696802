"""A backup that several functions take together, by a role with few connections whose idle transactions are ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest
from tests.integration.conftest import Coffre, run_sql, with_password
from tests.integration.spread_machine import SpreadMachine, spread_machine

from coffre.model.backup import Status
from coffre.operations.backup_database.spread import step
from coffre_local.sample import fingerprint

CONNECTIONS = 12
IDLE_MS = 150
# A worker needs three connections: in the snapshot, to the present catalog, and for rows.
FULL = (True, False, True, False, False, True)


@pytest.fixture
def machine(coffre: Coffre, monkeypatch: pytest.MonkeyPatch) -> Iterator[SpreadMachine]:
    with spread_machine(coffre, monkeypatch, hold_seconds=1.0) as machine:
        yield machine


@pytest.fixture
def keeper(shop: str) -> Iterator[str]:
    """The name of a role that reads. The server allows it few sessions, and ends idle transactions."""
    run_sql(
        shop,
        f"CREATE ROLE keeper LOGIN BYPASSRLS CONNECTION LIMIT {CONNECTIONS}",
        "GRANT pg_read_all_data TO keeper",
        f"ALTER ROLE keeper SET idle_in_transaction_session_timeout = {IDLE_MS}",
    )
    yield "keeper"
    run_sql(shop, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'keeper'", "DROP ROLE keeper")


class Crowd:
    """The role has no connection left for some of the sessions that are opened once a worker begins."""

    def __init__(self, limit: Callable[[int], object], connect: Callable[..., psycopg2.extensions.connection]) -> None:
        self._limit, self._connect = limit, connect
        self._turn = threading.RLock()
        self._is_full: Iterator[bool] = iter(())
        self.refusals = 0

    def comes(self) -> None:
        self._is_full = iter(FULL)

    def connect(self, *arguments: Any, **options: Any) -> psycopg2.extensions.connection:
        with self._turn:
            if not next(self._is_full, False):
                return self._connect(*arguments, **options)
            left, self._is_full = self._is_full, iter(())
            self._limit(0)
            try:
                return self._connect(*arguments, **options)
            except psycopg2.OperationalError as error:
                self.refusals += "too many connections for role" in str(error)
                raise
            finally:
                self._limit(CONNECTIONS)
                self._is_full = left


def test_a_worker_that_is_refused_connections_waits_and_no_idle_limit_ends_a_holder(
    coffre: Coffre,
    shop: str,
    keeper: str,
    machine: SpreadMachine,
    new_database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowd = Crowd(lambda most: run_sql(shop, f"ALTER ROLE {keeper} CONNECTION LIMIT {most}"), psycopg2.connect)
    monkeypatch.setattr(psycopg2, "connect", crowd.connect)
    monkeypatch.setattr(step, "_PAUSE_SECONDS", 0.05)
    machine.faults.before["work-0"] = crowd.comes
    coffre.configure(with_password(shop, keeper), target={"limits": {"spread": "always", "streams": 4}})
    with closing(psycopg2.connect(with_password(shop, keeper))) as session, session.cursor() as cursor:
        cursor.execute("SHOW idle_in_transaction_session_timeout")
        assert cursor.fetchall() == [(f"{IDLE_MS}ms",)]

    answer = coffre.backup()
    machine.wait()

    backup = coffre.catalog.get_backup(answer["id"])
    assert backup.status is Status.COMPLETED, machine.errors
    assert crowd.refusals == sum(FULL)
    # It waited by itself: no attempt of a step was spent on it, and no session was lost
    assert machine.errors == []
    epochs = coffre.catalog.spread.epochs(backup.id)
    assert {epoch.holder for epoch in epochs} > {"plan"}
    coffre.restore(backup.id, new_database)
    assert fingerprint(new_database) == fingerprint(shop)
