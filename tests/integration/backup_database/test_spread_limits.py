"""A backup that several functions take together, by a role with few connections whose idle sessions are ended."""

from __future__ import annotations

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
# A worker needs three connections: in the snapshot, to the present catalog, and for rows. It is refused each of them.
REFUSALS = 3


@pytest.fixture
def machine(coffre: Coffre, monkeypatch: pytest.MonkeyPatch) -> Iterator[SpreadMachine]:
    with spread_machine(coffre, monkeypatch, hold_seconds=1.0) as machine:
        yield machine


@pytest.fixture
def keeper(shop: str) -> Iterator[str]:
    """The name of a role that reads. The server allows it few sessions, and ends those that are idle."""
    run_sql(
        shop,
        f"CREATE ROLE keeper LOGIN BYPASSRLS CONNECTION LIMIT {CONNECTIONS}",
        "GRANT pg_read_all_data TO keeper",
        f"ALTER ROLE keeper SET idle_in_transaction_session_timeout = {IDLE_MS}",
        f"ALTER ROLE keeper SET idle_session_timeout = {IDLE_MS}",
    )
    yield "keeper"
    run_sql(shop, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'keeper'", "DROP ROLE keeper")


class Crowd:
    """Another program that takes every connection of a role, and gives one back whenever a session is refused."""

    def __init__(self, url: str, connect: Callable[..., psycopg2.extensions.connection]) -> None:
        self._url, self._connect = url, connect
        self._sessions: list[psycopg2.extensions.connection] = []
        self.refusals = 0

    def comes(self) -> None:
        with pytest.raises(psycopg2.OperationalError, match="too many connections for role"):
            self._sessions.extend(iter(self._another, None))

    def _another(self) -> psycopg2.extensions.connection:
        return self._connect(self._url, options="-c idle_session_timeout=0")

    def connect(self, *arguments: Any, **options: Any) -> psycopg2.extensions.connection:
        try:
            return self._connect(*arguments, **options)
        except psycopg2.OperationalError as error:
            if "too many connections for role" in str(error):
                self.refusals += 1
                if self._sessions:
                    self._sessions.pop().close()
            raise

    def goes(self) -> None:
        for session in self._sessions:
            session.close()


def test_a_worker_that_is_refused_connections_waits_and_no_idle_limit_ends_a_holder(
    coffre: Coffre,
    shop: str,
    keeper: str,
    machine: SpreadMachine,
    new_database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowd = Crowd(with_password(shop, keeper), psycopg2.connect)
    monkeypatch.setattr(psycopg2, "connect", crowd.connect)
    monkeypatch.setattr(step, "_PAUSE_SECONDS", 0.05)
    machine.faults.before["work-0"] = crowd.comes
    coffre.configure(with_password(shop, keeper), target={"limits": {"spread": "always", "streams": 4}})
    with closing(psycopg2.connect(with_password(shop, keeper))) as session, session.cursor() as cursor:
        cursor.execute("SHOW idle_in_transaction_session_timeout")
        assert cursor.fetchall() == [(f"{IDLE_MS}ms",)]

    answer = coffre.backup()
    machine.wait()
    crowd.goes()

    backup = coffre.catalog.get_backup(answer["id"])
    assert backup.status is Status.COMPLETED, machine.errors
    assert crowd.refusals >= REFUSALS
    # It waited by itself: no attempt of a step was spent on it, and no session was lost
    assert machine.errors == []
    epochs = coffre.catalog.spread.epochs(backup.id)
    assert {epoch.holder for epoch in epochs} > {"plan"}
    coffre.restore(backup.id, new_database)
    assert fingerprint(new_database) == fingerprint(shop)
