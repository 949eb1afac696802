"""Functions whose time runs out: they stop by themselves, say so, and leave nothing running."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import psycopg2
import pytest
from tests.integration.conftest import Coffre, Context, run_sql, with_password
from tests.integration.contents import no_session_stays
from tests.integration.expect import failed_backup, failed_restore
from tests.integration.faults import children, during_copy

from coffre.operations.runs import heartbeat
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.connect import connect
from coffre.postgres.connection.connection_secret import parse_secret
from coffre_local.postgres_server import PostgresServer
from coffre_local.sample import fingerprint

# Long enough for the slowest machine; a test that works never waits for it.
PATIENCE_SECONDS = 60.0


class Hourglass(Context):
    """A context with plenty of time until `run_out`, and then with just enough to say so."""

    def __init__(self, function_name: str = "backup-database") -> None:
        self._remaining = 900.0
        super().__init__(remaining=lambda: self._remaining, function_name=function_name)

    def run_out(self) -> None:
        self._remaining = heartbeat.DEADLINE_RESERVE_SECONDS - 1


@pytest.fixture(autouse=True)
def quick_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the hourglass more often than every five seconds."""
    monkeypatch.setattr(heartbeat.Watch, "_next_wait", lambda self: 0.05)


@pytest.fixture(scope="module")
def large(postgres_server: PostgresServer) -> Iterator[str]:
    """A database with one table of 36 MB."""
    url = postgres_server.create_database("deadline")
    run_sql(
        url,
        "CREATE TABLE measurements AS"
        " SELECT n AS id, repeat(md5(n::text), 10) AS value FROM generate_series(1, 100000) AS n",
    )
    yield with_password(url)
    postgres_server.drop_database("deadline")


@pytest.fixture
def destination(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.create_database("deadline_destination")
    yield with_password(url)
    postgres_server.drop_database("deadline_destination")


def leaves_nothing(url: str) -> None:
    assert children() == []
    no_session_stays(url)


def wait_until_out(hourglass: Hourglass, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the time run out, and go on when the watch has seen it."""
    end_all, ended = Children.end_all, threading.Event()

    def end_and_say_so(self: Children) -> None:
        end_all(self)
        ended.set()

    monkeypatch.setattr(Children, "end_all", end_and_say_so)

    def run_out() -> None:
        hourglass.run_out()
        assert ended.wait(PATIENCE_SECONDS)

    return run_out


def test_a_backup_without_time_does_not_begin(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)

    failed_backup(coffre, "DEADLINE", "time is nearly over", "timeout", context=Context(remaining=lambda: 15.0))

    assert coffre.objects() == {}


def test_a_backup_whose_time_runs_out_in_the_middle_stops_and_leaves_nothing(
    coffre: Coffre, large: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an older good backup
    coffre.configure(large)
    good = coffre.backup()["id"]

    # When the time of the next one runs out in the middle of a table
    hourglass = Hourglass()
    with monkeypatch.context() as slow:
        during_copy(slow, wait_until_out(hourglass, monkeypatch))
        failed_backup(coffre, "DEADLINE", "phase: tables", "up to 900 s", context=hourglass)

    # Then no process, no backend and no lock is left, and the next backup works
    leaves_nothing(large)
    assert coffre.backup()["status"] == "COMPLETED"
    assert [backup.id for backup in coffre.backups()][-1] == good


def test_a_backup_that_waits_for_a_lock_stops_at_its_deadline(coffre: Coffre, shop: str) -> None:
    """The holder asks the server and has no process that could be killed: its query is cancelled."""
    coffre.configure(shop, target={"limits": {"lock_timeout_seconds": 30}})
    hourglass = Hourglass()
    other = psycopg2.connect(shop)
    try:
        other.cursor().execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"

        def remaining() -> float:
            if run_sql(shop, waiting) != [(0,)]:
                hourglass.run_out()
            return hourglass._remaining

        hourglass.remaining = remaining
        failed_backup(coffre, "DEADLINE", context=hourglass)
    finally:
        other.close()
    leaves_nothing(shop)


def test_a_backup_that_is_committed_when_its_time_runs_out_is_a_backup(
    coffre: Coffre, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre.configure(shop)
    hourglass = Hourglass()
    run_out = wait_until_out(hourglass, monkeypatch)
    store = coffre.backup_function().services.vault.store
    put = store.put

    def put_and_run_out(key: str, *arguments: object, **named: object) -> None:
        put(key, *arguments, **named)  # type: ignore[arg-type]
        if key.endswith("/manifest.json"):
            run_out()

    monkeypatch.setattr(store, "put", put_and_run_out)

    assert coffre.backup(hourglass)["status"] == "COMPLETED"
    assert coffre.alerts() == []


def test_a_server_notices_by_itself_that_a_function_died(coffre: Coffre, shop: str) -> None:
    """Its own default is two hours, in which a backup's locks and its snapshot would stay (field note 25)."""
    with connect(parse_secret(shop, where="test")) as session, session.cursor() as cursor:
        found = {}
        for name in ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count"):
            cursor.execute(f"SHOW {name}")
            found[name] = int((cursor.fetchone() or ("0",))[0])

    idle, interval, count = found.values()
    assert 0 < idle + interval * count <= 90


# --- restores ---


def test_a_restore_without_time_does_not_begin(coffre: Coffre, shop: str, new_database: str) -> None:
    coffre.configure(shop)
    done = coffre.backup()

    failed_restore(
        coffre,
        "DEADLINE",
        backup_id=done["id"],
        destination=new_database,
        context=Context(remaining=lambda: 15.0, function_name="restore"),
    )


# A step of a restore that takes much longer than the test: rows, an index, a materialized view.
SLOW = "CREATE FUNCTION slow(id bigint) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN {} RETURN id; END $$"
DAWDLE = "PERFORM CASE WHEN current_database() ~ 'destination|new_' THEN pg_sleep(0.5) END;"


@pytest.mark.parametrize(
    ("step", "query"),
    [
        ("ALTER TABLE orders ADD CHECK (slow(id) = id)", "COPY%orders%"),
        ("CREATE INDEX slowly ON orders (slow(id))", "%CREATE INDEX slowly%"),
        ("CREATE MATERIALIZED VIEW slowly AS SELECT slow(id) FROM orders", "%REFRESH MATERIALIZED VIEW%"),
    ],
)
@pytest.mark.parametrize("existing", [True, False])
def test_a_restore_whose_time_runs_out_stops_in_every_phase_and_leaves_nothing(
    coffre: Coffre, shop: str, destination: str, new_database: str, step: str, query: str, existing: bool
) -> None:
    # Given a backup with a step that is slow at its destination only
    run_sql(shop, SLOW.format(DAWDLE), step)
    coffre.configure(shop)
    done = coffre.backup()

    # When the time runs out while the server is busy with it
    hourglass = Hourglass("restore")

    def remaining() -> float:
        busy = (
            f"SELECT count(*) FROM pg_stat_activity WHERE query LIKE '{query}' AND state = 'active'"
            " AND query NOT LIKE 'SELECT count%'"  # another thread that asks this
        )
        if run_sql(shop, busy) != [(0,)]:
            hourglass.run_out()
        return hourglass._remaining

    hourglass.remaining = remaining
    url = destination if existing else new_database
    failed_restore(coffre, "DEADLINE", "phase", backup_id=done["id"], destination=url, context=hourglass)

    # Then nothing works on, and what is left is said
    leaves_nothing(shop)
    (restore,) = coffre.catalog.restores()
    assert restore.failure is not None
    left = "holds a part of the backup" if existing else "was dropped again"
    assert left in restore.failure.message
    if not existing:
        run_sql(shop, "CREATE OR REPLACE " + SLOW.format("").removeprefix("CREATE "))
        coffre.restore(str(coffre.backup()["id"]), new_database)
        assert fingerprint(new_database) == fingerprint(shop)
