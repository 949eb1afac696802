"""Connections are a scarce thing: a backup takes what fits, leaves room for others, and does with what it gets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import psycopg2
import pytest
from tests.integration.conftest import SHOP, Coffre, run_sql, with_password

from coffre.operations.backup_database import backup as backup_database
from coffre.postgres.connection.free_connections import free_connections
from coffre.postgres.source.dump import SliceReader
from coffre_local.postgres_server import PostgresServer, ServerOptions
from coffre_local.toolchain import Toolchain

FILL = "CREATE TABLE notes AS SELECT n AS id, repeat(md5(n::text), 30) AS note FROM generate_series(1, 120000) n"
# Of the seven that are not reserved, without the session that asks and the server's launcher of subscriptions.
ALONE = 5


@pytest.fixture(scope="module")
def small_server(toolchain: Toolchain) -> Iterator[PostgresServer]:
    """A server with 10 connections, 3 of them kept for superusers."""
    options = ServerOptions(settings={"max_connections": "10", "superuser_reserved_connections": "3"})
    with PostgresServer(toolchain.embedded_postgresql(), options) as server:
        yield server


@pytest.fixture(scope="module")
def crowded(small_server: PostgresServer) -> str:
    """A database on it, to be read by a role that may not use the reserved connections; 110 MB in several parts."""
    url = small_server.create_database("crowded")
    run_sql(url, *SHOP.split(";"), FILL, "CREATE ROLE reader LOGIN", "GRANT pg_read_all_data TO reader")
    return with_password(url, "reader")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[SliceReader]:
    """The readers that were opened."""
    readers: list[SliceReader] = []
    enter = SliceReader.__enter__

    def note(self: SliceReader) -> SliceReader:
        readers.append(enter(self))
        return self

    monkeypatch.setattr(SliceReader, "__enter__", note)
    return readers


def notes(coffre: Coffre) -> tuple[str, ...]:
    backup = coffre.backups()[0]
    assert backup.manifest_key is not None
    assert backup.manifest_sha256 is not None
    vault = coffre.backup_function().services.vault
    return vault.read_manifest(backup.manifest_key, sha256=backup.manifest_sha256).notes


def test_streams_leave_half_of_the_free_connections(coffre: Coffre, crowded: str, opened: list[SliceReader]) -> None:
    # Given seven connections for all, of which the holder has one
    coffre.configure(crowded, target={"limits": {"streams": 8}})

    assert coffre.backup()["status"] == "COMPLETED"

    assert len(opened) <= 3
    assert [text for text in notes(coffre) if "of 8 streams were used" in text]


def test_nobody_is_told_about_streams_that_nobody_asked_for(coffre: Coffre, crowded: str) -> None:
    coffre.configure(crowded)

    coffre.backup()

    assert not [text for text in notes(coffre) if "streams" in text]


def test_nobody_is_told_about_streams_that_had_nothing_to_do(
    coffre: Coffre, small_server: PostgresServer, crowded: str
) -> None:
    """A small database is one part: more streams would not have been opened on any server."""
    run_sql(small_server.create_database("tiny"), "CREATE TABLE few AS SELECT 1 AS id")
    coffre.configure(crowded.replace("/crowded", "/tiny"), target={"limits": {"streams": 8}})

    assert coffre.backup()["status"] == "COMPLETED"

    assert notes(coffre) == ()


def test_a_limit_that_cannot_be_asked_for_is_found_by_opening(
    coffre: Coffre, crowded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like that of a pooler: the server's words, while it seems to have room for all."""
    monkeypatch.setattr(backup_database, "streams_that_fit", lambda wanted, free: wanted)
    coffre.configure(crowded, target={"limits": {"streams": 12}})

    assert coffre.backup()["status"] == "COMPLETED"

    assert [text for text in notes(coffre) if "of 12 streams were used" in text]
    assert len(notes(coffre)) == 1


def test_a_server_without_room_for_a_single_stream_is_a_failed_backup_that_may_be_repeated(
    coffre: Coffre, crowded: str
) -> None:
    coffre.configure(crowded)
    with ExitStack() as stack:
        for _ in range(7):
            stack.callback(connected(crowded).close)
        with pytest.raises(Exception, match="SERVER_BUSY"):
            coffre.backup()
    assert free(crowded, ALONE) == ALONE

    assert coffre.backup()["status"] == "COMPLETED"


def connected(url: str) -> Any:
    """Connect within a minute: the sessions of other tests count until the server has noticed that they are closed."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return psycopg2.connect(url)
        except psycopg2.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def free(url: str, expected: int) -> int:
    """Count; as expected if that comes within a minute: a server process outlives its closed session for a moment."""
    deadline = time.monotonic() + 60
    while True:
        with closing(connected(url)) as session, session.cursor() as cursor:
            found = free_connections(partial(_answer, cursor))
        if found == expected or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def _answer(cursor: Any, statement: str) -> Any:
    cursor.execute(statement)
    return cursor.fetchall()


def test_what_is_free_is_counted_as_the_server_does(small_server: PostgresServer, crowded: str) -> None:
    superuser = crowded.replace("reader:", "postgres:")
    before = free(crowded, ALONE)
    assert before == ALONE
    with ExitStack() as stack:
        for _ in range(2):
            stack.callback(connected(crowded).close)
        assert free(crowded, before - 2) == before - 2
        run_sql(superuser, "ALTER ROLE reader CONNECTION LIMIT 4")
        assert free(crowded, 1) == 1
        run_sql(superuser, "ALTER ROLE reader CONNECTION LIMIT -1", "ALTER DATABASE crowded CONNECTION LIMIT 3")
        assert free(crowded, 0) == 0
        assert free(superuser, before - 2) == before - 2
        run_sql(superuser, "ALTER DATABASE crowded CONNECTION LIMIT -1")
