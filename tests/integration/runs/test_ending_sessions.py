"""Ending the sessions of a run: at the server too, whatever becomes of requests to cancel them, and no others."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace

import psycopg2
import psycopg2.errors
import psycopg2.extensions
import pytest
from tests.integration.conftest import run_sql, with_password
from tests.integration.faults import StoppedServer, silent_server

from coffre.model.errors import CoffreError
from coffre.postgres.connection import client_tools as tools
from coffre.postgres.connection import connect as connect_module
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.connect import connect
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.postgres.connection.end_sessions import end_at_server
from coffre.postgres.connection.libpq import flush
from coffre.postgres.connection.sessions import Sessions

PATIENCE = 60


@pytest.fixture
def server(shop: str) -> Iterator[StoppedServer]:
    ((pid,),) = run_sql(shop, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
    server = StoppedServer.of_backend(pid)
    yield server
    server.go_on()


def at(url: str) -> Connection:
    return parse_secret(url, where="test")


class Sleeper:
    """A statement that takes much longer than any test, in a thread of its own."""

    def __init__(self, session: psycopg2.extensions.connection) -> None:
        self.error: Exception | None = None
        self._session = session
        self._thread = threading.Thread(target=self._sleep, daemon=True)
        self._thread.start()

    def _sleep(self) -> None:
        try:
            with self._session.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(6000)")
        except psycopg2.Error as error:
            self.error = error

    def end(self) -> Exception:
        self._thread.join(PATIENCE)
        assert self.error is not None
        return self.error


def wait_until_asleep(url: str, count: int = 1) -> None:
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    end = time.monotonic() + PATIENCE
    while run_sql(url, asleep) != [(count,)]:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_statements_are_cancelled_and_their_sessions_are_gone_at_the_server(shop: str) -> None:
    children = Children()
    with connect(children.watching(at(shop))) as one, connect(children.watching(at(shop))) as other:
        sleepers = [Sleeper(one), Sleeper(other)]
        wait_until_asleep(shop, 2)

        children.end_all()

        assert [type(sleeper.end()) for sleeper in sleepers] == [psycopg2.errors.QueryCanceled] * 2
        assert children.remarks == ()
        named = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{children.sessions.name}'"
        assert run_sql(shop, named) == [(0,)]


def test_a_statement_that_a_cancel_did_not_meet_is_terminated(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that comes before its statement is lost, and so is one that a pooler does not pass on."""
    monkeypatch.setattr(Sessions, "cancel", lambda self, seconds: True)
    children = Children()
    with connect(children.watching(at(shop))) as session:
        sleeper = Sleeper(session)
        wait_until_asleep(shop)

        children.end_all()

        assert isinstance(sleeper.end(), psycopg2.OperationalError)
    wait_until_asleep(shop, 0)
    assert children.remarks == ()


def test_what_the_client_of_a_program_left_at_the_server_is_ended_too(shop: str) -> None:
    """The backend of a killed client works on until it has something to say."""
    children = Children()
    environment = children.watching(at(shop)).environment()
    with closing(psycopg2.connect(shop, application_name=environment["PGAPPNAME"])) as orphan:
        sleeper = Sleeper(orphan)
        wait_until_asleep(shop)

        children.end_all()

        assert sleeper.end()
    wait_until_asleep(shop, 0)


def test_what_may_not_be_ended_is_said(shop: str) -> None:
    # Given a run as a role that may not end what a superuser does under the run's name
    run_sql(shop, "CREATE ROLE modest LOGIN")
    children = Children()
    children.watching(at(with_password(shop, "modest")))
    with closing(psycopg2.connect(shop, application_name=children.sessions.name)):
        error = CoffreError("It failed.")
        with pytest.raises(CoffreError), children.ending():
            raise error

    (note,) = error.__notes__
    assert "may still work at the server" in note
    assert "permission denied" in note
    assert children.sessions.name in note


def test_what_cannot_be_asked_is_said_and_nobody_waits_for_it(
    shop: str, server: StoppedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect_module, "_CLEARING_CONNECT_SECONDS", 0.2)
    children = Children()
    with connect(children.watching(at(shop))) as session:
        sleeper = Sleeper(session)
        wait_until_asleep(shop)
        server.stop()

        children.end_all()

        assert isinstance(sleeper.end(), psycopg2.OperationalError)
        assert "did not answer in time" in "".join(children.remarks)


def test_sessions_of_others_and_those_that_stay_go_on(shop: str) -> None:
    run, other = Children(), Children()
    with (
        connect(run.watching(at(shop)), stays=True) as guard,
        connect(other.watching(at(shop))) as neighbour,
        closing(psycopg2.connect(shop)) as stranger,
    ):
        run.end_all()

        for session in (guard, neighbour, stranger):
            with session.cursor() as cursor:
                cursor.execute("SELECT 1")
                assert cursor.fetchall() == [(1,)]


def test_what_clears_away_while_the_others_are_being_ended_is_not_ended(
    shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    children, end = Children(), end_at_server
    connection = children.watching(at(shop))
    with ExitStack() as stack:
        clearing: list[psycopg2.extensions.connection] = []

        def meanwhile(server: Connection, *names: str) -> str | None:
            clearing.append(stack.enter_context(connect(connection)))
            return end(server, *names)

        monkeypatch.setattr(tools, "end_at_server", meanwhile)
        children.end_all()

        with clearing[0].cursor() as cursor:
            cursor.execute("SELECT 1")
            assert cursor.fetchall() == [(1,)]


def test_a_run_that_has_ended_opens_sessions_for_clearing_alone_and_for_a_time(shop: str) -> None:
    left = [PATIENCE]
    children = Children(lambda: left[0])
    connection = children.watching(at(shop))
    children.end_all()

    with connect(connection) as session, session.cursor() as cursor:
        cursor.execute("SHOW application_name")
        assert cursor.fetchall() == [("coffre",)]
    left[0] = 1
    with connect(connection) as session, pytest.raises(psycopg2.OperationalError), session.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(6000)")
    left[0] = 0
    with pytest.raises(CoffreError) as caught, connect(connection):
        pass
    assert caught.value.code == "STOPPED"
    run_sql(shop, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")


def test_a_connection_that_is_being_made_is_not_waited_for_when_the_run_ends() -> None:
    children, caught = Children(), []
    with silent_server() as port:
        silent = Connection("127.0.0.1", port, "ada", "x", "shop", sslmode="disable", connect_timeout_seconds=6000)
        connection = replace(silent, sessions=children.sessions)

        def work() -> None:
            with pytest.raises(CoffreError) as error, connect(connection):
                pass
            caught.append(error.value.code)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        children.end_all()
        thread.join(PATIENCE)

    assert caught == ["STOPPED"]


def test_a_descriptor_that_has_become_anothers_is_not_touched(shop: str) -> None:
    sessions = Sessions()
    with closing(psycopg2.connect(shop)) as session, sessions.holding(session):
        number = session.fileno()
        session.close()
        near, far = socket.socketpair()
        with near, far:
            if near.fileno() != number:
                os.dup2(near.fileno(), number)
            with socket.socket(fileno=number if near.fileno() != number else os.dup(number)) as reused:
                sessions.cut(all_of_them=True)

                reused.sendall(b"still there")
                assert far.recv(100) == b"still there"


def test_a_full_connection_is_waited_for_without_the_interpreter_until_it_is_cut(
    shop: str, server: StoppedServer
) -> None:
    """The driver sends the end of a COPY while it holds the interpreter: there has to be room for it."""
    sessions, ended = Sessions(), threading.Event()
    with closing(psycopg2.connect(shop)) as session, sessions.holding(session):
        server.stop()
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(session.fileno(), bytes(65536))

        def work() -> None:
            flush(session)
            ended.set()

        threading.Thread(target=work, daemon=True).start()

        assert not ended.wait(0.2)
        sessions.cut(all_of_them=True)
        assert ended.wait(PATIENCE)
