"""Statements that take longer than an invocation: the server finishes them, and the next invocation waits for that."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from tests.integration.conftest import Context, new_id, with_password
from tests.integration.contents import RoundTrip, rows, run, value
from tests.integration.forked import forked, was_killed
from tests.integration.restore_database.test_continued import Time, chain

from coffre.model.backup import Status
from coffre.model.errors import BackupStateError, CoffreError
from coffre.operations.restore_database import saved_steps
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.connect import connect
from coffre.postgres.connection.connection_secret import parse_secret
from coffre_local.postgres_server import PostgresServer

PATIENCE_SECONDS = 60
# An index over it is built when nobody holds the lock: as long as a test wants it to take.
SLOW = (
    "CREATE TABLE t (i int)",
    "INSERT INTO t SELECT generate_series(1, 100)",
    (
        "CREATE FUNCTION waits(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS"
        " 'BEGIN PERFORM pg_catalog.pg_advisory_xact_lock_shared(77); RETURN i; END'"
    ),
)
INDEX = "CREATE INDEX slow ON public.t (public.waits(i))"
BUILDING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%slow%'"
WAITING = f"{BUILDING} AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()"


@contextmanager
def held(url: str) -> Iterator[Callable[[], None]]:
    """Hold the lock that the index needs; give what releases it."""
    with closing(psycopg2.connect(url)) as session, session.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(77)")
        yield session.close


def wait_until(url: str, query: str, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while value(url, query) != count:
        assert time.monotonic() < deadline, query
        time.sleep(0.05)


@pytest.fixture
def database(server_of_major: Callable[[int], PostgresServer], request: pytest.FixtureRequest) -> Iterator[str]:
    server = server_of_major(request.param)
    url = with_password(server.create_database("outlives"))
    run(url, *SLOW)
    yield url
    server.drop_database("outlives")


@pytest.mark.parametrize("database", [14, 15, 16, 17, 18], indirect=True)
@pytest.mark.parametrize("lasts", [True, False], ids=["lasting", "in a transaction"])
def test_an_index_is_finished_and_committed_when_its_client_is_killed_unless_it_is_in_a_transaction(
    database: str, lasts: bool
) -> None:
    connection = Children(run_id=new_id()).watching(parse_secret(database, where="test"))

    def build() -> None:
        with connect(connection, lasts=lasts) as session, session.cursor() as cursor:
            cursor.execute(f"{INDEX}; COMMENT ON INDEX public.slow IS 'all of one message'")
            session.commit()

    with held(database) as release:
        pid = forked(build)
        wait_until(database, WAITING, 1)

        os.kill(pid, signal.SIGKILL)
        assert was_killed(pid)

        assert value(database, WAITING) == 1
        release()
    wait_until(database, f"{BUILDING} AND pid <> pg_backend_pid()", 0)
    found = rows(
        database, "SELECT indisvalid, obj_description(indexrelid) FROM pg_index WHERE indrelid = 't'::regclass"
    )
    assert found == ([(True, "all of one message")] if lasts else [])


def test_what_is_stopped_for_an_error_leaves_nothing_to_the_server(shop: str) -> None:
    children = Children(run_id=new_id())
    connection = children.watching(parse_secret(shop, where="test"))
    run(shop, *SLOW)
    errors: list[Exception] = []

    def build() -> None:
        try:
            with connect(connection, lasts=True) as session, session.cursor() as cursor:
                cursor.execute(INDEX)
        except psycopg2.Error as error:
            errors.append(error)

    with held(shop):
        thread = threading.Thread(target=build)
        thread.start()
        wait_until(shop, WAITING, 1)

        children.end_all()

        thread.join(PATIENCE_SECONDS)
        assert value(shop, f"{BUILDING} AND pid <> pg_backend_pid()") == 0
    assert len(errors) == 1
    assert rows(shop, "SELECT 1 FROM pg_class WHERE relname = 'slow'") == []


def test_an_index_that_takes_longer_than_an_invocation_is_built_once(
    round_trip: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coffre.operations.restore_database.job.MARKED_BYTES", 0)
    round_trip.fill(*SLOW, INDEX, "CREATE INDEX quick ON t (i)")
    backup, coffre, copy = round_trip.back_up(), round_trip.coffre, round_trip.copy
    run(round_trip.server.dsn(), f'CREATE DATABASE "{copy.rpartition("/")[2]}" TEMPLATE template0')
    coffre.secret("coffre/database/destination", copy)
    event = {"backup_id": backup.id, "destination": "coffre/database/destination", "restore_id": new_id()}
    seen: list[Any] = []

    with held(copy) as release:

        def looks(_: float) -> None:
            if not seen:
                seen.extend(
                    rows(
                        copy,
                        "SELECT application_name FROM pg_stat_activity WHERE query LIKE '%INDEX slow%'"
                        " AND pid <> pg_backend_pid()",
                    )
                )
            release()

        def context() -> Context:
            # Less than half of the reserve: what is being built by then is left to the server.
            is_first = not value(copy, WAITING)
            return Context(lambda: 40.0 if is_first and value(copy, WAITING) else 900.0, function_name="restore")

        monkeypatch.setattr(saved_steps, "time", SimpleNamespace(sleep=looks))
        answers, report = chain(coffre, event, context)

    assert [answer["status"] for answer in answers] == ["IN_PROGRESS", "COMPLETED"]
    assert seen == [(f"coffre-{event['restore_id'].lower()}-lasting",)]
    assert report.exceptions == ()
    assert rows(
        copy, "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = 't'::regclass ORDER BY 1"
    ) == [("quick", True), ("slow", True)]
    assert coffre.catalog.get_restore(event["restore_id"]).status is Status.COMPLETED


CANCEL = (
    "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name LIKE 'coffre-%-lasting'"
)


def test_where_a_pooler_cancels_what_outlives_its_client_all_stays_and_one_command_continues(
    round_trip: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coffre.operations.restore_database.job.MARKED_BYTES", 0)
    round_trip.fill(*SLOW, INDEX, "CREATE INDEX quick ON t (i)")
    backup, coffre, copy = round_trip.back_up(), round_trip.coffre, round_trip.copy
    another = round_trip.back_up()
    coffre.secret("coffre/database/destination", copy)
    event = {"backup_id": backup.id, "destination": "coffre/database/destination", "restore_id": new_id()}
    resuming = {**event, "resume": event["restore_id"]}
    time, invocations = Time(monkeypatch, 1), 0

    def refused(code: str, kind: type[CoffreError], **changes: str) -> None:
        with pytest.raises(kind) as caught:
            coffre.restore_function().handle(
                {**resuming, **changes, "restore_id": new_id()}, Context(function_name="restore")
            )
        assert caught.value.code == code

    with ExitStack() as stack:

        def context() -> Context:
            nonlocal invocations
            invocations += 1
            if invocations == 1:  # it makes the database, and loads the rows
                return time.context()
            if invocations == 2:
                stack.enter_context(held(copy))
                refused("RESTORE_RUNNING", BackupStateError)
            value(copy, CANCEL)
            wait_until(copy, f"{BUILDING} AND pid <> pg_backend_pid()", 0)
            return Context(lambda: 40.0 if value(copy, WAITING) else 900.0, function_name="restore")

        with pytest.raises(CoffreError) as stuck:
            chain(coffre, event, context)
        value(copy, CANCEL)

    assert stuck.value.code == "RESTORE_STUCK"
    command = f"coffre restore database {backup.id} --to ADDRESS --resume {event['restore_id']} --here"
    assert command in str(stuck.value.hint)
    assert command in coffre.alerts()[-1]["Message"]
    loaded = "SELECT count(*), min(xmin::text), max(xmin::text) FROM t"
    before = rows(copy, loaded)
    refused("RESUME_OTHER", CoffreError, backup_id=another.id)
    refused("RESUME_OTHER", CoffreError, contents="schema")
    refused("RESUME_MISSING", CoffreError, resume=new_id())
    assert rows(copy, loaded) == before

    answers, report = chain(coffre, {**resuming, "restore_id": new_id()}, lambda: Context(function_name="restore"))

    assert [answer["status"] for answer in answers] == ["COMPLETED"]
    assert report.exceptions == ()
    assert report.created_database
    assert rows(copy, loaded) == before, "the rows were loaded again"
    assert rows(
        copy, "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = 't'::regclass ORDER BY 1"
    ) == [("quick", True), ("slow", True)]
    assert rows(copy, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'coffre%'") == []
