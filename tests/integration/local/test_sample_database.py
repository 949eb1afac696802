"""The sample database Casa, and the comparison of databases that the demo and other tests rely on."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.extensions import make_dsn, parse_dsn
from tests.shared_server import own_databases

from coffre_local.postgres_server import PostgresServer
from coffre_local.sample import DatabaseNotEmptyError, TableFingerprint, damage, fingerprint, load, sequences

SMALL = 0.02


@pytest.fixture
def second_database(empty_database: str) -> Iterator[str]:
    """Another empty database on the same server."""
    name = f"{parse_dsn(empty_database)['dbname']}_second"
    server = make_dsn(empty_database, dbname="postgres")
    execute(server, sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    yield make_dsn(empty_database, dbname=name)
    execute(server, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def execute(dsn: str, *statements: str | sql.Composed) -> None:
    conn = psycopg2.connect(dsn)
    conn.autocommit = True
    try:
        with conn.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    finally:
        conn.close()


def query(dsn: str, statement: str) -> list[tuple[object, ...]]:
    conn = psycopg2.connect(dsn)
    try:
        with conn.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()
    finally:
        conn.close()


def only(dsn: str) -> TableFingerprint:
    """The fingerprint of the only table of a database."""
    ((_, content),) = fingerprint(dsn).items()
    return content


def test_a_small_sample_says_what_it_does(empty_database: str) -> None:
    steps: list[str] = []

    summary = load(empty_database, scale=SMALL, on_step=steps.append)

    assert steps[0] == "Creating roles"
    assert steps[-1] == "Collecting statistics"
    assert summary.tables > 40
    assert summary.rows > 15_000
    assert summary.bytes > 1_000_000


def test_the_summary_counts_the_rows_that_are_there(empty_database: str) -> None:
    summary = load(empty_database, scale=SMALL)

    tables = {name: found for name, found in fingerprint(empty_database).items() if not name.startswith('"analytics".')}

    assert summary.tables == len(tables)
    assert summary.rows == sum(table.rows for table in tables.values())
    assert tables['"casa"."waiting_list"'].rows == 0
    assert tables['"casa"."heartbeats"'].rows == 12


def test_two_loads_have_the_same_rows_and_sequences(empty_database: str, second_database: str) -> None:
    execute(second_database, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = ''Asia/Tokyo''', "
                             "current_database()); END $$")  # fmt: skip

    load(empty_database, scale=SMALL)
    load(second_database, scale=SMALL)

    assert fingerprint(second_database) == fingerprint(empty_database)
    assert sequences(second_database) == sequences(empty_database)


@pytest.mark.parametrize("major", [14, 15, 16, 17])
def test_older_servers_have_the_same_rows_and_sequences(
    major: int, empty_database: str, server_of_major: Callable[[int], PostgresServer]
) -> None:
    server = server_of_major(major)
    load(empty_database, scale=SMALL)

    with own_databases(server, "casa_sample"):
        older = server.dsn("casa_sample")
        load(older, scale=SMALL)

        assert fingerprint(older) == fingerprint(empty_database)
        assert sequences(older) == sequences(empty_database)


def test_the_scale_changes_the_number_of_rows_only(empty_database: str, second_database: str) -> None:
    smaller = load(empty_database, scale=0.01)
    larger = load(second_database, scale=SMALL)

    assert smaller.rows < larger.rows
    assert fingerprint(empty_database).keys() == fingerprint(second_database).keys()


def test_a_database_that_is_not_empty_is_refused_and_left_alone(empty_database: str) -> None:
    execute(empty_database, "CREATE TABLE mine AS SELECT 1 AS kept")

    with pytest.raises(DatabaseNotEmptyError):
        load(empty_database, scale=SMALL)

    assert list(fingerprint(empty_database)) == ['"public"."mine"']


def test_damage_changes_exactly_what_it_says(empty_database: str) -> None:
    load(empty_database, scale=SMALL)
    before = fingerprint(empty_database)
    good_reviews = query(empty_database, "SELECT count(*) FROM casa.reviews WHERE rating >= 3")[0][0]

    sentences = damage(empty_database)

    after = fingerprint(empty_database)
    lost = {
        '"billing"."payments"',
        '"analytics"."monthly_revenue"',
        '"analytics"."yearly_revenue"',
        '"analytics"."forecast"',
    }
    assert before.keys() - after.keys() == lost
    assert {name for name in after if after[name] != before[name]} == {'"casa"."listings"', '"casa"."reviews"'}
    assert len(sentences) == 3
    assert f"billing.payments with its {before['"billing"."payments"'].rows} rows" in sentences[0]
    assert f"all {before['"casa"."listings"'].rows} homes" in sentences[1]
    assert f"the {good_reviews} reviews" in sentences[2]
    assert query(empty_database, "SELECT DISTINCT nightly_price::text FROM casa.listings") == [("1.00",)]


def test_a_dump_that_is_restored_has_the_same_rows_and_sequences(
    empty_database: str, second_database: str, postgresql_home: Path, tmp_path: Path
) -> None:
    load(empty_database, scale=SMALL, large_objects=True)
    archive = tmp_path / "sample.dump"

    subprocess.run([postgresql_home / "bin" / "pg_dump", "-Fc", "-f", archive, "-d", empty_database], check=True)
    subprocess.run(
        [postgresql_home / "bin" / "pg_restore", "--exit-on-error", "-d", second_database, archive], check=True
    )

    assert fingerprint(second_database) == fingerprint(empty_database)
    assert sequences(second_database) == sequences(empty_database)


def test_large_objects_are_added_on_request_only(empty_database: str, second_database: str) -> None:
    load(empty_database, scale=SMALL)
    load(second_database, scale=SMALL, large_objects=True)

    commented = (
        "SELECT oid::int, obj_description(oid, 'pg_largeobject') IS NOT NULL FROM pg_largeobject_metadata ORDER BY 1"
    )
    assert query(empty_database, commented) == []
    assert query(second_database, commented) == [(700001, True), (700002, True), (700003, True)]


def test_standalone_sequences_keep_their_states(empty_database: str) -> None:
    load(empty_database, scale=SMALL)

    states = sequences(empty_database)

    assert states['"casa"."countdown"'] == (-42, True)
    assert states['"Odd Names"."Sequence.with ""everything"""'] == (7, False)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE t SET b = '' WHERE b IS NULL",
        "UPDATE t SET b = b || ' ' WHERE a = 1",
        "INSERT INTO t SELECT * FROM t WHERE a = 1",
        "INSERT INTO t SELECT * FROM t",
        "DELETE FROM t WHERE a = 3",
        "DELETE FROM t",
        "ALTER TABLE t RENAME b TO c",
        "ALTER TABLE t DROP b",
        "ALTER TABLE t ADD c integer",
    ],
)
def test_a_fingerprint_notices(change: str, empty_database: str) -> None:
    execute(empty_database, "CREATE TABLE t (a int, b text)", "INSERT INTO t VALUES (1, 'x'), (2, NULL), (3, 'y')")
    before = only(empty_database)

    execute(empty_database, change)

    assert only(empty_database) != before


def test_a_fingerprint_ignores_the_order_of_rows_and_columns(empty_database: str, second_database: str) -> None:
    execute(empty_database, "CREATE TABLE t (a int, gone int, b text)", "ALTER TABLE t DROP gone",
            "INSERT INTO t VALUES (1, 'x'), (2, 'y')")  # fmt: skip
    execute(second_database, "CREATE TABLE t (b text, a int)", "INSERT INTO t VALUES ('y', 2), ('x', 1)")

    assert fingerprint(second_database) == fingerprint(empty_database)


def test_a_fingerprint_reads_tables_and_columns_of_any_name(empty_database: str) -> None:
    execute(
        empty_database,
        'CREATE TABLE r (r int, "%s" int, "{}" int, "a.""b" int)',
        "INSERT INTO r VALUES (1, 2, 3, 4)",
        'CREATE TABLE "select" ()',
        'INSERT INTO "select" DEFAULT VALUES',
        "CREATE MATERIALIZED VIEW never AS SELECT 1 WITH NO DATA",
    )

    found = fingerprint(empty_database)

    assert {name: content.rows for name, content in found.items()} == {
        '"public"."never"': 0,
        '"public"."r"': 1,
        '"public"."select"': 1,
    }
    assert found['"public"."never"'].hash == "not populated"


def test_rows_that_row_security_hides_are_an_error_and_not_a_difference(empty_database: str) -> None:
    load(empty_database, scale=SMALL)
    reader = make_dsn(empty_database, options="-c role=casa_readonly")

    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="row-level security"):
        fingerprint(reader)
