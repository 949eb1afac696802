"""Restores bring back all that can come back: one object that cannot be made costs itself and what needs it."""

from __future__ import annotations

import pytest
from tests.integration.contents import RoundTrip, database_of, rows, run, value

from coffre.model.errors import CoffreError
from coffre.model.restore_report import RestoreReport
from coffre_local.sample import fingerprint

_ORPHANS = (
    "CREATE TABLE kinds (id int PRIMARY KEY, n text)",
    "CREATE TABLE points (id int PRIMARY KEY, kind int REFERENCES kinds ON DELETE CASCADE, v text)",
    "INSERT INTO kinds SELECT g, 'k' || g FROM generate_series(1, 10) g",
    "INSERT INTO points SELECT g, 1 + g % 10, 'x' FROM generate_series(1, 200) g",
    "SET session_replication_role = replica; DELETE FROM kinds WHERE id = 4",
)


def left_out(report: RestoreReport) -> dict[str, str]:
    """Return what was left out with its SQL, and check that the exceptions say the same."""
    assert [str(left) for left in report.left_out] == [
        text for text in report.exceptions if text.startswith("Not restored: ")
    ]
    return {left.what: left.sql or "" for left in report.left_out}


def test_a_key_with_orphans_costs_its_validation_and_no_row(round_trip: RoundTrip) -> None:
    round_trip.fill(*_ORPHANS)

    report = round_trip.make()

    # Then every row is there, new rows are checked, and the statement that validates the key is given
    assert fingerprint(round_trip.copy) == fingerprint(round_trip.source)
    left = left_out(report)
    assert list(left) == ["the validation of the foreign key public.points points_kind_fkey"]
    assert "NOT VALID" in report.left_out[0].reason
    assert rows(round_trip.copy, "SELECT convalidated FROM pg_constraint WHERE contype = 'f'") == [(False,)]
    run(round_trip.copy, "INSERT INTO kinds VALUES (4, 'k4')", *left.values())
    assert rows(round_trip.copy, "SELECT convalidated FROM pg_constraint WHERE contype = 'f'") == [(True,)]


def test_strict_stops_at_the_first_refusal_with_the_servers_own_words(round_trip: RoundTrip) -> None:
    round_trip.fill(*_ORPHANS)
    backup = round_trip.back_up()

    with pytest.raises(CoffreError) as caught:
        round_trip.restore(backup, strict=True)

    assert caught.value.code == "SCHEMA_FAILED"
    assert "points_kind_fkey" in caught.value.message
    assert "violates foreign key constraint" in (caught.value.detail or "")
    assert "transaction_timeout" not in (caught.value.detail or "")
    assert "--strict" in (caught.value.hint or "")


def test_names_without_a_schema_are_found_with_the_sources_own_path(round_trip: RoundTrip) -> None:
    # Given definitions whose SQL is looked at when they are made: inlined, and with names that the path finds
    round_trip.fill(
        f'ALTER DATABASE "{database_of(round_trip.source)}" SET search_path = app, public',
        "CREATE SCHEMA app",
        "CREATE FUNCTION app.plus(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT i + 1'",
        "SET search_path = app, public;"
        " CREATE FUNCTION app.twice(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT plus(i) * 2'",
        "SET search_path = app, public;"
        " CREATE TABLE public.t (i int, j int GENERATED ALWAYS AS (app.twice(i)) STORED, CHECK (app.twice(i) > 0));"
        " INSERT INTO public.t (i) SELECT generate_series(1, 50)",
    )

    report = round_trip.make()

    assert left_out(report) == {}
    assert report.exceptions == ()
    assert fingerprint(round_trip.copy) == fingerprint(round_trip.source)
    round_trip.assert_equal()


def test_what_needs_a_left_out_object_goes_with_it_and_comes_back_with_its_sql(round_trip: RoundTrip) -> None:
    # Given a unique index over rows that are not unique (its source is damaged), and what builds on it
    round_trip.fill(
        "CREATE TABLE people (id int, n text)",
        "INSERT INTO people VALUES (1, 'a'), (2, 'b')",
        "ALTER TABLE people ADD CONSTRAINT people_key PRIMARY KEY (id)",
        "COMMENT ON CONSTRAINT people_key ON people IS 'one each'",
        "CREATE TABLE pets (id int PRIMARY KEY, owner int REFERENCES people)",
        "INSERT INTO pets VALUES (1, 1), (2, 2)",
        "CREATE VIEW grouped AS SELECT id, n, count(*) FROM people GROUP BY id",
        "CREATE VIEW over_it AS SELECT * FROM grouped",
        "CREATE VIEW apart AS SELECT n FROM people",
    )
    run(
        round_trip.source,
        "SET allow_system_table_mods = on; UPDATE pg_index SET indisunique = true, indisready = false"
        " WHERE indexrelid = 'people_key'::regclass",
        "INSERT INTO people VALUES (2, 'twice')",
        "UPDATE pg_index SET indisready = true WHERE indexrelid = 'people_key'::regclass",
    )

    report = round_trip.make()

    left = left_out(report)
    assert list(left) == ["constraint public.people people_key"]
    reason = report.left_out[0].reason
    assert "could not create unique index" in reason
    assert "foreign key public.pets pets_owner_fkey" in reason
    assert "comment" not in reason.split("Not restored either", 1)[1].lower()
    assert value(round_trip.copy, "SELECT count(*) FROM people") == 3
    assert value(round_trip.copy, "SELECT count(*) FROM pets") == 2
    assert value(round_trip.copy, "SELECT count(*) FROM apart") == 3
    run(round_trip.copy, "DELETE FROM people WHERE n = 'twice'", left["constraint public.people people_key"])
    assert value(round_trip.copy, "SELECT count(*) FROM over_it") == 2
    assert value(round_trip.copy, "SELECT count(*) FROM pg_constraint WHERE conname = 'pets_owner_fkey'") == 1


def test_comments_follow_what_was_left_out(round_trip: RoundTrip) -> None:
    round_trip.create_role("salvage_role")
    round_trip.fill(
        "CREATE TABLE t (a int PRIMARY KEY)",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY p ON t TO salvage_role USING (true)",
        "COMMENT ON POLICY p ON t IS 'x'",
    )
    backup = round_trip.back_up()
    run(round_trip.source, "DROP POLICY p ON t")
    run(round_trip.server.dsn(), "DROP ROLE salvage_role")

    report = round_trip.restore(backup)

    left = left_out(report)
    assert list(left) == ["policy public.t p"]
    assert "COMMENT ON POLICY" in left["policy public.t p"]


def test_each_grant_that_can_be_set_is_set(round_trip: RoundTrip) -> None:
    # Given a schema of a plain owner, a grant to a role that it is no member of, and things of others
    round_trip.create_role("salvage_web")
    round_trip.create_role("salvage_other")
    round_trip.create_role("salvage_owner", "LOGIN CREATEDB")
    run(round_trip.server.dsn(), f'ALTER DATABASE "{database_of(round_trip.source)}" OWNER TO salvage_owner')
    round_trip.fill(
        "SET ROLE salvage_owner; CREATE SCHEMA app; CREATE TABLE app.customers AS SELECT 1 AS id;"
        " GRANT USAGE ON SCHEMA app TO salvage_web; GRANT SELECT ON app.customers TO salvage_web",
        "RESET ROLE; CREATE TABLE app.others AS SELECT 1 AS id; ALTER TABLE app.others OWNER TO salvage_other;"
        " GRANT SELECT ON app.others TO salvage_web",
    )

    backup = round_trip.back_up()
    report = round_trip.restore(backup, round_trip.server.dsn(database_of(round_trip.copy), user="salvage_owner"))

    for table in ("app.customers", "app.others"):
        query = f"SELECT has_table_privilege('salvage_web', '{table}', 'SELECT')"
        assert value(round_trip.copy, query) is True
    left = left_out(report)
    assert list(left) == ["the owner of the table app.others"]
    assert left["the owner of the table app.others"] == 'ALTER TABLE "app"."others" OWNER TO "salvage_other";\n'


def test_the_owner_of_schema_public_is_set(round_trip: RoundTrip) -> None:
    round_trip.create_role("salvage_owner")
    round_trip.fill("ALTER SCHEMA public OWNER TO salvage_owner", "CREATE TABLE t AS SELECT 1 AS id")

    report = round_trip.make()

    assert report.exceptions == ()
    assert value(round_trip.copy, "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'public'") == (
        "salvage_owner"
    )


def test_a_destination_that_is_read_only_by_default_is_restored_into(round_trip: RoundTrip) -> None:
    round_trip.create_role("salvage_reader", "LOGIN SUPERUSER")
    run(round_trip.server.dsn(), "ALTER ROLE salvage_reader SET default_transaction_read_only = on")
    round_trip.fill(
        "CREATE TABLE t AS SELECT 1 AS id",
        f'ALTER DATABASE "{database_of(round_trip.source)}" SET default_transaction_read_only = on',
    )

    backup = round_trip.back_up()
    url = round_trip.server.dsn(database_of(round_trip.copy), user="salvage_reader")
    report = round_trip.restore(backup, url)

    assert report.exceptions == ()
    assert fingerprint(round_trip.copy) == fingerprint(round_trip.source)


def test_an_extension_that_exists_and_cannot_be_created_costs_only_what_needs_it(round_trip: RoundTrip) -> None:
    round_trip.create_role("salvage_owner", "LOGIN CREATEDB")
    round_trip.fill(
        "CREATE EXTENSION file_fdw",
        "CREATE SERVER files FOREIGN DATA WRAPPER file_fdw",
        "CREATE TABLE t AS SELECT 1 AS id",
        "CREATE PUBLICATION everything FOR ALL TABLES",
        "CREATE FUNCTION c() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    )

    backup = round_trip.back_up()
    report = round_trip.restore(backup, round_trip.server.dsn(database_of(round_trip.copy), user="salvage_owner"))

    left = left_out(report)
    assert "extension file_fdw" in left
    assert "publication everything" in left
    assert "CREATE SERVER files" in left["extension file_fdw"]
    assert fingerprint(round_trip.copy) == fingerprint(round_trip.source)


def test_a_database_where_nothing_may_be_created_is_an_error_and_no_empty_success(round_trip: RoundTrip) -> None:
    round_trip.create_role("salvage_nobody", "LOGIN")
    round_trip.fill("CREATE TABLE t AS SELECT 1 AS id")
    backup = round_trip.back_up()
    round_trip.server.create_database(database_of(round_trip.copy))

    with pytest.raises(CoffreError) as caught:
        round_trip.restore(backup, round_trip.server.dsn(database_of(round_trip.copy), user="salvage_nobody"))

    assert "permission denied" in f"{caught.value.detail}"


def test_statistics_are_gathered_so_that_the_planner_knows_the_tables(round_trip: RoundTrip) -> None:
    round_trip.fill(
        "CREATE TABLE t AS SELECT g AS id, g % 7 AS k FROM generate_series(1, 1000) g",
        "CREATE STATISTICS t_stats (ndistinct) ON id, k FROM t",
        "CREATE TABLE p (id int) PARTITION BY RANGE (id)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100)",
        "INSERT INTO p SELECT generate_series(0, 99)",
        "CREATE MATERIALIZED VIEW m AS SELECT k, count(*) FROM t GROUP BY k",
    )
    backup = round_trip.back_up()

    report = round_trip.restore(backup)

    assert "statistics" in report.phases_ms
    analyzed = rows(
        round_trip.copy, "SELECT DISTINCT tablename::text FROM pg_stats WHERE schemaname = 'public' ORDER BY 1"
    )
    assert analyzed == [("m",), ("p",), ("p1",), ("t",)]
    assert value(round_trip.copy, "SELECT count(*) FROM pg_statistic_ext_data") == 1
    round_trip.server.drop_database(database_of(round_trip.copy))
    assert "statistics" not in round_trip.restore(backup, analyze=False).phases_ms


def test_a_restore_that_did_not_end_in_an_existing_database_can_be_started_again(
    round_trip: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an empty database with a function of the platform's, and a restore that ends in the middle
    round_trip.fill(
        "CREATE SCHEMA app",
        "CREATE TYPE kind AS ENUM ('a', 'b')",
        "CREATE TABLE app.t (id serial PRIMARY KEY, k kind)",
        "CREATE VIEW v AS SELECT * FROM app.t",
        "INSERT INTO app.t (k) SELECT 'a' FROM generate_series(1, 100)",
        "CREATE EXTENSION pg_trgm",
        "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE PUBLICATION all_of_it FOR TABLE app.t",
        "SELECT lo_from_bytea(0, 'x')",
    )
    backup = round_trip.back_up()
    round_trip.server.create_database(database_of(round_trip.copy))
    run(round_trip.copy, "CREATE FUNCTION of_the_platform() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    with monkeypatch.context() as patch:
        patch.setattr("coffre.operations.restore_database.table_rows.copy_in", lambda *_, **__: -1)
        with pytest.raises(CoffreError):
            round_trip.restore(backup)

    # Then the next one says so, and what would be removed
    with pytest.raises(CoffreError) as caught:
        round_trip.restore(backup)
    assert caught.value.code == "DESTINATION_UNFINISHED"
    plan = round_trip.restore(backup, dry_run=True, restart=True)
    assert any("schema app" in step for step in plan.steps)
    assert not any("of_the_platform" in step for step in plan.steps)

    # And with restart it begins again, and leaves no mark
    report = round_trip.restore(backup, restart=True)

    assert report.exceptions == ()
    assert fingerprint(round_trip.copy) == fingerprint(round_trip.source)
    assert value(round_trip.copy, "SELECT of_the_platform()") == 1
    assert rows(round_trip.copy, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'coffre%'") == []
    with pytest.raises(CoffreError) as caught:
        round_trip.restore(backup, restart=True)
    assert caught.value.code == "DESTINATION_NOT_EMPTY"
