"""A database without an encoding, with names that are no UTF-8: all of it works, with the bytes as they are."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import psycopg2
import pytest
from tests.integration.conftest import beside
from tests.integration.contents import RoundTrip, database_of
from tests.integration.exports import Export

from coffre.model.errors import CoffreError
from coffre.operations.browse.contents import find_table, rows_of
from coffre.vault.codec import FrameDecoder

# Latin 1, UTF-8, and what looks like the escape that Coffre writes for bytes that are no UTF-8.
_SCHEMA: Final = b'"sch\xe9ma"'
_TABLE: Final = _SCHEMA + b'."t\xe9; ""\xc3\xa9 \xee\xbf\xa9"'
_ROLE: Final = b'"r\xf4le"'
_CONTENT: Final = (
    b"CREATE SCHEMA " + _SCHEMA,
    b"CREATE TYPE " + _SCHEMA + b".\"\xe9tat\" AS ENUM ('ouvert', 'ferm\xe9')",
    b"CREATE TABLE "
    + _TABLE
    + b' ("n\xfa" serial PRIMARY KEY, "\xe9" '
    + _SCHEMA
    + b".\"\xe9tat\" DEFAULT 'ferm\xe9', b text)",
    b"INSERT INTO " + _TABLE + b" (b) SELECT 'x\xff' || g FROM generate_series(1, 500) g",
    b"CREATE TABLE plain (a int PRIMARY KEY, b int REFERENCES " + _TABLE + b")",
    b"INSERT INTO plain SELECT g, g FROM generate_series(1, 100) g",
    b'CREATE INDEX "i\xe9" ON ' + _TABLE + b" (b) WHERE b <> '\xe9'",
    b'CREATE VIEW "v\xe9" AS SELECT "n\xfa" AS "\xe0", b FROM ' + _TABLE,
    b'CREATE MATERIALIZED VIEW "m\xe9" AS SELECT count(*) AS "\xe0" FROM ' + _TABLE,
    b"CREATE FUNCTION \"f\xe9\"() RETURNS text LANGUAGE sql AS $$SELECT '\xe9'::text$$",
    b"COMMENT ON TABLE " + _TABLE + b" IS 'comm\xe9nt'",
    b"COMMENT ON COLUMN " + _TABLE + b".\"\xe9\" IS '\xe9'",
    b"CREATE ROLE " + _ROLE,
    b"GRANT USAGE ON SCHEMA " + _SCHEMA + b" TO " + _ROLE,
    b"ALTER TABLE " + _TABLE + b" OWNER TO " + _ROLE,
    b"GRANT SELECT ON plain TO " + _ROLE,
    b'CREATE POLICY "p\xe9" ON plain TO ' + _ROLE + b" USING (true)",
)
_VOLATILE: Final = re.compile(rb"^\\(un)?restrict .*\n", re.MULTILINE)


@pytest.fixture
def latin(round_trip: RoundTrip, request: pytest.FixtureRequest) -> Iterator[RoundTrip]:
    """A source without an encoding (or with another one than UTF-8), and where its copy will be."""
    encoding = getattr(request, "param", "SQL_ASCII")
    name = f"{database_of(round_trip.source)}_ascii"
    maintenance = round_trip.server.dsn()
    _execute(maintenance, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'".encode())
    source = round_trip.server.dsn(name)
    _execute(source, *_CONTENT)
    yield replace(round_trip, source=source, copy=beside(source, f"{name}_copy"))
    round_trip.server.drop_database(f"{name}_copy")
    _execute(source, b"DROP OWNED BY " + _ROLE + b" CASCADE", b"DROP ROLE " + _ROLE)
    round_trip.server.drop_database(name)


@pytest.mark.parametrize("latin", ["SQL_ASCII", "LATIN1"], indirect=True)
def test_all_of_it_comes_back(latin: RoundTrip) -> None:
    backup = latin.back_up()

    report = latin.restore(backup)

    assert report.exceptions == ()
    assert _dumped(latin, latin.copy) == _dumped(latin, latin.source)
    # The same frames are found again
    assert (latin.back_up().stored_bytes or 0) < (backup.stored_bytes or 0)
    # And a drill proves it: roles and rights too
    assert latin.coffre.drill()["outcome"] == "passed"


def test_tables_come_back_in_place(latin: RoundTrip) -> None:
    backup = latin.back_up()
    before = _dumped(latin, latin.source)
    name = next(table for table in latin.manifest(backup).database.tables if table.table_name != "plain")
    chosen = f'{name.schema_name}."{name.table_name.replace('"', '""')}"'

    _execute(latin.source, b"DELETE FROM plain WHERE a > 50; DELETE FROM " + _TABLE + b' WHERE "n\xfa" > 100')
    latin.restore_in_place(backup, tables=[chosen], replace=True)
    latin.restore_in_place(backup, tables=["public.plain"], replace=True)
    for schema in _side_schemas(latin.source):
        _execute(latin.source, b'DROP SCHEMA "' + schema.encode() + b'" CASCADE')
    assert _dumped(latin, latin.source) == before

    _execute(latin.source, b"DROP TABLE " + _TABLE + b" CASCADE")
    latin.restore_in_place(backup, tables=[chosen], with_dependencies=True)
    assert _dumped(latin, latin.source) == before


def test_rows_and_exports_have_the_bytes(latin: RoundTrip, tmp_path: Path) -> None:
    backup = latin.back_up()
    manifest, vault = latin.manifest(backup), latin.coffre.backup_function().services.vault
    name = next(table.table_name for table in manifest.database.tables if table.table_name != "plain")

    found = find_table(manifest.database, f'"sch\uefe9ma"."{name.replace('"', '""')}"')
    rows = b"".join(rows_of(vault, manifest, FrameDecoder([latin.coffre.identity]), found))
    assert rows.startswith(b"1\tferm\xe9\tx\xff1\n")

    file = Export.of(latin, backup).custom(tmp_path / "export.dump")
    _execute(
        latin.server.dsn(),
        f"CREATE DATABASE {database_of(latin.copy)} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'".encode(),
    )
    _run(latin, "pg_restore", "--exit-on-error", "--dbname", latin.copy, str(file))
    assert _dumped(latin, latin.copy) == _dumped(latin, latin.source)


def test_a_destination_with_an_encoding_is_refused_before_anything_is_made(latin: RoundTrip) -> None:
    backup = latin.back_up()
    latin.server.create_database(database_of(latin.copy))

    with pytest.raises(CoffreError) as caught:
        latin.restore(backup)

    assert caught.value.code == "DESTINATION_ENCODING"
    assert "SQL_ASCII" in (caught.value.hint or "")


def _execute(url: str, *statements: bytes) -> None:
    with closing(psycopg2.connect(url)) as session:
        session.autocommit = True
        with session.cursor() as cursor:
            for statement in statements:
                cursor.execute(b"SET client_encoding = SQL_ASCII")
                cursor.execute(statement)


def _side_schemas(url: str) -> list[str]:
    with closing(psycopg2.connect(url)) as session, session.cursor() as cursor:
        cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'restored%'")
        return [name for (name,) in cursor]


def _run(latin: RoundTrip, program: str, *arguments: str) -> bytes:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(latin.home / "lib")}
    command = [str(latin.home / "bin" / program), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, check=True).stdout


def _dumped(latin: RoundTrip, url: str) -> list[bytes]:
    """Return everything in a database, rows sorted: they come back in another order."""
    return sorted(_VOLATILE.sub(b"", _run(latin, "pg_dump", "--dbname", url)).splitlines())
