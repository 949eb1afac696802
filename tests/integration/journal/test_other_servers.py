"""The address of a journal leads to a standby, a promoted standby, a new major version, or a restored copy."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extras import LogicalReplicationConnection
from tests.integration.exports import program, psql
from tests.integration.journal_scene import SETTINGS, Scene
from tests.integration.journal_vault import Journal, journal_of

from coffre.catalog.catalog import Catalog
from coffre.model.errors import JournalError
from coffre.model.journal import JournalEnd
from coffre.operations.journal.guard import guard
from coffre_local.cluster import Cluster
from coffre_local.postgres_server import PostgresServer, ServerOptions
from coffre_local.toolchain import Toolchain

_OLD, _NEW = 17, 18
_SETTINGS = {**SETTINGS, "max_wal_senders": "5", "hot_standby_feedback": "on", "primary_slot_name": "standby"}


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that the servers' user can enter."""
    with tempfile.TemporaryDirectory(prefix="coffre-servers-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def leads_to(journal: Journal, server: PostgresServer) -> None:
    """Let the address of a journal lead to another server."""
    scene = journal.scene
    scene.server = server
    journal.job = replace(journal.job, connection=scene.connection(scene.name))
    scene.session, scene.reader = scene.writer(), scene.connect()


def ask(server: PostgresServer, statement: str, database: str = "postgres") -> list[object]:
    with closing(psycopg2.connect(server.dsn(database))) as session, session.cursor() as cursor:
        session.autocommit = True
        cursor.execute(statement)
        return [value for (value,) in cursor]


def slots(server: PostgresServer) -> list[object]:
    return ask(server, "SELECT slot_name::text FROM pg_replication_slots WHERE slot_type = 'logical'")


def run_as(cluster: Cluster, name: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs as the user of a server."""
    done = subprocess.run(
        [cluster.program(name), *arguments],
        env=cluster.environment(),
        cwd=cluster.directory,
        user=cluster.user,
        group=cluster.user,
        extra_groups=None if cluster.user is None else [],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def made_for(cluster: Cluster, directory: Path) -> Path:
    directory.mkdir(mode=0o755)
    if cluster.user is not None:
        os.chown(directory, cluster.user, cluster.user)
    return directory


def standby_of(primary: PostgresServer, directory: Path, home: Path) -> PostgresServer:
    """Make a standby, which streams."""
    made_for(primary.cluster, directory)
    ask(primary, "SELECT pg_create_physical_replication_slot('standby', true)::text")
    quickly = ("--checkpoint=fast", "--no-sync")
    run_as(primary.cluster, "pg_basebackup", *quickly, f"--pgdata={directory / 'data'}", "--dbname", primary.dsn())
    (directory / "data" / "standby.signal").touch()
    follows = f"host=127.0.0.1 port={primary.port} user=postgres dbname=postgres"
    settings = {**_SETTINGS, "primary_conninfo": follows}
    return PostgresServer(home, ServerOptions(settings=settings), directory=directory, keep=True)


def synchronize(journal: Journal, standby: PostgresServer) -> None:
    """Mark the slot as one for failovers, as an administrator can, and copy it to the standby."""
    primary, database = journal.scene.server, journal.scene.name
    replicating = psycopg2.connect(primary.dsn(database), connection_factory=LogicalReplicationConnection)
    with closing(replicating) as session, session.cursor() as cursor:
        cursor.execute(f"ALTER_REPLICATION_SLOT {journal.state.slot} (FAILOVER true)")
    while not ask(standby, "SELECT 1 FROM pg_replication_slots WHERE synced AND NOT temporary"):
        # It is only copied when it needs no more than the standby has.
        [lsn] = ask(primary, "SELECT pg_log_standby_snapshot()::text")
        while not ask(primary, f"SELECT 1 WHERE pg_current_wal_flush_lsn() >= '{lsn}'"):
            time.sleep(0.01)
        assert journal.drain().ended == ()
        while not ask(standby, f"SELECT 1 WHERE pg_last_wal_replay_lsn() >= '{lsn}'"):
            time.sleep(0.01)
        ask(standby, "SELECT pg_sync_replication_slots()::text")


def upgraded(old: PostgresServer, directory: Path, home: Path) -> PostgresServer:
    """Upgrade a server that is stopped."""
    before = old.cluster
    made_for(before, directory)
    cluster = Cluster(home, directory, before.user)
    new = directory / "data"
    run_as(
        *(cluster, "initdb", "--no-sync", "--locale=C", "--encoding=UTF8", "--username=postgres", "--auth=trust"),
        *("--no-data-checksums", f"--pgdata={new}"),
    )
    options = "-c wal_level=logical -c fsync=off"
    run_as(
        *(cluster, "pg_upgrade", "--username=postgres", "--no-sync", "--link", "-o", options, "-O", options),
        *("-b", f"{before.home / 'bin'}", "-B", f"{home / 'bin'}", "-d", f"{before.data}", "-D", f"{new}"),
    )
    return PostgresServer(home, ServerOptions(settings=SETTINGS), directory=directory, keep=True)


def begins_again(journal: Journal, reason: JournalEnd, says: str) -> None:
    """A drain at another server ends the interval where it was stored, leaves one slot, and asks for a base."""
    before = journal.state
    report = journal.drain()

    [(interval, end)] = report.ended
    assert (interval, end.reason, end.stored_lsn) == (before.interval, reason, before.stored_lsn)
    assert says in end.text
    assert slots(journal.scene.server) == [report.state.slot] != [before.slot]
    assert report.state.base_wanted_at is not None
    assert journal.drain().ended == ()
    journal.known.append(journal.base())
    assert journal.drain().state.base_wanted_at is None


def test_a_server_that_was_stopped_continues_and_a_standby_or_new_major_begins_again(
    toolchain: Toolchain, journal_catalog: Catalog, place: Path, tmp_path: Path
) -> None:
    home, own = toolchain.postgresql(_OLD), ServerOptions(settings=_SETTINGS)
    with ExitStack() as running:
        first = running.enter_context(PostgresServer(home, own, directory=place / "first", keep=True))
        # Everything goes with the servers.
        journal = journal_of(Scene(first, home, tmp_path, "moves", ExitStack()), journal_catalog)
        journal.scene.run("CREATE TABLE one (id int PRIMARY KEY, v text)")
        journal.drain()
        journal.scene.run("INSERT INTO one VALUES (1)")
        journal.drain()
        begun = journal.state.interval

        journal.scene.run("INSERT INTO one VALUES (2)")
        first.stop()
        leads_to(journal, first.start())  # as a compute that was suspended
        report = journal.drain()
        assert (report.ended, report.transactions) == ((), 1)

        second = running.enter_context(standby_of(first, place / "second", home))
        leads_to(journal, second)
        with pytest.raises(JournalError, match="is a standby") as caught:
            journal.drain()
        assert caught.value.code == "JOURNAL_NOT_POSSIBLE"
        assert guard(journal.job) is None
        assert slots(second) == []
        assert journal.state.interval == begun

        leads_to(journal, first)
        journal.scene.run("INSERT INTO one VALUES (3)")  # the standby gets it, and no drain
        first.stop()
        ask(second, "SELECT pg_promote()")
        leads_to(journal, second)
        begins_again(journal, JournalEnd.SLOT_MISSING, "does not exist")

        slot = journal.state.slot
        third = running.enter_context(standby_of(second, place / "third", home))
        synchronize(journal, third)
        journal.scene.run("INSERT INTO one VALUES (4)")
        second.stop()
        ask(third, "SELECT pg_promote()")
        leads_to(journal, third)
        assert slots(third) == [slot]
        begins_again(journal, JournalEnd.TIMELINE, "timeline 3")

        slot = journal.state.slot
        third.stop()
        home = toolchain.postgresql(_NEW)
        fourth = running.enter_context(upgraded(third, place / "fourth", home))
        leads_to(journal, fourth)
        assert slots(fourth) == [slot]
        begins_again(journal, JournalEnd.TIMELINE, "is not the one")
        journal.scene.home = home
        journal.scene.take_base()
        journal.scene.run("INSERT INTO one VALUES (5)", "DELETE FROM one WHERE id < 3")
        assert journal.drain().transactions == 1
        journal.replay_all()


def test_a_database_that_was_dumped_and_restored_into_a_later_major_begins_again(
    make_journal: Callable[..., Journal], logical_server: Callable[[int], PostgresServer], tmp_path: Path
) -> None:
    journal = make_journal(15, "CREATE TABLE one (id int PRIMARY KEY)")
    scene, old, new = journal.scene, journal.scene.server, logical_server(18)
    journal.drain()
    scene.run("INSERT INTO one VALUES (1)")
    journal.drain()
    script = tmp_path / "all.sql"
    program(scene.home, "pg_dump", "--file", script, "--dbname", old.dsn(scene.name))
    new.create_database(scene.name)
    try:
        psql(scene.home, new.dsn(scene.name), script)
        leads_to(journal, new)
        begins_again(journal, JournalEnd.TIMELINE, "is not the one")
        journal.drop_slots()
    finally:
        scene.session.close()
        scene.reader.close()
        new.drop_database(scene.name)
    leads_to(journal, old)
