"""Archives of real `pg_dump`s: every entry is read as `pg_restore` reads it, and damage is one clear error."""

import io
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.contents import run

from coffre.model.errors import IntegrityError
from coffre.postgres.archive.reader import Archive, Compression, Section, read_archive
from coffre_local.postgres_server import PostgresServer
from coffre_local.toolchain import Toolchain

MAJORS = (14, 15, 16, 17, 18)
ODD = (
    'CREATE SCHEMA "TABLE DATA  x"',
    """CREATE TABLE "TABLE DATA  x"."7; 1259 8 TABLE\u2028\u00fc y" (id int PRIMARY KEY, "a b" text)""",
    """COMMENT ON TABLE "TABLE DATA  x"."7; 1259 8 TABLE\u2028\u00fc y" IS 'it''s'""",
    "CREATE TABLE parent (id int) PARTITION BY RANGE (id)",
    "CREATE TABLE child PARTITION OF parent FOR VALUES FROM (1) TO (9)",
    "INSERT INTO parent SELECT generate_series(1, 8)",
    "CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM parent",
    "CREATE SEQUENCE numbers",
    "CREATE FUNCTION see() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION see()",
    "COMMENT ON EVENT TRIGGER watch IS 'watches'",
    "GRANT SELECT ON parent TO PUBLIC",
    "SELECT lo_from_bytea(4711, 'large')",
)
# 215; 1259 16386 TABLE public orders alice
LISTED = re.compile(r"^(\d+; \d+ \d+) (.*)$")


def dumped(home: Path, url: str, *options: str) -> bytes:
    """Return a custom archive."""
    argv = [str(home / "bin" / "pg_dump"), "--format=custom", *options, "--dbname", url]
    return subprocess.run(argv, env=environment(home), capture_output=True, check=True).stdout


def listed(home: Path, archive: bytes) -> list[str]:
    """Return the entries of `pg_restore --list`."""
    argv = [str(home / "bin" / "pg_restore"), "--list", "--create"]
    done = subprocess.run(argv, env=environment(home), input=archive, capture_output=True, check=True)
    lines = done.stdout.decode("utf-8", "replace").split("\n")
    return [line for line in lines if LISTED.match(line)]


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "LD_LIBRARY_PATH": str(home / "lib")}


def as_listed(archive: Archive) -> list[str]:
    """Return our entries as `pg_restore` lists them: without those that only set the session up."""
    return [
        f"{entry.dump_id}; {entry.catalog_oid} {entry.oid} {entry.shown}"
        for entry in archive.entries
        if entry.description not in ("ENCODING", "STDSTRINGS", "SEARCHPATH")
    ]


@pytest.fixture
def odd_database(empty_database: str) -> str:
    run(empty_database, *ODD)
    return empty_database


@pytest.mark.parametrize("options", [("--compress=0",), ("--schema-only",), ("--section=data", "--compress=zstd")])
@pytest.mark.parametrize("major", MAJORS)
def test_every_entry_is_read_as_pg_restore_lists_it(
    postgresql_home: Path, server_of_major: Callable[[int], PostgresServer], major: int, options: tuple[str, ...]
) -> None:
    server = server_of_major(major)
    url = server.create_database("read")
    try:
        run(url, *ODD)
        dump = dumped(postgresql_home, url, *options)
    finally:
        server.drop_database("read")

    archive = read_archive(io.BytesIO(dump))

    assert as_listed(archive) == listed(postgresql_home, dump)
    assert (archive.version, archive.database) == ((1, 16, 0), "read")
    assert archive.server_version.startswith(f"{major}.")
    assert archive.client_version.startswith("18.")


@pytest.mark.parametrize(
    ("major", "version", "compression"),
    [(14, (1, 14, 0), Compression.GZIP), (16, (1, 15, 0), Compression.GZIP), (17, (1, 16, 0), Compression.GZIP)],
)
def test_archives_of_older_pg_dumps_are_read(
    toolchain: Toolchain,
    server_of_major: Callable[[int], PostgresServer],
    major: int,
    version: tuple[int, int, int],
    compression: Compression,
) -> None:
    server = server_of_major(14)
    url = server.create_database("old_client")
    try:
        run(url, *ODD)
        dump = dumped(toolchain.postgresql(major), url)
    finally:
        server.drop_database("old_client")

    archive = read_archive(io.BytesIO(dump))

    assert (archive.version, archive.compression) == (version, compression)
    assert as_listed(archive) == listed(toolchain.postgresql(major), dump)


def test_an_entry_has_all_that_was_written(postgresql_home: Path, odd_database: str) -> None:
    dump = dumped(postgresql_home, odd_database)
    file = io.BytesIO(dump)

    archive = read_archive(file)

    found = {(entry.description, entry.tag): entry for entry in archive.entries}
    table = found["TABLE", "7; 1259 8 TABLE\u2028\u00fc y"]
    assert (table.schema, table.owner, table.section) == ("TABLE DATA  x", "postgres", Section.PRE_DATA)
    assert (table.relation_kind, table.table_access_method, table.tablespace) == ("r", "heap", "")
    assert table.definition.startswith('CREATE TABLE "TABLE DATA  x"."7; 1259 8 TABLE')
    assert table.drop == 'DROP TABLE "TABLE DATA  x"."7; 1259 8 TABLE\u2028\u00fc y";\n'
    data = found["TABLE DATA", "7; 1259 8 TABLE\u2028\u00fc y"]
    assert (data.oid, data.section, data.has_data) == (table.oid, Section.DATA, True)
    assert data.copy == 'COPY "TABLE DATA  x"."7; 1259 8 TABLE\u2028\u00fc y" (id, "a b") FROM stdin;\n'
    assert data.dependencies == (table.dump_id,)
    assert found["SCHEMA", "TABLE DATA  x"].schema is None
    assert found["EVENT TRIGGER", "watch"].section is Section.POST_DATA
    assert dump[file.tell()] == 1, "the first data block begins where reading stopped"


def test_names_in_another_encoding_keep_their_bytes(postgresql_home: Path, postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database("latin")
    postgres_server.drop_database("latin")
    run(postgres_server.dsn(), "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    try:
        run(url, 'CREATE TABLE "caf\u00e9" ()')
        archive = read_archive(io.BytesIO(dumped(postgresql_home, url, "--schema-only")))
    finally:
        postgres_server.drop_database("latin")

    (table,) = (entry for entry in archive.entries if entry.description == "TABLE")
    assert table.tag.encode("utf-8", "surrogateescape") == b"caf\xe9"
    assert table.shown == "TABLE public caf\ufffd postgres"


def test_an_archive_that_is_cut_off_anywhere_is_one_error(postgresql_home: Path, odd_database: str) -> None:
    dump = dumped(postgresql_home, odd_database, "--schema-only")
    file = io.BytesIO(dump)
    read_archive(file)

    for length in range(file.tell()):
        with pytest.raises(IntegrityError) as caught:
            read_archive(io.BytesIO(dump[:length]))
        assert caught.value.code == "ARCHIVE_DAMAGED"


@pytest.mark.parametrize(
    ("offset", "value", "detail"),
    [
        (0, b"X", "does not begin like one"),
        (6, b"\x11", "version is 1.17-0"),
        (6, b"\x0d", "version is 1.13-0"),
        (8, b"\x08", "other integers"),
        (10, b"\x05", "not a custom archive"),
        (11, b"\x09", "9 is no compression"),
    ],
)
def test_another_format_or_version_is_one_error(
    postgresql_home: Path, empty_database: str, offset: int, value: bytes, detail: str
) -> None:
    dump = bytearray(dumped(postgresql_home, empty_database, "--schema-only"))
    dump[offset : offset + 1] = value

    with pytest.raises(IntegrityError) as caught:
        read_archive(io.BytesIO(bytes(dump)))

    assert caught.value.code == "ARCHIVE_DAMAGED"
    assert detail in (caught.value.detail or "")


def test_a_damaged_length_does_not_ask_for_its_memory(postgresql_home: Path, empty_database: str) -> None:
    class Counting(io.BytesIO):
        most = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.most = max(self.most, size or 0)
            return super().read(size)

    dump = bytearray(dumped(postgresql_home, empty_database, "--schema-only"))
    database = 12 + 7 * 5
    dump[database : database + 5] = b"\x00\xff\xff\xff\x7f"
    file = Counting(bytes(dump))

    with pytest.raises(IntegrityError):
        read_archive(file)

    assert file.most <= 1024 * 1024
