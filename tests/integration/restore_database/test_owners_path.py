"""The owner's code names things without their schema: it runs as it does for the application, ours never does."""

from __future__ import annotations

from typing import Any

import psycopg2
import psycopg2.errors
import pytest
from tests.integration.contents import RoundTrip, rows, run, value

from coffre.model.errors import CoffreError
from coffre_local.sample import fingerprint

# The issue's own, and every other kind of code that fires when a row changes.
GYM = (
    "CREATE EXTENSION cube",
    "CREATE TABLE gym (id int PRIMARY KEY, lon float8, lat float8, loc cube, seen date DEFAULT '2026-01-01')",
    """CREATE FUNCTION set_loc() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN NEW.loc := ('('||NEW.lon||','||NEW.lat||')')::cube; RETURN NEW; END $$""",
    "CREATE TRIGGER t BEFORE INSERT OR UPDATE ON gym FOR EACH ROW EXECUTE FUNCTION set_loc()",
    "INSERT INTO gym (id, lon, lat) SELECT n, n, -n FROM generate_series(1, 50) n",
)
HELPER = (
    "CREATE FUNCTION base(v int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT v * 2'",
    "CREATE FUNCTION twice(v int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN base(v); END'",
)
KINDS = {
    "default": ("CREATE TABLE t (id int PRIMARY KEY, v int)", "ALTER TABLE t ADD later int DEFAULT twice(4)"),
    "check": ("CREATE TABLE t (id int PRIMARY KEY, v int CHECK (twice(v) > 0))",),
    "domain": (
        "CREATE DOMAIN small AS int CHECK (twice(value) > 0)",
        "CREATE TABLE t (id int PRIMARY KEY, v small)",
    ),
    "generated": ("CREATE TABLE t (id int PRIMARY KEY, v int, w int GENERATED ALWAYS AS (twice(v)) STORED)",),
    "index": ("CREATE TABLE t (id int PRIMARY KEY, v int)", "CREATE UNIQUE INDEX it ON t ((base(v)))"),
    "deferred": (
        "CREATE TABLE t (id int PRIMARY KEY, v int)",
        """CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN IF twice(new.v) < 0 THEN RAISE EXCEPTION $$no$$; END IF; RETURN new; END'""",
        """CREATE CONSTRAINT TRIGGER look AFTER INSERT OR UPDATE ON t DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION look()""",
    ),
    "rule": (
        "CREATE TABLE t (id int PRIMARY KEY, v int)",
        "CREATE TABLE seen (n int)",
        "CREATE RULE r AS ON UPDATE TO t DO ALSO INSERT INTO seen VALUES (twice(new.v))",
    ),
}


@pytest.mark.parametrize("scope", [{}, {"replace": True}, {"rows": {"where": "true"}, "apply": True}])
def test_a_trigger_with_names_of_the_databases_own_path(round_trip: RoundTrip, scope: dict[str, Any]) -> None:
    round_trip.fill(*GYM)
    backup = round_trip.back_up()
    before = rows(round_trip.source, "SELECT * FROM gym ORDER BY 1")
    round_trip.fill("DELETE FROM gym WHERE id <= 5", "UPDATE gym SET lat = 0 WHERE id = 9")

    report = round_trip.restore_in_place(backup, tables=["gym"], **scope)

    assert report.exceptions == ()
    (found,) = report.comparisons
    assert (found.missing, found.changed) == (5, 1)
    if scope:
        assert rows(round_trip.source, "SELECT * FROM gym ORDER BY 1") == before


@pytest.mark.parametrize("kind", KINDS)
def test_code_of_every_kind_runs_under_the_databases_own_path(round_trip: RoundTrip, kind: str) -> None:
    table, *more = KINDS[kind] if kind != "domain" else (KINDS[kind][1], KINDS[kind][0])
    before = more if kind == "domain" else []
    round_trip.fill(*HELPER, *before, table, "INSERT INTO t (id, v) SELECT n, n FROM generate_series(1, 30) n")
    backup = round_trip.back_up()
    original = rows(round_trip.source, "SELECT id, v FROM t ORDER BY 1")
    round_trip.fill(*([] if before else more), "UPDATE t SET v = 40 WHERE id = 7", "DELETE FROM t WHERE id = 8")

    round_trip.restore_in_place(backup, tables=["t"], replace=True)

    assert rows(round_trip.source, "SELECT id, v FROM t ORDER BY 1") == original
    if kind == "default":
        assert value(round_trip.source, "SELECT later FROM t WHERE id = 8") == 8


def test_a_dropped_table_whose_rows_need_the_path_comes_back(round_trip: RoundTrip) -> None:
    round_trip.fill(
        *HELPER,
        "CREATE DOMAIN small AS int CHECK (twice(value) > 0)",
        "CREATE TABLE t (id int PRIMARY KEY, v small, w int CHECK (twice(w) > 0))",
        "INSERT INTO t SELECT n, n, n FROM generate_series(1, 30) n",
    )
    backup = round_trip.back_up()
    before = fingerprint(round_trip.source)
    round_trip.fill("DROP TABLE t")

    round_trip.restore_in_place(backup, tables=["t"])

    assert fingerprint(round_trip.source) == before


def test_the_path_is_the_one_that_a_fresh_session_has(round_trip: RoundTrip) -> None:
    name = round_trip.source.rsplit("/", 1)[1]
    round_trip.fill(
        "CREATE SCHEMA app",
        f"ALTER DATABASE {name} SET search_path = app, public",
        f"ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'",
    )
    round_trip.fill(
        "CREATE FUNCTION app.day_of(timestamptz) RETURNS date LANGUAGE sql STABLE AS 'SELECT $1::date'",
        "CREATE TABLE app.t (id int PRIMARY KEY, at timestamptz, day date)",
        "CREATE FUNCTION app.set_day() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN new.day := day_of(new.at); RETURN new; END'",
        "CREATE TRIGGER set_day BEFORE INSERT OR UPDATE ON app.t FOR EACH ROW EXECUTE FUNCTION app.set_day()",
        "INSERT INTO app.t VALUES (1, '2026-11-01 20:00+00')",
    )
    backup = round_trip.back_up()
    before = rows(round_trip.source, "SELECT * FROM app.t")
    round_trip.fill("DELETE FROM app.t")

    report = round_trip.restore_in_place(backup, tables=["app.t"], replace=True)

    assert rows(round_trip.source, "SELECT * FROM app.t") == before
    assert report.exceptions == ()


def test_a_choice_of_rows_may_use_what_the_database_has(round_trip: RoundTrip) -> None:
    round_trip.fill(*GYM)
    backup = round_trip.back_up()
    round_trip.fill("DELETE FROM gym")

    report = round_trip.restore_in_place(
        backup, tables=["gym"], rows={"where": "loc <@ cube '(0,-3),(3,0)'"}, apply=True
    )

    assert [found.inserted for found in report.comparisons] == [3]


TRAP = """CREATE FUNCTION {schema}.{name}({types}) RETURNS {result} LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'caught {name}'; END $$"""


@pytest.mark.parametrize("scope", [{}, {"replace": True}, {"rows": {"column": "id", "start": "2"}, "apply": True}])
def test_nobody_catches_names_of_ours(round_trip: RoundTrip, scope: dict[str, Any]) -> None:
    """CVE-2018-1058: who may create things in the path's first schema would make our statements run their code."""
    name = round_trip.source.rsplit("/", 1)[1]
    round_trip.fill(
        "CREATE TABLE t (id int PRIMARY KEY, list_pos int UNIQUE, v text)",
        "INSERT INTO t SELECT n, n, 'v' FROM generate_series(1, 9) n",
        "CREATE SCHEMA evil",
    )
    backup = round_trip.back_up()
    before = rows(round_trip.source, "SELECT * FROM public.t ORDER BY 1")
    round_trip.fill(
        "DELETE FROM t WHERE id = 5",
        "UPDATE t SET list_pos = -list_pos WHERE id IN (7, 8)",
        "UPDATE t SET list_pos = 15 + list_pos WHERE id IN (7, 8)",
    )
    for function, types, result in (
        ("int4eq", "int, int", "boolean"),
        ("int8ge", "bigint, int", "boolean"),
        ("texteq", "text, text", "boolean"),
        ("record_ne", "record, record", "boolean"),
        ("count", "", "bigint"),
        ("setval", "regclass, bigint", "bigint"),
    ):
        round_trip.fill(TRAP.format(schema="evil", name=function, types=types, result=result))
    for operator, left, right, function in (
        ("=", "int", "int", "int4eq"),
        (">=", "int", "int", "int4eq"),
        ("<", "int", "int", "int4eq"),
        (">=", "bigint", "int", "int8ge"),
        ("=", "text", "text", "texteq"),
        ("*<>", "record", "record", "record_ne"),
    ):
        round_trip.fill(
            f"CREATE OPERATOR evil.{operator} (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = evil.{function})"
        )
    round_trip.fill(
        "CREATE TYPE evil.record AS (a int)",
        "CREATE TABLE evil.t (id int)",
        "CREATE TABLE evil.pg_class (id int)",
        f"ALTER DATABASE {name} SET search_path = evil, public, pg_catalog",
    )

    with pytest.raises(psycopg2.errors.RaiseException, match="caught int4eq"):
        rows(round_trip.source, "SELECT 1 WHERE 1 = 1")

    report = round_trip.restore_in_place(backup, tables=["public.t"], **scope)

    assert [found.missing for found in report.comparisons] == [1]
    if scope:
        assert rows(round_trip.source, "SELECT * FROM public.t ORDER BY 1") == before


def test_after_an_error_the_path_is_ours_again(round_trip: RoundTrip) -> None:
    round_trip.fill(
        "CREATE TABLE t (id int PRIMARY KEY)",
        "INSERT INTO t VALUES (1)",
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$never$$; END'",
    )
    backup = round_trip.back_up()
    round_trip.fill("DELETE FROM t", "CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()")

    with pytest.raises(CoffreError) as caught:
        round_trip.restore_in_place(backup, tables=["t"], replace=True)

    assert caught.value.code == "APPLY_FAILED"
    assert "never" in (caught.value.detail or "")
    assert rows(round_trip.source, "SELECT 1 FROM pg_namespace WHERE nspname LIKE 'restored%'") == []


CHECKED = (
    *HELPER,
    "CREATE TABLE t (id int PRIMARY KEY, w int CHECK (twice(w) > 0))",
    "INSERT INTO t SELECT n, n FROM generate_series(1, 30) n",
)


def test_rows_alone_are_loaded_under_it_too(round_trip: RoundTrip) -> None:
    round_trip.fill(*CHECKED)
    backup = round_trip.back_up()
    round_trip.restore(backup, contents="schema")

    round_trip.restore(backup, contents="data")

    assert fingerprint(round_trip.copy) == fingerprint(round_trip.source)


def test_schemas_in_place_are_loaded_under_it_too(round_trip: RoundTrip) -> None:
    owner = round_trip.create_role("path_owner", "LOGIN")
    run(round_trip.server.dsn(), f'ALTER DATABASE "{round_trip.source.rsplit("/", 1)[1]}" OWNER TO path_owner')
    run(owner, *CHECKED)
    backup = round_trip.back_up(reader=owner)
    before = fingerprint(round_trip.source)
    round_trip.fill("TRUNCATE t")

    report = round_trip.restore_in_place(backup, replace=True)

    run(round_trip.source, *(kept.remove for kept in report.kept))
    assert fingerprint(round_trip.source) == before
