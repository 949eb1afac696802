"""Replacing a whole database, and restores of definitions or rows alone."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg2
import pytest
from tests.integration.contents import RoundTrip, database_of, rows, run, schema_of, value

from coffre.model.errors import CoffreError
from coffre_local.sample import fingerprint, sequences

SHOP = (
    "CREATE SCHEMA app",
    "CREATE TABLE app.parents (id serial PRIMARY KEY, note text)",
    "CREATE TABLE children (id int PRIMARY KEY, parent int NOT NULL REFERENCES app.parents)",
    "CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM children",
    "INSERT INTO app.parents (note) SELECT 'n' || n FROM generate_series(1, 50) n",
    "INSERT INTO children SELECT n, 1 + n % 50 FROM generate_series(1, 500) n",
    "REFRESH MATERIALIZED VIEW counted",
)
DAMAGE = ("DELETE FROM children", "DROP TABLE app.parents CASCADE", "CREATE TABLE later (id int)")


@pytest.fixture
def shop(round_trip: RoundTrip) -> RoundTrip:
    round_trip.fill(*SHOP)
    return round_trip


def failed(shop: RoundTrip, backup: Any, **scope: Any) -> CoffreError:
    with pytest.raises(CoffreError) as caught:
        shop.restore_in_place(backup, **scope)
    return caught.value


def alongside(shop: RoundTrip) -> list[tuple[str]]:
    """Return the names of databases that a restore made to take the place of the source."""
    name = database_of(shop.source)
    return rows(shop.server.dsn(), f"SELECT datname FROM pg_database WHERE datname ~ '^{name}_restored_'")


def test_a_database_is_replaced_while_others_use_it_and_the_old_one_is_kept(shop: RoundTrip) -> None:
    backup = shop.back_up()
    before, schema = fingerprint(shop.source), schema_of(shop.home, shop.source)
    name = database_of(shop.source)
    shop.fill(
        *DAMAGE,
        f"ALTER DATABASE \"{name}\" SET work_mem = '5MB'",
        f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC',
    )
    damaged = fingerprint(shop.source)
    with closing(psycopg2.connect(shop.source)) as visitor:
        visitor.cursor().execute("SELECT 1")

        report = shop.restore_in_place(backup, replace=True)

    assert fingerprint(shop.source) == before
    assert schema_of(shop.home, shop.source) == schema
    assert any("had others: CONNECT of PUBLIC, the setting work_mem." in text for text in report.notes)
    (kept,) = report.kept
    old = kept.remove.split('"')[1]
    assert fingerprint(shop.server.dsn(old)) == damaged
    run(shop.server.dsn(), kept.remove)


def test_a_dry_run_of_replacing_says_the_way_and_changes_nothing(shop: RoundTrip) -> None:
    backup = shop.back_up()
    shop.fill(*DAMAGE)
    damaged = fingerprint(shop.source)

    report = shop.restore_in_place(backup, replace=True, dry_run=True)

    assert "rename it to" in report.steps[-1]
    assert fingerprint(shop.source) == damaged
    assert alongside(shop) == []


def test_a_restore_that_fails_beside_leaves_the_database_in_use(
    shop: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = shop.back_up()
    shop.fill(*DAMAGE)
    damaged = fingerprint(shop.source)
    monkeypatch.setattr("coffre.operations.restore_database.table_rows.copy_in", lambda *_, **__: -1)

    assert failed(shop, backup, replace=True).code == "ROWS_DIFFER"

    assert fingerprint(shop.source) == damaged
    assert alongside(shop) == []


def test_a_swap_that_is_refused_leaves_both_databases(shop: RoundTrip, monkeypatch: pytest.MonkeyPatch) -> None:
    backup = shop.back_up()
    shop.fill(*DAMAGE)
    damaged = fingerprint(shop.source)
    monkeypatch.setattr("coffre.postgres.destination.database_swap._ATTEMPTS", 1)
    monkeypatch.setattr("coffre.postgres.destination.database_swap._CONNECTED", "SELECT 0 WHERE %s IS NULL")
    with closing(psycopg2.connect(shop.source)) as visitor:
        visitor.cursor().execute("SELECT 1")

        error = failed(shop, backup, replace=True)

    assert error.code == "SWAP_FAILED"
    assert fingerprint(shop.source) == damaged
    ((restored,),) = alongside(shop)
    assert restored in (error.hint or "")
    assert value(shop.server.dsn(restored), "SELECT count(*) FROM children") == 500
    run(shop.server.dsn(), f'DROP DATABASE "{restored}"')


ORPHAN = "SET session_replication_role = replica; DELETE FROM app.parents WHERE id = 7"


def test_a_database_that_lacks_something_is_kept_and_swapped_on_a_second_call(shop: RoundTrip) -> None:
    # Given rows that violate a key
    shop.fill(ORPHAN)
    backup = shop.back_up()
    good = fingerprint(shop.source)
    shop.fill(*DAMAGE)
    damaged = fingerprint(shop.source)

    report = shop.restore_in_place(backup, replace=True)

    # Then the one in use is unchanged, what was built is kept, and it is said how to put it in place
    assert fingerprint(shop.source) == damaged
    (kept,) = report.kept
    assert fingerprint(shop.server.dsn(kept.remove.split('"')[1])) == good
    assert report.left_out[0].what == "the validation of the foreign key public.children children_parent_fkey"
    assert f"coffre restore database {backup.id} --replace --swap {report.id}" in report.exceptions[-1]

    swapped = shop.restore_in_place(backup, replace=True, swap=report.id)

    assert fingerprint(shop.source) == good
    (old,) = swapped.kept
    assert fingerprint(shop.server.dsn(old.remove.split('"')[1])) == damaged
    run(shop.server.dsn(), old.remove)
    # And a swap of what is not there changes nothing
    error = failed(shop, backup, replace=True, swap=report.id)
    assert error.code == "SWAP_FAILED"
    assert fingerprint(shop.source) == good


def test_what_is_accepted_is_swapped_at_once(shop: RoundTrip) -> None:
    shop.fill(ORPHAN)
    backup = shop.back_up()
    good = fingerprint(shop.source)
    shop.fill(*DAMAGE)

    report = shop.restore_in_place(backup, replace=True, accept_exceptions=True)

    assert fingerprint(shop.source) == good
    assert len(report.left_out) == 1
    run(shop.server.dsn(), report.kept[0].remove)


@pytest.fixture
def owner(shop: RoundTrip) -> str:
    """The URL of the source as a role that owns everything in it and can create no database."""
    url = shop.create_role("owner_only", "LOGIN")
    name = database_of(shop.source)
    run(shop.server.dsn(), f'ALTER DATABASE "{name}" OWNER TO owner_only')
    run(shop.source, *(f"ALTER {what} OWNER TO owner_only" for what in (
        "SCHEMA app", "TABLE app.parents", "TABLE children", "MATERIALIZED VIEW counted",
    )))  # fmt: skip
    return url


def test_where_no_second_database_is_possible_schemas_are_replaced_in_one_transaction(
    shop: RoundTrip, owner: str
) -> None:
    backup = shop.back_up(reader=owner)
    before, schema, states = fingerprint(shop.source), schema_of(shop.home, shop.source), sequences(shop.source)
    run(owner, *DAMAGE)

    report = shop.restore_in_place(backup, replace=True)

    assert "may not create databases" in report.steps[0]
    kept = [kept.remove for kept in report.kept]
    assert fingerprint(shop.source).items() >= before.items()
    run(shop.source, *kept)
    assert fingerprint(shop.source) == before
    assert sequences(shop.source) == states
    assert schema_of(shop.home, shop.source) == schema


def test_where_no_other_database_lets_us_in_schemas_are_replaced_too(shop: RoundTrip, owner: str) -> None:
    backup = shop.back_up(reader=owner)
    closed = ("postgres", "template1")
    run(shop.server.dsn(), *(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC" for name in closed))
    try:
        report = shop.restore_in_place(backup, replace=True, dry_run=True)
    finally:
        run(shop.server.dsn(), *(f"GRANT CONNECT ON DATABASE {name} TO PUBLIC" for name in closed))

    assert "schema by schema" in report.steps[0]
    assert "no other database of the server can be used" in report.steps[0]


def test_replacing_schemas_never_goes_half_way(shop: RoundTrip, owner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backup = shop.back_up(reader=owner)
    run(owner, *DAMAGE)
    damaged, schema = fingerprint(shop.source), schema_of(shop.home, shop.source)
    monkeypatch.setattr("coffre.operations.restore_database.table_rows.copy_in", lambda *_, **__: -1)

    assert failed(shop, backup, replace=True).code == "ROWS_DIFFER"

    assert fingerprint(shop.source) == damaged
    assert schema_of(shop.home, shop.source) == schema


# --- definitions or rows alone ---


def test_definitions_then_rows(shop: RoundTrip) -> None:
    shop.fill("SELECT lo_from_bytea(4711, 'something large')")
    backup = shop.back_up()

    report = shop.restore(backup, contents="schema")

    assert report.rows == 0
    assert schema_of(shop.home, shop.copy) == schema_of(shop.home, shop.source)
    assert value(shop.copy, "SELECT count(*) FROM children") == 0
    shop.restore(backup, contents="data")
    shop.assert_equal()
    shop.assert_same_answer("SELECT oid, lo_get(oid) FROM pg_largeobject_metadata")


def test_rows_alone_follow_the_keys_and_need_no_right_but_to_the_tables(
    shop: RoundTrip, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coffre.operations.restore_database.tables_attempts.MARKED_BYTES", 0)
    run(owner, "SELECT lo_create(1)")
    backup = shop.back_up(reader=owner)
    name = database_of(shop.copy)
    run(shop.server.dsn(), f'CREATE DATABASE "{name}" OWNER owner_only')
    mine = shop.server.dsn(name, user="owner_only")
    shop.restore(backup, into=mine, contents="schema")
    run(mine, "SELECT lo_create(2)", "ALTER TABLE app.parents ALTER COLUMN note TYPE varchar(9)")
    run(shop.server.dsn(), f'ALTER DATABASE "{name}" OWNER TO postgres')

    report = shop.restore(backup, into=mine, contents="data")

    assert "in the order of their foreign keys" in report.steps[0]
    assert fingerprint(shop.copy) == fingerprint(shop.source)
    narrower, objects = report.exceptions
    assert "is character varying(9) now, and text in the backup" in narrower
    assert objects.startswith("Not restored: large objects")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("INSERT INTO app.parents VALUES (1, 'mine')", "app.parents has rows"),
        ("DROP TABLE children CASCADE", "public.children is missing"),
        ("ALTER TABLE app.parents DROP COLUMN note", "app.parents lacks the column note"),
    ],
)
def test_rows_alone_need_the_tables_as_they_were_and_empty(shop: RoundTrip, change: str, words: str) -> None:
    backup = shop.back_up()
    shop.restore(backup, contents="schema")
    run(shop.copy, change)
    before = fingerprint(shop.copy)

    with pytest.raises(CoffreError) as caught:
        shop.restore(backup, contents="data")

    assert caught.value.code == "TABLES_NOT_READY"
    assert words in caught.value.message
    assert fingerprint(shop.copy) == before


def test_rows_alone_that_do_not_fit_cost_their_table_alone(shop: RoundTrip) -> None:
    backup = shop.back_up()
    shop.restore(backup, contents="schema")
    run(shop.copy, "ALTER TABLE children ADD CONSTRAINT below CHECK (id < 400)")

    report = shop.restore(backup, contents="data")

    left = {one.what: one.reason for one in report.left_out}
    assert list(left) == ["the rows of public.children", "the rows of the materialized view public.counted"]
    assert "below" in left["the rows of public.children"]
    assert "public.children" not in [table.table for table in report.tables]
    assert value(shop.copy, "SELECT count(*) FROM children") == 0
    assert value(shop.copy, "SELECT count(*) FROM app.parents") == value(
        shop.source, "SELECT count(*) FROM app.parents"
    )
    # And the application's own constraint is as it was
    assert value(shop.copy, "SELECT convalidated FROM pg_constraint WHERE conname = 'below'") is True


def test_rows_alone_whose_parents_did_not_fit_are_named_with_their_keys(shop: RoundTrip) -> None:
    shop.fill(
        "CREATE SCHEMA years",
        "CREATE TABLE years.events (year int, id int, PRIMARY KEY (year, id)) PARTITION BY LIST (year)",
        "CREATE TABLE years.y1 PARTITION OF years.events FOR VALUES IN (1)",
        "CREATE TABLE years.y2 PARTITION OF years.events FOR VALUES IN (2)",
        "INSERT INTO years.events SELECT 1 + g % 2, g FROM generate_series(1, 6) g",
        """CREATE TABLE years."seen by" (year int, "Event" int, CONSTRAINT "of ""one" FOREIGN KEY (year, "Event")
           REFERENCES years.events MATCH FULL)""",
        'INSERT INTO years."seen by" SELECT * FROM years.events UNION ALL SELECT NULL, NULL',
        "CREATE TABLE years.next (year int, id int, FOREIGN KEY (year, id) REFERENCES years.y1)",
        "INSERT INTO years.next VALUES (1, 2), (NULL, 7)",
    )
    backup = shop.back_up()
    shop.restore(backup, contents="schema")
    run(
        shop.copy,
        "ALTER TABLE app.parents ADD CONSTRAINT below CHECK (id < 0)",
        "ALTER TABLE years.y2 ADD CONSTRAINT none CHECK (id < 0)",
    )

    report = shop.restore(backup, contents="data")

    named = {one.what: one.reason for one in report.left_out}
    children = value(shop.source, "SELECT count(*) FROM children WHERE parent IS NOT NULL")
    assert f"what {children} rows of public.children refer to" in named
    text = named['what 3 rows of years."seen by" refer to']
    assert text == 'not all rows of years.events came back; the foreign key of "one counts as valid all the same'
    assert not any("years.next" in what for what in named)


def test_a_view_that_fails_costs_only_itself_when_rows_alone_are_restored(shop: RoundTrip) -> None:
    shop.fill("CREATE MATERIALIZED VIEW parts AS SELECT 100 / (id - 5000) AS part FROM children")
    backup = shop.back_up()
    shop.restore(backup, contents="schema")
    run(
        shop.copy,
        "DROP MATERIALIZED VIEW parts",
        "CREATE MATERIALIZED VIEW parts AS SELECT 100 / (id - 1) AS part FROM children WITH NO DATA",
    )

    report = shop.restore(backup, contents="data")

    (left,) = report.left_out
    assert left.what == "the rows of the materialized view public.parts"
    assert "division by zero" in left.reason
    assert value(shop.copy, "SELECT count(*) FROM children") == 500


def test_strict_rows_alone_that_do_not_fit_leave_the_tables_empty(shop: RoundTrip) -> None:
    backup = shop.back_up()
    shop.restore(backup, contents="schema")
    run(shop.copy, "ALTER TABLE children ADD CHECK (id < 400)")

    with pytest.raises(CoffreError) as caught:
        shop.restore(backup, contents="data", strict=True)

    assert caught.value.code == "COPY_FAILED"
    assert "The tables were emptied again." in caught.value.__notes__
    assert rows(shop.copy, "SELECT FROM app.parents UNION ALL SELECT FROM children") == []


@pytest.mark.parametrize(("contents", "wanted"), [("data", "full"), ("schema", "data")])
def test_a_backup_that_lacks_what_is_wanted_says_so(shop: RoundTrip, contents: str, wanted: str) -> None:
    backup = shop.back_up(contents=contents)

    with pytest.raises(CoffreError) as caught:
        shop.restore(backup, contents=wanted)

    assert caught.value.code in ("NO_DEFINITIONS", "NO_ROWS")


def test_a_dry_run_into_a_new_database_creates_nothing(shop: RoundTrip) -> None:
    report = shop.restore(shop.back_up(), dry_run=True)

    assert report.steps[0].startswith("Create the database ")
    assert "550 rows" in report.steps[1]
    name = database_of(shop.copy)
    assert rows(shop.server.dsn(), f"SELECT 1 FROM pg_database WHERE datname = '{name}'") == []


def test_restored_rows_of_tables_that_are_not_small_need_no_vacuum(
    shop: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coffre.operations.restore_database.load_transactions._SMALL_TABLE_BYTES", 1024)
    shop.restore(shop.back_up())

    with closing(psycopg2.connect(shop.copy)) as session, session.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        cursor.execute("EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, FORMAT JSON) SELECT id FROM children")
        ((found,),) = cursor.fetchall()
    plan = found[0]["Plan"]
    assert (plan["Node Type"], plan["Actual Rows"], plan["Heap Fetches"]) == ("Index Only Scan", 500, 0)


def test_schemas_that_would_lack_something_are_replaced_only_when_that_is_accepted(shop: RoundTrip, owner: str) -> None:
    shop.fill(ORPHAN)
    backup = shop.back_up()
    good = fingerprint(shop.source)
    shop.fill("DELETE FROM children")
    damaged = fingerprint(shop.source)
    shop.coffre.configure(owner)

    error = failed(shop, backup, replace=True)

    assert error.code == "REPLACE_INCOMPLETE"
    assert "children_parent_fkey" in (error.detail or "")
    assert fingerprint(shop.source) == damaged
    report = shop.restore_in_place(backup, replace=True, accept_exceptions=True)
    left = [one for one in report.left_out if "children_parent_fkey" in one.what]
    assert len(left) == 1
    count = "SELECT count(*) FROM public.children"
    assert value(shop.source, count) == 500
    assert good


def test_rows_that_new_schemas_refuse_cost_their_constraint_and_no_other_table(shop: RoundTrip, owner: str) -> None:
    shop.fill(
        "ALTER TABLE children ADD CONSTRAINT below CHECK (id < 400) NOT VALID",
        "UPDATE pg_constraint SET convalidated = true WHERE conname = 'below'",
        "CREATE TABLE years (id int, year int) PARTITION BY RANGE (year)",
        "CREATE TABLE years_1 (id int, year int)",
        "INSERT INTO years_1 SELECT g, 1999 FROM generate_series(1, 50) g",
        "ALTER TABLE years_1 ADD CONSTRAINT inside CHECK (year IS NOT NULL AND year >= 2000 AND year < 2001) NOT VALID",
        "UPDATE pg_constraint SET convalidated = true WHERE conname = 'inside'",
        "ALTER TABLE years ATTACH PARTITION years_1 FOR VALUES FROM (2000) TO (2001)",
        "ALTER TABLE years_1 DROP CONSTRAINT inside",
        "CREATE MATERIALIZED VIEW in_years AS SELECT count(*) FROM years",
        *(
            f"ALTER {kind} OWNER TO owner_only"
            for kind in ("TABLE years", "TABLE years_1", "MATERIALIZED VIEW in_years")
        ),
    )
    backup = shop.back_up()
    shop.fill("DELETE FROM children")
    damaged = fingerprint(shop.source)
    shop.coffre.configure(owner)

    # Then nothing is put in place that has less, unless that is accepted
    error = failed(shop, backup, replace=True)
    assert error.code == "REPLACE_INCOMPLETE"
    assert "years_1" in (error.detail or "")
    assert fingerprint(shop.source) == damaged

    report = shop.restore_in_place(backup, replace=True, accept_exceptions=True)

    assert [left.what for left in report.left_out] == [
        "the constraint below of public.children",
        "the rows of public.years_1",
        "the rows of the materialized view public.in_years",
    ]
    assert value(shop.source, "SELECT count(*) FROM public.children") == 500
    assert value(shop.source, "SELECT count(*) FROM public.years") == 0
    assert failed(shop, backup, replace=True, strict=True).code == "COPY_FAILED"
