"""What a restore of tables must never do to tables in use, and to those that nobody chose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest
from tests.integration.contents import RoundTrip, database_of, rows, run, schema_of, value

from coffre.model.errors import CoffreError
from coffre.operations.restore_database import load_transactions as restore_batches
from coffre.operations.restore_database import sessions as restore_sessions
from coffre.operations.restore_database import staged_rows, table_rows
from coffre.operations.restore_database.definitions import DefinitionRestore
from coffre.postgres.destination import copy_in as load
from coffre_local.sample import fingerprint


def failed(round_trip: RoundTrip, backup: Any, **scope: Any) -> CoffreError:
    with pytest.raises(CoffreError) as caught:
        round_trip.restore_in_place(backup, **scope)
    return caught.value


def sides(round_trip: RoundTrip) -> list[tuple[Any, ...]]:
    return rows(round_trip.source, "SELECT 1 FROM pg_namespace WHERE nspname LIKE 'restored%'")


@pytest.mark.parametrize("action", ["CASCADE", "SET NULL", "SET DEFAULT"])
def test_replacing_takes_no_rows_of_tables_that_nobody_chose(round_trip: RoundTrip, action: str) -> None:
    round_trip.fill("CREATE TABLE a (id int PRIMARY KEY)", "INSERT INTO a VALUES (1)")
    backup = round_trip.back_up()
    round_trip.fill(
        "INSERT INTO a VALUES (2)",
        f"CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a ON DELETE {action})",
        "CREATE TABLE c (id int, b int REFERENCES b ON DELETE CASCADE)",
        "INSERT INTO b VALUES (7, 2)",
        "INSERT INTO c VALUES (8, 7)",
    )
    before = fingerprint(round_trip.source)

    # Given a plan that names what is at stake
    plan = round_trip.restore_in_place(backup, tables=["a"], replace=True, dry_run=True)
    assert "Foreign keys of public.b change rows" in plan.steps[0]

    error = failed(round_trip, backup, tables=["a"], replace=True)

    assert error.code == "OTHER_TABLES_AFFECTED"
    assert "public.b" in error.message
    assert ("public.c" in error.message) == (action == "CASCADE")
    assert fingerprint(round_trip.source) == before
    assert sides(round_trip) == []


def test_keys_that_take_nothing_along_are_no_obstacle(round_trip: RoundTrip) -> None:
    round_trip.fill("CREATE TABLE a (id int PRIMARY KEY)", "INSERT INTO a VALUES (1)")
    backup = round_trip.back_up()
    round_trip.fill(
        "CREATE TABLE b (a int REFERENCES a ON DELETE CASCADE)", "INSERT INTO b VALUES (1)", "INSERT INTO a VALUES (2)"
    )

    report = round_trip.restore_in_place(backup, tables=["a"], replace=True)

    assert [found.deleted for found in report.comparisons] == [1]
    assert rows(round_trip.source, "SELECT a FROM b") == [(1,)]


def test_partitions_of_a_chosen_table_are_chosen_too(round_trip: RoundTrip) -> None:
    round_trip.fill("CREATE TABLE p (id int PRIMARY KEY, v int)", "INSERT INTO p VALUES (1, 1), (2, 2)")
    backup = round_trip.back_up()
    # Given that somebody has divided the table into partitions since
    round_trip.fill(
        "DROP TABLE p",
        "CREATE TABLE p (id int PRIMARY KEY, v int, parent int REFERENCES p ON DELETE CASCADE) PARTITION BY HASH (id)",
        "CREATE TABLE p0 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
        "INSERT INTO p VALUES (1, 7), (3, 3)",
    )

    report = round_trip.restore_in_place(backup, tables=["p"], replace=True, no_safety=True)

    (found,) = report.comparisons
    assert (found.inserted, found.updated, found.deleted) == (1, 1, 1)
    assert report.exceptions == ()
    assert rows(round_trip.source, "SELECT id, v FROM p ORDER BY 1") == [(1, 1), (2, 2)]


def test_what_triggers_do_elsewhere_is_said(round_trip: RoundTrip) -> None:
    round_trip.fill(
        "CREATE TABLE a (id int PRIMARY KEY)",
        "INSERT INTO a VALUES (1), (2)",
        "CREATE TABLE audit (id int)",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO public.audit VALUES (new.id); RETURN new; END'",
        "CREATE TRIGGER note AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION note()",
    )
    backup = round_trip.back_up()
    round_trip.fill("DELETE FROM a WHERE id = 2")

    report = round_trip.restore_in_place(backup, tables=["a"], replace=True)

    (said,) = report.exceptions
    assert "Triggers also changed public.audit: 1 row inserted" in said


def test_rows_that_the_backup_leaves_out_are_not_deleted(round_trip: RoundTrip) -> None:
    round_trip.fill(
        "CREATE TABLE a (id int PRIMARY KEY)",
        "INSERT INTO a VALUES (1)",
        "CREATE TABLE logs (id int PRIMARY KEY)",
        "INSERT INTO logs VALUES (1), (2)",
    )
    backup = round_trip.back_up(tables={"exclude_data": ["logs"]})
    round_trip.fill("INSERT INTO a VALUES (2)")

    report = round_trip.restore_in_place(backup, schemas=["public"], replace=True)

    assert rows(round_trip.source, "SELECT id FROM a") == [(1,)]
    assert value(round_trip.source, "SELECT count(*) FROM logs") == 2
    assert any("public.logs is left as it is" in text for text in report.exceptions)


def test_a_change_whose_commit_has_no_answer_is_done_and_keeps_what_was_there_before(
    round_trip: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    round_trip.fill("CREATE TABLE a (id int PRIMARY KEY, v text)", "INSERT INTO a VALUES (1, 'old')")
    backup = round_trip.back_up()
    round_trip.fill("UPDATE a SET v = 'precious'")
    given = restore_sessions.loading_session

    class Cut:
        """A session that ends right after the server has committed the last transaction."""

        def __init__(self, session: Any) -> None:
            self._session = session

        def __getattr__(self, name: str) -> Any:
            return getattr(self._session, name)

        def commit(self) -> None:
            self._session.commit()
            if value(round_trip.source, "SELECT v FROM a") == "old":
                self._session.close()
                raise psycopg2.OperationalError("server closed the connection unexpectedly")

    @contextmanager
    def cut(job: Any, **how: Any) -> Iterator[Any]:
        with given(job, **how) as session:
            yield Cut(session)

    monkeypatch.setattr(staged_rows, "loading_session", cut)

    report = round_trip.restore_in_place(backup, tables=["a"], replace=True)

    assert value(round_trip.source, "SELECT v FROM a") == "old"
    ((schema,),) = rows(round_trip.source, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'restored%'")
    assert [kept.what for kept in report.kept] == [f"the schema {schema}"]
    assert rows(round_trip.source, f"SELECT * FROM {schema}.a_before") == [(1, "precious")]


def test_a_row_that_was_made_again_by_hand_gives_way(round_trip: RoundTrip) -> None:
    """Its unique value is the one of the row that comes back."""
    round_trip.fill(
        "CREATE TABLE users (id serial PRIMARY KEY, email text UNIQUE)",
        "CREATE TABLE notes (id int PRIMARY KEY, author int REFERENCES users ON DELETE CASCADE)",
        "INSERT INTO users (email) VALUES ('ada@example.org'), ('bob@example.org')",
        "INSERT INTO notes VALUES (1, 1), (2, 2)",
    )
    backup = round_trip.back_up()
    before = fingerprint(round_trip.source)
    round_trip.fill(
        "DELETE FROM users WHERE id = 1",
        "INSERT INTO users (email) VALUES ('ada@example.org')",
        "INSERT INTO notes VALUES (1, 3)",
    )

    report = round_trip.restore_in_place(backup, tables=["users", "notes"], replace=True)

    assert {name: it for name, it in fingerprint(round_trip.source).items() if "restored_" not in name} == before
    assert all(found.before for found in report.comparisons)


# --- keys ---


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE t DROP CONSTRAINT t_pkey, ADD COLUMN n serial PRIMARY KEY",
        "ALTER TABLE t DROP CONSTRAINT t_pkey, ADD COLUMN n int GENERATED ALWAYS AS (id + 1) STORED PRIMARY KEY",
        "ALTER TABLE t RENAME COLUMN id TO n",
    ],
)
def test_a_key_that_the_backup_does_not_have_leaves_the_table_beside(round_trip: RoundTrip, change: str) -> None:
    round_trip.fill("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    backup = round_trip.back_up()
    round_trip.fill(change)

    report = round_trip.restore_in_place(backup, tables=["t"])

    assert value(round_trip.source, f"SELECT count(*) FROM restored_{report.id.lower()}.t") == 2
    assert any("has no n, which is in its key now" in text for text in report.exceptions)
    assert failed(round_trip, backup, tables=["t"], replace=True, no_safety=True).code == "KEY_MISSING"


def test_keys_of_every_kind_tell_rows_apart(round_trip: RoundTrip) -> None:
    round_trip.fill(
        "CREATE EXTENSION citext",
        "CREATE TYPE pair AS (a int, b int)",
        "CREATE TYPE mood AS ENUM ('good', 'bad')",
        "CREATE DOMAIN code AS text CHECK (value <> '')",
        "CREATE TABLE t1 (k citext PRIMARY KEY, v int)",
        "CREATE TABLE t2 (k pair PRIMARY KEY, v int)",
        "CREATE TABLE t3 (k mood PRIMARY KEY, v int)",
        "CREATE TABLE t4 (k code PRIMARY KEY, v int)",
        "CREATE TABLE t5 (k int4range PRIMARY KEY, v int)",
        "CREATE TABLE t6 (k uuid[] PRIMARY KEY, v float8)",
        "CREATE TABLE t7 (k bytea PRIMARY KEY, v int)",
        "INSERT INTO t1 VALUES ('Ada', 1), ('Bob', 2)",
        "INSERT INTO t2 VALUES ((NULL, NULL), 1), ((1, NULL), 2)",
        "INSERT INTO t3 VALUES ('good', 1), ('bad', 2)",
        "INSERT INTO t4 VALUES ('x', 1), ('y', 2)",
        "INSERT INTO t5 VALUES ('empty', 1), ('[1,)', 2)",
        "INSERT INTO t6 VALUES ('{}', 'NaN'), ('{00000000-0000-0000-0000-000000000000}', '-0')",
        r"INSERT INTO t7 VALUES ('\x', 1), ('\x00', 2)",
    )
    backup = round_trip.back_up()
    before = fingerprint(round_trip.source)
    for number in range(1, 8):
        round_trip.fill(f"DELETE FROM t{number} WHERE v = 1", f"UPDATE t{number} SET v = 0 WHERE v <> 1")

    report = round_trip.restore_in_place(backup, tables=["t*"], replace=True)

    assert {name: it for name, it in fingerprint(round_trip.source).items() if "restored_" not in name} == before
    assert [(found.updated + found.inserted, found.missing + found.changed) for found in report.comparisons] == [
        (2, 2)
    ] * 7


def test_sequences_follow_only_forwards_and_only_for_rows_that_came_back(round_trip: RoundTrip) -> None:
    round_trip.fill(
        "CREATE TABLE downward (id int GENERATED BY DEFAULT AS IDENTITY (INCREMENT -1) PRIMARY KEY)",
        "CREATE TABLE down_again (id int GENERATED BY DEFAULT AS IDENTITY (INCREMENT -2) PRIMARY KEY)",
        "CREATE TABLE texts (id text PRIMARY KEY)",
        "CREATE SEQUENCE of_texts OWNED BY texts.id",
        "CREATE TABLE fresh (id serial PRIMARY KEY)",
        "CREATE TABLE high (id serial PRIMARY KEY)",
        "INSERT INTO downward SELECT FROM generate_series(1, 3)",
        "INSERT INTO down_again SELECT FROM generate_series(1, 2)",
        "INSERT INTO texts VALUES ('x')",
        "INSERT INTO fresh SELECT FROM generate_series(1, 1)",
        "INSERT INTO high SELECT FROM generate_series(1, 3)",
    )
    backup = round_trip.back_up()
    round_trip.fill(
        "DELETE FROM downward WHERE id = -1",
        "DELETE FROM texts",
        "TRUNCATE fresh, down_again RESTART IDENTITY",
        "DELETE FROM high WHERE id = 2",
        "INSERT INTO high VALUES (1000000)",
    )

    for table in ("downward", "down_again", "texts", "fresh", "high"):
        round_trip.restore_in_place(backup, tables=[table], rows={"where": "true"}, apply=True)

    assert rows(round_trip.source, "INSERT INTO downward DEFAULT VALUES RETURNING id") == [(-4,)]
    assert rows(round_trip.source, "INSERT INTO down_again DEFAULT VALUES RETURNING id") == [(-5,)]
    assert rows(round_trip.source, "INSERT INTO fresh DEFAULT VALUES RETURNING id") == [(2,)]
    assert rows(round_trip.source, "INSERT INTO high DEFAULT VALUES RETURNING id") == [(4,)]


def test_names_beside_never_meet(round_trip: RoundTrip) -> None:
    long = "x" * 62
    names = ["t", "t_before", "T", f"{long}1", f"{long}2"]
    for name in names:
        round_trip.fill(f'CREATE TABLE "{name}" (id int PRIMARY KEY)', f'INSERT INTO "{name}" VALUES (1)')
    backup = round_trip.back_up()
    for name in names:
        round_trip.fill(f'UPDATE "{name}" SET id = 2')

    report = round_trip.restore_in_place(backup, schemas=["public"], replace=True)

    places = {place for found in report.comparisons for place in (found.before, found.beside)}
    assert len(places) == 10
    for found in report.comparisons:
        assert rows(round_trip.source, f"SELECT id FROM {found.before}") == [(2,)]


# --- what does not fit any more ---


def test_values_that_the_table_does_not_take_any_more(round_trip: RoundTrip) -> None:
    round_trip.fill("CREATE TABLE t (id text PRIMARY KEY)", "INSERT INTO t VALUES ('one')")
    backup = round_trip.back_up()
    round_trip.fill("DELETE FROM t", "ALTER TABLE t ALTER COLUMN id TYPE int USING id::int")

    error = failed(round_trip, backup, tables=["t"])

    assert error.code == "COPY_FAILED"
    assert "another database" in str(error.__notes__)
    assert sides(round_trip) == []


def test_what_came_back_before_an_error_beside_is_named(round_trip: RoundTrip) -> None:
    round_trip.fill(
        "CREATE TABLE t (id text PRIMARY KEY)", "INSERT INTO t VALUES ('one')", "CREATE TABLE gone (id int)"
    )
    backup = round_trip.back_up()
    round_trip.fill("DROP TABLE gone", "DELETE FROM t", "ALTER TABLE t ALTER COLUMN id TYPE int USING id::int")

    error = failed(round_trip, backup, tables=["t", "gone"])

    assert "left: public.gone" in str(error.__notes__)


# --- hostile expressions ---


@pytest.mark.parametrize(
    "where",
    [
        # A text with backslashes goes on in quotes of the next line, and its backslashes still count there.
        "v = E'a'\n'\\''); DROP TABLE t; SELECT ('$a$') --$a$",
        "v = e'a'\r\n \t'\\''); DROP TABLE t; SELECT ('$a$') --$a$",
        "true) OR (true",
        "v = 'x\0'",
    ],
)
def test_expressions_that_are_more_than_one(round_trip: RoundTrip, where: str) -> None:
    round_trip.fill("CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'a')")
    backup = round_trip.back_up()

    error = failed(round_trip, backup, tables=["t"], rows={"where": where})

    assert error.code == "EVENT_INVALID"
    assert value(round_trip.source, "SELECT count(*) FROM t") == 1


def test_a_text_over_two_lines_is_one(round_trip: RoundTrip) -> None:
    round_trip.fill("CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'a''b')")
    backup = round_trip.back_up()
    run(round_trip.source, "DELETE FROM t")

    report = round_trip.restore_in_place(backup, tables=["t"], rows={"where": "v = E'a'\n'\\'b'"}, apply=True)

    assert [found.inserted for found in report.comparisons] == [1]


# --- bringing back what is gone ---


def test_a_table_that_somebody_else_makes_meanwhile_is_never_dropped(
    round_trip: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    round_trip.fill("CREATE TABLE orders (id int)", "INSERT INTO orders VALUES (1)", "CREATE TABLE others (id int)")
    backup = round_trip.back_up()
    round_trip.fill("DROP TABLE orders, others")
    given = DefinitionRestore.make_marked

    def meanwhile(making: DefinitionRestore, entries: Any, **how: Any) -> None:
        round_trip.fill("CREATE TABLE IF NOT EXISTS others (id int)", "INSERT INTO others VALUES (7)")
        given(making, entries, **how)

    monkeypatch.setattr(DefinitionRestore, "make_marked", meanwhile)

    report = round_trip.restore_in_place(backup, tables=["orders", "others"])

    assert any("table public.others" in left.what and "already exists" in left.reason for left in report.left_out)
    assert set(rows(round_trip.source, "SELECT id FROM others")) == {(7,)}
    assert rows(round_trip.source, "SELECT id FROM orders") == [(1,)]
    # And one that stops at the first refusal drops what is its own
    round_trip.fill("DROP TABLE orders, others")
    error = failed(round_trip, backup, tables=["orders", "others"], strict=True)
    assert error.code == "SCHEMA_FAILED"
    assert set(rows(round_trip.source, "SELECT id FROM others")) == {(7,)}
    assert rows(round_trip.source, "SELECT to_regclass('orders')") == [(None,)]


@pytest.mark.parametrize("small_table_bytes", [0, 1024])
def test_rows_that_somebody_else_puts_into_a_table_that_comes_back_are_never_lost(
    round_trip: RoundTrip, monkeypatch: pytest.MonkeyPatch, small_table_bytes: int
) -> None:
    """Neither of a table that is truncated to be frozen, nor of one that shares a transaction with others."""
    monkeypatch.setattr(restore_batches, "_SMALL_TABLE_BYTES", small_table_bytes)
    round_trip.fill("CREATE TABLE orders (id int)", "INSERT INTO orders VALUES (1)")
    backup = round_trip.back_up()
    round_trip.fill("DROP TABLE orders")

    for begin in (load.truncate, load.refuse_rows_of_others):

        def meanwhile(session: Any, tables: Any, begin: Any = begin) -> None:
            round_trip.fill("INSERT INTO orders VALUES (99)")
            begin(session, tables)

        monkeypatch.setattr(table_rows, begin.__name__, meanwhile)

    error = failed(round_trip, backup, tables=["orders"])

    assert error.code == "TABLE_NOT_EMPTY"
    assert "others write to them" in str(error.__notes__)
    assert rows(round_trip.source, "SELECT id FROM orders") == [(99,)]


@pytest.fixture
def latin(round_trip: RoundTrip) -> RoundTrip:
    """A database whose names and texts are in another encoding than the sessions'."""
    name = database_of(round_trip.source)
    round_trip.server.drop_database(name)
    run(round_trip.server.dsn(), f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    round_trip.fill(
        "CREATE TABLE größen (id serial PRIMARY KEY, maß text DEFAULT 'üblich')",
        "COMMENT ON TABLE größen IS 'für alle'",
        "INSERT INTO größen (maß) VALUES ('groß'), (DEFAULT)",
        "CREATE VIEW übersicht AS SELECT id FROM größen WHERE maß <> 'ä'",
    )
    return round_trip


def test_names_of_another_encoding_come_back(latin: RoundTrip) -> None:
    backup = latin.back_up()
    before, schema = fingerprint(latin.source), schema_of(latin.home, latin.source)
    latin.fill("DROP TABLE größen CASCADE")

    report = latin.restore_in_place(backup, tables=["größen"], with_dependencies=True)

    assert fingerprint(latin.source) == before
    assert schema_of(latin.home, latin.source) == schema
    assert rows(latin.source, "INSERT INTO größen DEFAULT VALUES RETURNING id, maß") == [(3, "üblich")]
    assert report.exceptions == ()


def test_schemas_of_another_encoding_are_replaced(latin: RoundTrip) -> None:
    owner = latin.create_role("latin_owner", "LOGIN")
    name = database_of(latin.source)
    run(latin.server.dsn(), f'ALTER DATABASE "{name}" OWNER TO latin_owner')
    latin.fill("ALTER TABLE größen OWNER TO latin_owner", "ALTER VIEW übersicht OWNER TO latin_owner")
    backup = latin.back_up(reader=owner)
    before, schema = fingerprint(latin.source), schema_of(latin.home, latin.source)
    latin.fill("DELETE FROM größen")

    report = latin.restore_in_place(backup, replace=True)

    run(latin.source, *(kept.remove for kept in report.kept))
    assert fingerprint(latin.source) == before
    assert schema_of(latin.home, latin.source) == schema


def test_a_table_whose_name_begins_anothers_keeps_to_itself(round_trip: RoundTrip) -> None:
    round_trip.fill(
        "CREATE TABLE a (id int PRIMARY KEY)",
        'CREATE TABLE "a b" (id int PRIMARY KEY, a int CONSTRAINT "to a" REFERENCES a)',
        'ALTER TABLE a ADD CONSTRAINT "b to it" FOREIGN KEY (id) REFERENCES "a b" DEFERRABLE',
    )
    backup = round_trip.back_up()
    schema = schema_of(round_trip.home, round_trip.source)
    round_trip.fill('DROP TABLE a, "a b"')

    round_trip.restore_in_place(backup, tables=["a"])

    keys = "SELECT conname FROM pg_constraint WHERE contype = 'f' ORDER BY 1"
    assert rows(round_trip.source, keys) == []
    round_trip.fill("DROP TABLE a")
    round_trip.restore_in_place(backup, tables=["a", '"a b"'])
    assert schema_of(round_trip.home, round_trip.source) == schema


def test_functions_with_odd_names_and_types_are_found(round_trip: RoundTrip) -> None:
    round_trip.fill(
        "CREATE TYPE \"My Type\" AS ENUM ('x')",
        'CREATE FUNCTION "My Func"(a "My Type", b numeric(5, 2)) RETURNS int IMMUTABLE LANGUAGE sql AS \'SELECT 1\'',
        'CREATE COLLATION "My Order" FROM "C"',
        'CREATE TABLE t (id int DEFAULT "My Func"(\'x\', 1) PRIMARY KEY, v text COLLATE "My Order")',
        "INSERT INTO t VALUES (1)",
    )
    backup = round_trip.back_up()
    round_trip.fill("DROP TABLE t")

    round_trip.restore_in_place(backup, tables=["t"])

    assert rows(round_trip.source, "SELECT id FROM t") == [(1,)]
    round_trip.fill("DROP TABLE t", 'DROP FUNCTION "My Func"', 'DROP TYPE "My Type"', 'DROP COLLATION "My Order"')
    error = failed(round_trip, backup, tables=["t"])
    assert error.code == "DEPENDENCY_MISSING"
    assert "My Order" in error.message
    round_trip.restore_in_place(backup, tables=["t"], with_dependencies=True)
    assert rows(round_trip.source, "SELECT id FROM t") == [(1,)]
