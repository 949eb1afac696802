"""Journals of databases as providers give them: their roles, plugins, poolers and limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.conftest import Coffre
from tests.integration.contents import database_of, value
from tests.integration.journal_vault import job_of
from tests.providers.pooler import pgbouncer
from tests.providers.servers import PASSWORD, ProviderServer, execute

from coffre.model.errors import CoffreError
from coffre.model.journal_options import JournalOptions
from coffre.operations.journal.catalog_state import ownership
from coffre.operations.journal.drain import drain
from coffre.operations.journal.job import JournalJob
from coffre.operations.journal.switch_off import switch_off
from coffre.policy.checks.check import Finding
from coffre.policy.checks.journal import journal_not_possible, journal_wal_limit
from coffre.postgres.connection.connect import connect, connect_bare
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.postgres.inspection.journal import read_journal_server
from coffre.postgres.inspection.sessions import reading
from coffre.postgres.journal.slot_changes import lines
from coffre.postgres.journal.stream import stream

TABLE = "CREATE TABLE public.notes (id int PRIMARY KEY, v text)"
SLOTS = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
ROLE = "coffre_backup"


@pytest.fixture
def journal(coffre: Coffre, tmp_path: Path) -> Callable[[str], JournalJob]:
    """Return the journal of a database at a URL."""

    def job(url: str) -> JournalJob:
        folder = tmp_path / f"vault-{database_of(url)}"
        return job_of(parse_secret(url, where="the test"), coffre.catalog, folder, coffre.identity)

    return job


@pytest.fixture
def role(request: pytest.FixtureRequest) -> Iterator[Callable[[ProviderServer, str], str]]:
    """Make a role for backups, as the administrator, and return its URL of a database."""
    made: list[tuple[ProviderServer, str]] = []

    def make(server: ProviderServer, url: str) -> str:
        execute(url, f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        made.append((server, url))
        return server.url(database_of(url), ROLE)

    yield make
    for server, _ in made:
        execute(server.server.dsn("template1"), f"DROP ROLE {ROLE}")


@contextmanager
def refused(code: str, says: str = "") -> Iterator[None]:
    with pytest.raises(CoffreError) as caught:
        yield
    assert caught.value.code == code
    assert says in f"{caught.value.message} {caught.value.detail} {caught.value.hint}"


def stores_a_change(job: JournalJob, url: str) -> None:
    """It begins with one slot, and the next drain has what was written."""
    drain(job)
    execute(url, "INSERT INTO public.notes VALUES (1, 'x')")
    assert drain(job).transactions == 1
    assert value(url, SLOTS) == 1


def found(url: str) -> list[str | None]:
    """What doctor finds of a journal's server, by subject."""
    with connect(parse_secret(url, where="the test")) as session, reading(session) as query:
        server = read_journal_server(query, JournalOptions())
    judged = (*journal_not_possible.judge(server), *journal_wal_limit.judge(server))
    return [one.subject for one in judged if isinstance(one, Finding)]


def test_at_supabase_the_session_pooler_carries_a_journal_and_the_transaction_pooler_is_refused(
    supabase: ProviderServer, pgbouncer_root: Path, journal: Callable[[str], JournalJob]
) -> None:
    url = supabase.project(template="fresh")
    execute(url, TABLE)
    job = journal(url)

    def through(port: int) -> JournalJob:
        return replace(job, connection=replace(job.connection, port=port))

    with pgbouncer(pgbouncer_root, supabase.server.port, "transaction") as port:
        with refused("TRANSACTION_POOLER", "session mode"):
            drain(through(port))
        assert value(url, SLOTS) == 0
        with pgbouncer(pgbouncer_root, supabase.server.port, "session") as by_session:
            stores_a_change(through(by_session), url)
            execute(url, "BEGIN; SET LOCAL synchronous_commit = on; INSERT INTO public.notes VALUES (2, 'y'); COMMIT")
            state = job.journals.find(job.target)
            assert state is not None
            with refused("JOURNAL_NO_STREAM", "no pooler's"):
                list(stream(through(by_session).connection, ownership(state), state.stored_lsn, lambda: None))
        # Another client has the process of the server in which the settings were made.
        with connect(through(port).connection) as session, connect_bare(through(port).connection) as other:
            assert list(lines(session, state.slot or "", 1 << 40))
            with other, other.cursor() as cursor:
                cursor.execute("SELECT")
                with refused("TRANSACTION_POOLER"):
                    list(lines(session, state.slot or "", 1 << 40))
    assert switch_off(job)
    assert value(url, SLOTS) == 0


def test_at_rds_a_role_needs_rds_replication_and_a_slot_that_is_free(
    rds: ProviderServer, role: Callable[[ProviderServer, str], str], journal: Callable[[str], JournalJob]
) -> None:
    url, other = rds.project(), rds.project()
    execute(url, TABLE)
    reader = role(rds, url)
    assert found(reader) == ["role", None]  # no limit of the WAL either, as RDS has it
    job = journal(reader)
    with refused("JOURNAL_NOT_POSSIBLE", "GRANT rds_replication"):
        drain(job)
    execute(url, f"GRANT rds_replication TO {ROLE}")
    assert found(reader) == [None]
    execute(rds.url(database_of(url), "rdsadmin"), f"ALTER ROLE {ROLE} REPLICATION")  # what the grant is at RDS
    stores_a_change(job, url)

    second = rds.url(database_of(other), "rdsadmin")
    execute(second, "SELECT pg_create_logical_replication_slot('of_another_program', 'pgoutput')")
    full = journal(rds.url(database_of(other), ROLE))
    full = replace(full, target="other")
    with refused("JOURNAL_NOT_POSSIBLE", "all replication slots are in use"):
        drain(full)
    assert found(second) == ["slots", None]
    execute(second, "SELECT pg_drop_replication_slot('of_another_program')")
    drain(full)
    assert switch_off(full)
    assert switch_off(job)


def test_without_rds_logical_replication_nothing_begins(
    empty_database: str, journal: Callable[[str], JournalJob]
) -> None:
    job = journal(empty_database)

    with refused("JOURNAL_NOT_POSSIBLE", "wal_level = logical"):
        drain(job)
    assert found(empty_database) == ["wal_level", None]
    state = job.journals.find(job.target)
    assert state is not None
    assert (state.interval, state.error) == (None, "JOURNAL_NOT_POSSIBLE")


def test_at_neon_a_journal_takes_pgoutput_by_itself_and_needs_a_publication(
    neon: ProviderServer, role: Callable[[ProviderServer, str], str], journal: Callable[[str], JournalJob]
) -> None:
    url = neon.project()
    execute(url, TABLE)
    reader = role(neon, url)
    job = journal(reader)

    with refused("JOURNAL_NOT_POSSIBLE", "REPLICATION"):
        drain(replace(job, plugin="test_decoding"))
    execute(url, f"ALTER ROLE {ROLE} REPLICATION")
    with refused("JOURNAL_NOT_POSSIBLE", "test_decoding"):
        drain(replace(job, plugin="test_decoding"))
    with refused("JOURNAL_PUBLICATION"):
        drain(job)
    execute(url, "CREATE PUBLICATION coffre FOR TABLE public.notes")  # as the owner of the table, who is no superuser
    stores_a_change(job, url)
    assert value(url, "SELECT plugin::text FROM pg_replication_slots") == "pgoutput"
    assert switch_off(job)
