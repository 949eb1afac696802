"""Drills in the command's own process (`--here`), and into an empty server that a person gives (`--scratch`)."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest
from tests.integration.conftest import PASSWORD, SHOP, Coffre, run_sql
from tests.integration.drills import report_of
from tests.integration.here_scene import here, interrupt_when, stack
from tests.integration.vault_copies import Command

from coffre.model.backup import Backup
from coffre.model.drill import Outcome
from coffre.model.drill_report import Verdict
from coffre.operations.drill import group as drill_group
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.sessions import loading_session
from coffre.operations.restore_database.whole_database import restore_whole
from coffre.postgres.scratch.given_server import _GUARD_KEY, _MARK, DATABASE
from coffre_local.postgres_server import PostgresServer
from coffre_local.toolchain import Toolchain

__all__ = ["here", "stack"]

WANTED = (
    "CREATE ROLE seller",
    "CREATE TABLE sales (id int PRIMARY KEY, customer int REFERENCES customers)",
    "INSERT INTO sales SELECT n, n FROM generate_series(1, 20) n",
    "ALTER TABLE sales OWNER TO seller",
    "ALTER TABLE sales ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE sales FORCE ROW LEVEL SECURITY",
    "CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM orders",
)


_OTHERS = (
    "SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' "
    "AND application_name <> 'busy'"
)


@pytest.fixture(scope="module")
def empty_server(toolchain: Toolchain) -> Iterator[PostgresServer]:
    """A server without databases of anybody's, whose role `helper` is no superuser."""
    with PostgresServer(toolchain.postgresql(18)) as server:
        run_sql(server.dsn(), "CREATE ROLE helper LOGIN CREATEDB CREATEROLE")
        yield server


@pytest.fixture
def given(empty_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Its URL as the role `helper`, in the variable EMPTY; afterwards it is as it was before."""
    before = contents_of(empty_server.dsn())
    url = as_role(empty_server.dsn(), "helper")
    monkeypatch.setenv("EMPTY", url)
    yield url
    assert contents_of(empty_server.dsn()) == before


def as_role(url: str, role: str) -> str:
    parts = urlsplit(url)
    return f"postgresql://{role}:unused@{parts.netloc.rpartition('@')[2]}{parts.path}?sslmode=disable"


def contents_of(url: str) -> set[tuple[str, ...]]:
    """Everything that a drill could leave on a server: databases, roles, memberships. Its sessions have to end."""
    while run_sql(url, _OTHERS):
        time.sleep(0.05)
    return {
        *run_sql(url, "SELECT 'database', datname::text FROM pg_database"),
        *run_sql(url, "SELECT 'role', rolname::text FROM pg_roles"),
        *run_sql(url, "SELECT 'member', member::regrole::text || roleid::regrole::text FROM pg_auth_members"),
    }


@pytest.fixture
def backup(stack: Coffre, shop: str) -> Backup:
    run_sql(shop, *WANTED)
    check = {"name": "orders", "query": "SELECT count(*) FROM orders", "expect": 1000}
    stack.configure(shop, target={"drill": {"checks": [check]}})
    made = stack.catalog.get_backup(stack.backup()["id"])
    stack.alerts()
    return made


def test_a_drill_here_uses_a_server_of_its_own(
    stack: Coffre, backup: Backup, here: Command, postgresql_home: Path
) -> None:
    said = here("verify", "--level", "drill", "latest", "--here", "--postgres-home", postgresql_home)

    assert said.status == 0, said.err
    report = report_of(stack, backup)
    assert (report.outcome, report.rows) == (Outcome.PASSED, 1070)
    assert stack.catalog.get_backup(backup.id).verified_at == report.completed_at


def test_a_drill_into_a_given_server_proves_everything_as_a_plain_role(
    stack: Coffre, backup: Backup, here: Command, given: str, empty_server: PostgresServer, postgresql_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Given a role that is no superuser, and what a killed drill has left: all is proven, and nothing is left."""
    run_sql(given, f"CREATE DATABASE {DATABASE}", "CREATE ROLE leftover", f"COMMENT ON ROLE leftover IS '{_MARK}'")
    run_sql(given.replace("/postgres?", f"/{DATABASE}?"), "CREATE TABLE leftover (id int)")

    said = here("verify", "--level", "drill", "latest", "--scratch", "env:EMPTY")

    assert said.status == 0, said.err + said.out
    report = report_of(stack, backup)
    assert {one.table: one.verdict for one in report.tables} == {
        "public.customers": Verdict.EQUAL,
        "public.orders": Verdict.EQUAL,
        "public.sales": Verdict.EQUAL,
    }
    assert (report.outcome, report.groups, report.structure.foreign_keys) == (Outcome.PASSED, 1, 2)
    assert [(check.name, check.passed) for check in report.checks] == [("orders", True)]
    assert 'Pages and indexes were not checked: the role "helper" is no superuser.' in report.exceptions
    assert "Removing what the drill made" in said.err

    # As a superuser, whose pages are checked: another role restores.
    monkeypatch.setenv("EMPTY", as_role(empty_server.dsn(), "postgres"))
    restorers: list[str] = []

    def watched(job: RestoreJob, source: Source, found: ReportBuilder) -> None:
        restorers.append(job.connection.user)
        restore_whole(job, source, found)

    monkeypatch.setattr(drill_group, "restore_whole", watched)
    said = here("verify", "--level", "drill", "latest", "--scratch", "env:EMPTY", "--postgres-home", postgresql_home)

    assert said.status == 0, said.err + said.out
    assert report_of(stack, backup).structure.amcheck is not None
    assert [role.startswith("drill_") for role in restorers] == [True]


def test_a_container_that_is_stopped_leaves_the_given_server_empty_and_reports_it(
    stack: Coffre, backup: Backup, here: Command, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a restore that waits at the server: SIGTERM comes, which is heard as Ctrl-C."""

    def wait_at_server(job: RestoreJob, source: Source, report: ReportBuilder) -> None:
        run_sql(given, f"CREATE DATABASE {DATABASE}")
        with loading_session(job) as session, session.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(600)")

    def sleeps() -> bool:
        return run_sql(given, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") != [(0,)]

    monkeypatch.setattr(drill_group, "restore_whole", wait_at_server)
    threading.Thread(target=interrupt_when, args=(sleeps, signal.SIGTERM), daemon=True).start()

    said = here("verify", "--level", "drill", "latest", "--scratch", "env:EMPTY")

    assert said.status == 130
    assert "The drill was interrupted on the machine where it ran. [INTERRUPTED]" in said.err
    kinds = [alert["MessageAttributes"]["kind"]["Value"] for alert in stack.alerts()]
    assert kinds == ["DRILL_FAILED"], "it says that the drill stopped, and nothing about the backup"


# --- refused ---


def filled(url: str) -> Callable[[], object]:
    run_sql(url, "CREATE DATABASE theirs")
    run_sql(url.replace("/postgres?", "/theirs?"), "CREATE TABLE precious (id int)")
    return lambda: run_sql(url, "DROP DATABASE theirs")


def in_use(url: str) -> Callable[[], object]:
    session = psycopg2.connect(url, application_name="busy")
    cursor = session.cursor()
    cursor.execute("SELECT pg_advisory_lock(%s)", (_GUARD_KEY,))

    def end() -> None:
        cursor.execute("SELECT pg_advisory_unlock(%s)", (_GUARD_KEY,))
        session.close()

    return end


def test_a_server_that_cannot_be_used_is_refused_and_keeps_what_it_has(
    stack: Coffre, backup: Backup, shop: str, here: Command, empty_server: PostgresServer, given: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for make, code in ((filled, "SCRATCH_NOT_EMPTY"), (in_use, "SCRATCH_BUSY")):
        end = make(given)
        before = contents_of(empty_server.dsn())

        said = here("verify", "--level", "drill", "latest", "--scratch", "env:EMPTY")

        kept = contents_of(empty_server.dsn())
        end()
        assert said.status == 1
        assert f"[{code}]" in said.err
        assert kept == before
    monkeypatch.setenv("SOURCE", shop)
    run_sql(empty_server.dsn(), "ALTER ROLE helper NOCREATEDB")

    source = here("verify", "--level", "drill", "latest", "--scratch", "env:SOURCE")
    without = here("verify", "--level", "drill", "latest", "--scratch", "env:EMPTY")
    in_argument = here("verify", "--level", "drill", "latest", "--scratch", "postgresql://a:b@db.example/x")

    run_sql(empty_server.dsn(), "ALTER ROLE helper CREATEDB")
    assert (source.status, without.status, in_argument.status) == (1, 1, 1)
    assert "[SCRATCH_IS_SOURCE]" in source.err
    assert "[SCRATCH_RIGHTS]" in without.err
    assert "[PASSWORD_IN_ARGUMENT]" in in_argument.err
    assert "--scratch env:EMPTY_SERVER" in in_argument.err
    assert PASSWORD not in source.err + without.err
    assert stack.alerts() == [], "a wrong address is no news about a backup"


@pytest.mark.parametrize("major", [13])  # 18 above; 14 to 17 were tried by hand, and lie between the two
def test_older_servers_are_used_as_a_plain_role_too(
    stack: Coffre, here: Command, toolchain: Toolchain, major: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given the source and the empty server of an older major."""
    with PostgresServer(toolchain.postgresql(major)) as server:
        shop = server.create_database("shop")
        run_sql(shop, SHOP, *WANTED)
        stack.configure(shop)
        made = stack.catalog.get_backup(stack.backup()["id"])
        server.drop_database("shop")
        run_sql(server.dsn(), "DROP ROLE seller", "CREATE ROLE helper LOGIN CREATEDB CREATEROLE")
        before = contents_of(server.dsn())
        monkeypatch.setenv("EMPTY", as_role(server.dsn(), "helper"))

        said = here("verify", "--level", "drill", "latest", "--scratch", "env:EMPTY")

        assert said.status == 0, said.err + said.out
        assert contents_of(server.dsn()) == before
    report = report_of(stack, made)
    assert report.outcome is Outcome.PASSED
    assert {one.verdict for one in report.tables} == {Verdict.EQUAL}
