"""Servers that stop answering in the middle of a run, while their system keeps the connections: the run still ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
from tests.integration.conftest import Coffre, Context, run_sql, with_password
from tests.integration.contents import no_session_stays
from tests.integration.expect import failed_backup, failed_restore
from tests.integration.faults import StoppedServer, children, during_copy
from tests.integration.started import Started

from coffre.operations.runs.heartbeat import DEADLINE_RESERVE_SECONDS, Watch
from coffre.operations.runs.progress import Meter
from coffre.postgres.connection import client_tools as tools
from coffre.postgres.connection import connect, end_sessions
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.destination import copy_in as load
from coffre.postgres.scratch import server as scratch
from coffre_local.postgres_server import PostgresServer

STEPS = ("destination", "schema", "tables", "large objects and sequences", "count", "indexes and constraints")
DRILL_STEPS = ("schema", "tables", "count", "indexes and constraints", "compare", "structure", "pages", "checks")


class Sand(Context):
    """A context with plenty of time until `run_out`; from then on it has what is kept for ending, and no more."""

    def __init__(self, function_name: str) -> None:
        self._end: float | None = None
        super().__init__(remaining=self._left, function_name=function_name)

    def _left(self) -> float:
        return 900.0 if self._end is None else self._end - time.monotonic()

    def run_out(self) -> None:
        self._end = time.monotonic() + DEADLINE_RESERVE_SECONDS


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here answers: there is no need to wait for it as long as for a server."""
    monkeypatch.setattr(Watch, "_next_wait", lambda self: 0.05)
    monkeypatch.setattr(tools, "_CANCEL_SECONDS", 0.3)
    monkeypatch.setattr(tools, "_END_SECONDS", 0.3)
    monkeypatch.setattr(end_sessions, "_MOST_SECONDS", 1.0)
    monkeypatch.setattr(connect, "_CLEARING_CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(scratch, "_STOP_SECONDS", 0.5)
    monkeypatch.setattr(scratch, "_LAST_WORDS_SECONDS", 0.2)


@pytest.fixture
def server(shop: str) -> Iterator[StoppedServer]:
    """The server of the shop."""
    ((pid,),) = run_sql(shop, "SELECT min(pid) FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
    server = StoppedServer.of_backend(pid)
    yield server
    server.go_on()


@pytest.fixture
def destination(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.create_database("stopped_destination")
    yield with_password(url)
    postgres_server.drop_database("stopped_destination")


def stop_at(server: StoppedServer, sand: Sand) -> Callable[[], None]:
    """Stop a server, and a moment later, when whoever needs it waits for it, let the time run out."""

    def stop() -> None:
        server.stop()
        threading.Timer(0.3, sand.run_out).start()

    return stop


def at_phase(monkeypatch: pytest.MonkeyPatch, phase: str, fault: Callable[[], None]) -> None:
    """Let a fault happen when a phase begins for the first time."""
    begin, happened = Meter.begin, threading.Event()

    def begin_with_fault(self: Meter, name: str, **totals: int | None) -> None:
        begin(self, name, **totals)
        if name == phase and not happened.is_set():
            happened.set()
            fault()

    monkeypatch.setattr(Meter, "begin", begin_with_fault)


def at_program(monkeypatch: pytest.MonkeyPatch, fault: Callable[[], None]) -> None:
    """Let a fault happen when the first client program is to be started."""
    start, happened = Children.start, threading.Event()

    def start_with_fault(self: Children, *arguments: object, **named: object) -> object:
        if not happened.is_set():
            happened.set()
            fault()
        return start(self, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Children, "start", start_with_fault)


def ended_in_time(sand: Sand, server: StoppedServer, url: str) -> None:
    assert 0 < sand.remaining() < DEADLINE_RESERVE_SECONDS
    assert children() == []
    # And when the server goes on, nothing of ours does
    server.go_on()
    no_session_stays(url)


@pytest.mark.parametrize("phase", ["snapshot", "pg_dump", "tables", "rows"])
def test_a_backup_ends_at_its_deadline(
    coffre: Coffre, shop: str, server: StoppedServer, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    sand = Sand("backup-database")
    run_sql(
        shop, "INSERT INTO orders (customer, note) SELECT 1, repeat(md5(n::text), 30) FROM generate_series(1, 9999) n"
    )
    coffre.configure(shop)
    stop = stop_at(server, sand)
    if phase == "pg_dump":
        at_program(monkeypatch, stop)
    elif phase == "rows":
        during_copy(monkeypatch, stop)
    else:
        at_phase(monkeypatch, phase, stop)

    error = failed_backup(coffre, "DEADLINE", "phase", context=sand)

    assert "may still work at the server" in str(error.__notes__)
    ended_in_time(sand, server, shop)


@pytest.mark.parametrize("phase", STEPS)
def test_a_restore_into_a_new_database_ends_at_its_deadline(
    coffre: Coffre, shop: str, new_database: str, server: StoppedServer, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    sand = Sand("restore")
    coffre.configure(shop)
    done = coffre.backup()
    at_phase(monkeypatch, phase, stop_at(server, sand))

    error = failed_restore(coffre, "DEADLINE", "phase", backup_id=done["id"], destination=new_database, context=sand)

    assert "may still work at the server" in str(error.__notes__)
    if phase != "destination":
        assert "could not be dropped" in str(error.__notes__)
    ended_in_time(sand, server, shop)


@pytest.mark.parametrize("phase", ["tables", "indexes and constraints"])
def test_a_restore_into_an_empty_database_ends_at_its_deadline(
    coffre: Coffre, shop: str, destination: str, server: StoppedServer, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    sand = Sand("restore")
    coffre.configure(shop)
    done = coffre.backup()
    at_phase(monkeypatch, phase, stop_at(server, sand))

    error = failed_restore(coffre, "DEADLINE", backup_id=done["id"], destination=destination, context=sand)

    assert "may hold a part of the backup" in str(error.__notes__)
    ended_in_time(sand, server, shop)


def test_a_restore_ends_at_its_deadline_in_the_middle_of_rows(
    coffre: Coffre, shop: str, new_database: str, server: StoppedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than all buffers hold that are on the way."""
    sand = Sand("restore")
    run_sql(
        shop, "INSERT INTO orders (customer, note) SELECT 1, repeat(md5(n::text), 20) FROM generate_series(1, 30000) n"
    )
    coffre.configure(shop)
    done = coffre.backup()
    read, stop, happened = load._Chunks.read, stop_at(server, sand), threading.Event()

    def read_and_stop(self: load._Chunks, size: int) -> bytes:
        if not happened.is_set():
            happened.set()
            stop()
        return read(self, size)

    monkeypatch.setattr(load._Chunks, "read", read_and_stop)

    failed_restore(coffre, "DEADLINE", backup_id=done["id"], destination=new_database, context=sand)

    ended_in_time(sand, server, shop)


@pytest.mark.parametrize("phase", DRILL_STEPS)
def test_a_drill_ends_at_its_deadline_and_its_server_with_it(
    coffre: Coffre, shop: str, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    before = postmasters().keys()

    def postmaster() -> psutil.Process:
        (ours,) = (process for pid, process in postmasters().items() if pid not in before)
        return ours

    sand, server = Sand("drill"), StoppedServer(postmaster)
    coffre.configure(shop, target={"drill": {"checks": [{"name": "one", "query": "SELECT 1", "expect": 1}]}})
    backup = coffre.catalog.get_backup(coffre.backup()["id"])
    at_phase(monkeypatch, phase, stop_at(server, sand))
    vars(coffre.drill_function().services)["functions"] = started = Started()
    coffre.alerts()
    try:
        coffre.drill(sand)

        assert sand.remaining() > 0
        # The next invocation takes less at a time.
        assert [(event["backup_id"], event["invocation"]) for event in started.events] == [(backup.id, 2)]
        assert coffre.alerts() == []
        assert postmasters().keys() - before == set()
    finally:
        server.go_on()


def postmasters() -> dict[int, psutil.Process]:
    """The first processes of all servers: others come and go, those of a closed session a moment after it."""
    found = {one.pid: one for one in psutil.Process().children(recursive=True) if is_postgres(one)}
    return {pid: process for pid, process in found.items() if parent_of(process) not in found}


def is_postgres(process: psutil.Process) -> bool:
    """Whether a process is a server's, and still lives: it can end while it is looked at."""
    try:
        return process.name().startswith("postgres") and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def parent_of(process: psutil.Process) -> int | None:
    """Return the pid of a process's parent; of one that has ended a pid that is among its own kind's."""
    try:
        return int(process.ppid())
    except psutil.NoSuchProcess:
        return int(process.pid)
