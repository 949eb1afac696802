"""The local PostgreSQL server starts where tests and demos need it and leaves nothing behind."""

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import psycopg2
import pytest
from tests.shared_server import own_databases

from coffre_local.errors import ServerError
from coffre_local.postgres_server import PostgresServer, ServerOptions
from coffre_local.processes import ProcessMark
from coffre_local.toolchain import POSTGRESQL_MAJORS, Toolchain


def ask(dsn: str, query: str) -> object:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        row = cursor.fetchone()
        return None if row is None else row[0]


def family(mark: ProcessMark) -> list[psutil.Process]:
    process = psutil.Process(mark.pid)
    return [process, *process.children(recursive=True)]


def is_gone(process: psutil.Process) -> bool:
    # A process that nobody collects stays as a zombie where the first process of the machine does not do so.
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_stopped_server_leaves_no_process_and_no_directory(toolchain: Toolchain) -> None:
    with PostgresServer(toolchain.embedded_postgresql()) as server:
        assert server.mark is not None
        directory, processes = server.directory, family(server.mark)
        session = psycopg2.connect(server.dsn())
        assert len(processes) > 1

    session.close()
    assert not directory.exists()
    assert all(is_gone(process) for process in processes)


def test_servers_that_are_made_alike_have_identities_and_passwords_of_their_own(toolchain: Toolchain) -> None:
    identities = set()
    for password in ("one", "an'other"):
        with PostgresServer(toolchain.embedded_postgresql(), ServerOptions(password=password)) as server:
            identities.add(ask(server.dsn(), "SELECT system_identifier FROM pg_control_system()"))
            with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
                psycopg2.connect(server.dsn(password=f"not {password}"))

    assert len(identities) == 2


def test_a_server_that_cannot_start_says_why_and_leaves_nothing(toolchain: Toolchain, tmp_path: Path) -> None:
    server = PostgresServer(toolchain.embedded_postgresql(), ServerOptions(settings={"shared_buffers": "1 parsec"}))

    with pytest.raises(ServerError, match="1 parsec"):
        server.start()

    assert server.mark is None
    with pytest.raises(ServerError, match="not running"):
        _ = server.directory


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to run the server as another user")
def test_root_runs_the_server_as_another_user_even_from_a_closed_directory(
    toolchain: Toolchain, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    home = closed / "postgresql"
    home.symlink_to(toolchain.embedded_postgresql())

    with PostgresServer(home) as server:
        assert server.mark is not None
        assert {process.uids().real for process in family(server.mark)} == {65534}
        assert server.directory.stat().st_uid == 65534
        assert ask(server.dsn(), "SELECT 1") == 1


def test_databases_are_made_from_templates_and_dropped_under_their_users(postgres_server: PostgresServer) -> None:
    original = postgres_server.create_database('odd "name" é')
    with closing(psycopg2.connect(original)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT 7 AS seven")
        connection.commit()

    copy = postgres_server.create_database("copy", template='odd "name" é')

    assert ask(copy, "SELECT seven FROM kept") == 7
    with closing(psycopg2.connect(copy)):
        postgres_server.drop_database("copy")
    postgres_server.drop_database('odd "name" é')
    assert ask(postgres_server.dsn(), "SELECT count(*) FROM pg_database WHERE datname ~ 'copy|odd'") == 0


def test_an_empty_database_is_empty_and_in_utf8(empty_database: str) -> None:
    assert ask(empty_database, "SELECT count(*) FROM pg_stat_user_tables") == 0
    assert ask(empty_database, "SHOW server_encoding") == "UTF8"


@pytest.mark.parametrize("major", POSTGRESQL_MAJORS)
def test_every_supported_major_starts(server_of_major: Callable[[int], PostgresServer], major: int) -> None:
    version = ask(server_of_major(major).dsn(), "SHOW server_version_num")

    assert int(str(version)) // 10000 == major


def test_every_major_has_the_extensions_that_users_have(server_of_major: Callable[[int], PostgresServer]) -> None:
    server = server_of_major(18)

    with (
        own_databases(server, "extensions"),
        closing(psycopg2.connect(server.dsn("extensions"))) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute('CREATE EXTENSION "uuid-ossp"; CREATE EXTENSION pgcrypto; CREATE EXTENSION citext')
        cursor.execute("SELECT uuid_generate_v4() IS NOT NULL")
        assert cursor.fetchone() == (True,)


def test_a_tls_server_refuses_plain_connections_and_can_be_verified(tls_server: PostgresServer) -> None:
    verified = tls_server.dsn(sslmode="verify-full", sslrootcert=str(tls_server.certificate))

    assert ask(verified, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") is True
    with pytest.raises(psycopg2.OperationalError, match="no encryption"):
        psycopg2.connect(tls_server.dsn(sslmode="disable"))


def test_a_password_is_asked_for_when_one_is_set(tls_server: PostgresServer) -> None:
    with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
        psycopg2.connect(tls_server.dsn(user="postgres", password="wrong"))


def test_a_detached_server_is_found_and_stopped_later(toolchain: Toolchain) -> None:
    server = PostgresServer(toolchain.embedded_postgresql()).start(detached=True)
    mark, directory, port = server.mark, server.directory, server.port
    assert mark is not None
    del server

    found = PostgresServer.running(mark, directory, ServerOptions(port=port))
    assert ask(found.create_database("later"), "SELECT 1") == 1
    found.stop()

    assert mark.process() is None
    assert not directory.exists()


def test_data_in_a_kept_directory_is_there_again(toolchain: Toolchain) -> None:
    first = PostgresServer(toolchain.embedded_postgresql(), keep=True)
    with first:
        directory = first.directory
        first.create_database("kept")

    with PostgresServer(toolchain.embedded_postgresql(), directory=directory) as second:
        assert ask(second.dsn("kept"), "SELECT current_database()") == "kept"
    assert not directory.exists()
