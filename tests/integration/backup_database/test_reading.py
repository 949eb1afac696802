"""A reader's bytes are those that `COPY` gives to anybody, over TLS as without."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import psycopg2.extensions
import pytest
from tests.integration.conftest import run_sql

from coffre.policy.slicing import Slice, TableExtent
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.postgres.source.copy_framing import CompiledRows, RegexRows, Rows, rows_of_a_stream
from coffre.postgres.source.dump import SliceReader
from coffre_local.postgres_server import PostgresServer

FILL = """
CREATE TABLE narrow AS SELECT n AS id, repeat('x', n % 300) AS note, NULL::text AS nothing
    FROM generate_series(1, 60000) n;
CREATE TABLE odd (text text); INSERT INTO odd VALUES
    (E'line\\nfeed'), (E'tab\\t'), (''), (NULL), (E'back\\\\slash'), ('ü');
CREATE TABLE wide AS SELECT n AS id, repeat(md5(n::text), 80000) AS body FROM generate_series(1, 6) n;
CREATE TABLE empty (id int); CREATE TABLE "no columns" (); INSERT INTO "no columns" DEFAULT VALUES;
"""
TABLES = {
    "narrow": ("id", "note", "nothing"),
    "odd": ("text",),
    "wide": ("id", "body"),
    "empty": ("id",),
    "no columns": (),
}


@pytest.fixture(scope="module", params=["plain", "TLS"])
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    fixture = {"plain": "postgres_server", "TLS": "tls_server"}[request.param]
    server: PostgresServer = request.getfixturevalue(fixture)
    url = server.create_database("reading")
    run_sql(url, *(statement for statement in FILL.split(";") if statement.strip()))
    yield url
    server.drop_database("reading")


@contextmanager
def reader_of(url: str) -> Iterator[tuple[SliceReader, psycopg2.extensions.connection]]:
    """A reader, and the session that holds its snapshot."""
    with closing(psycopg2.connect(url)) as holder, holder.cursor() as cursor:
        holder.set_session(isolation_level="REPEATABLE READ")
        cursor.execute("SELECT pg_export_snapshot()")
        ((snapshot,),) = cursor.fetchall()
        connection = parse_secret(url, where="test")
        with SliceReader(connection, Children(), snapshot=snapshot, encoding="UTF8", buffer_bytes=2**20) as reader:
            yield reader, holder


def slices() -> list[Slice]:
    tables = [TableExtent(1, "public", name, columns, 9999, 1) for name, columns in TABLES.items()]
    cut = [Slice(tables[0], number, 100 * number, 100 * number + 100, 1) for number in range(30)]
    return [*cut, *(Slice(table, 0, None, None, 1) for table in tables)] * 3


@pytest.mark.parametrize("way", [CompiledRows, RegexRows])
def test_the_bytes_are_those_of_copy(
    database: str, way: type[Rows], copydata: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way is RegexRows:
        monkeypatch.setattr("coffre.postgres.source.copy_framing.LIBRARY", Path("not built"))
    assert isinstance(rows_of_a_stream(), way)
    with reader_of(database) as (reader, holder):
        expected = {}
        for name in TABLES:
            expected[name] = io.BytesIO()
            with holder.cursor() as cursor:
                cursor.copy_expert(f'COPY "{name}" TO STDOUT', expected[name])
        found: dict[tuple[str, bool], bytes] = {}
        for piece, chunks in reader.read(slices()):
            data = b"".join(bytes(chunk) for chunk in chunks)
            assert data.count(b"\n") == reader.rows
            key = (piece.table.name, piece.first_block is None)
            found[key] = found.get(key, b"") + data

    for name, whole in expected.items():
        assert found[name, True] == whole.getvalue() * 3
    assert found["narrow", False] == expected["narrow"].getvalue() * 3
    assert reader.rows == 1


def test_the_connection_is_the_one_that_was_asked_for(database: str) -> None:
    ours = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name LIKE 'coffre%'"
    with reader_of(database):
        assert run_sql(database, ours) == [("sslmode=require" in database,)]
