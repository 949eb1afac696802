"""Partitions into which another server may put other rows: they are loaded through their root, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from tests.integration.contents import RoundTrip, RoundTripOn, rows, run, value
from tests.integration.drills import report_of, share_server
from tests.integration.exports import Export, another_database, program, psql

from coffre.model.backup import Backup
from coffre.model.drill import Outcome
from coffre.model.drill_report import Verdict
from coffre.model.errors import CoffreError
from coffre.operations.drill import group as drill_group
from coffre.operations.export import plan as export_plan
from coffre.operations.restore_database import restore as restore_database
from coffre.operations.restore_database.sessions import loading_session
from coffre.operations.restore_database.whole_database import restore_whole
from coffre.postgres.connection.client_tools import PostgresTools
from coffre.postgres.connection.partition_routes import read_routes
from coffre.postgres.scratch.server import ScratchServer, scratch_server
from coffre_local.postgres_server import PostgresServer

ORDERS = (
    "CREATE TYPE state AS ENUM ('new', 'paid', 'sent', 'lost', 'back', 'void')",
    "CREATE TABLE orders (id int, st state, v text, PRIMARY KEY (id, st)) PARTITION BY HASH (st)",
    *(f"CREATE TABLE orders_{n} PARTITION OF orders FOR VALUES WITH (MODULUS 3, REMAINDER {n})" for n in range(3)),
    "INSERT INTO orders SELECT g, (enum_range(NULL::state))[1 + g % 6], 'v' || g FROM generate_series(1, 1200) g",
    "CREATE TABLE lines (id int PRIMARY KEY, order_id int, st state, FOREIGN KEY (order_id, st) REFERENCES orders)",
    "INSERT INTO lines SELECT id, id, st FROM orders WHERE id <= 60",
)
ALL = "SELECT * FROM orders ORDER BY id"
PLACES = "SELECT tableoid::regclass::text, array_agg(DISTINCT st ORDER BY st) FROM orders GROUP BY 1 ORDER BY 1"


@pytest.fixture
def orders(round_trip: RoundTrip) -> RoundTrip:
    round_trip.fill(*ORDERS)
    return round_trip


def made_again(orders: RoundTrip) -> None:
    """Let the enum be another one, whose values have other hashes: what a restored database has."""
    places = rows(orders.source, PLACES)
    for attempt in range(20):
        orders.fill("DROP TABLE orders CASCADE", "DROP TABLE lines", "DROP TYPE state CASCADE")
        orders.fill(*(f"CREATE TYPE pad_{attempt}_{n} AS ENUM ('x', 'y')" for n in range(attempt)), *ORDERS)
        if rows(orders.source, PLACES) != places:
            return
    raise AssertionError("the hashes are the same each time")


def older(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let backups be read as if they were made before they knew what goes through a root."""
    for module, name in ((restore_database, "open_source"), (export_plan, "_open")):
        opened = getattr(module, name)

        def reopened(*arguments: Any, opened: Callable[..., Any] = opened) -> Any:
            source = opened(*arguments)
            content = source.manifest.database
            tables = tuple(table.model_copy(update={"through": None}) for table in content.tables)
            content = content.model_copy(update={"tables": tables, "knows_roots": False})
            return replace(source, manifest=source.manifest.model_copy(update={"content": content}))

        monkeypatch.setattr(module, name, reopened)


# --- which ---

UNSTABLE = {
    "hash_enum": ("HASH (a)", "a state"),
    "hash_enums": ("HASH (a)", "a state[]"),
    "hash_domain": ("HASH (a)", "a code"),
    "hash_pair": ("HASH (a)", "a pair"),
    "hash_range": ("HASH (a)", "a states"),
    "hash_ranges": ("HASH (a)", "a multistates"),
    "hash_name_of_oid": ("HASH (a)", "a regclass"),
    "hash_extension": ("HASH (a)", "a citext"),
    "hash_two": ("HASH (b, a)", "a state, b int"),
    "hash_expression": ("HASH ((a + 1))", "a int"),
    "hash_odd_collation": ("HASH (a)", "a text COLLATE loose"),
    "hash_own_class": ("HASH (a own_hash)", "a int"),
    "list_extension": ("LIST (a)", "a citext"),
    "list_odd_collation": ("LIST (a)", "a text COLLATE loose"),
    "list_expression": ("LIST (lower(a))", "a text"),
    "range_text": ("RANGE (a)", "a text"),
    "range_two": ("RANGE (b, a)", "a varchar, b int"),
    "range_pair": ("RANGE (a)", "a pair"),
    "range_texts": ("RANGE (a)", "a text[]"),
    "range_json": ("RANGE (a)", "a jsonb"),
}
STABLE = {
    "hash_int": ("HASH (a)", "a bigint"),
    "hash_text": ("HASH (a)", "a text"),
    "hash_uuid": ("HASH (a, b)", "a uuid, b timestamptz"),
    "hash_array": ("HASH (a)", "a int[]"),
    "hash_int_range": ("HASH (a)", "a int4range"),
    "hash_int_domain": ("HASH (a)", "a positive"),
    "list_text": ("LIST (a)", "a text"),
    "list_enum": ("LIST (a)", "a state"),
    "range_enum": ("RANGE (a)", "a state"),
    "range_date": ("RANGE (a)", "a date"),
    "range_bytes": ("RANGE (a)", 'a text COLLATE "C"'),
}


def test_what_is_as_another_server_has_it_and_what_may_not_be(round_trip: RoundTrip, coffre: Any) -> None:
    round_trip.fill(
        "CREATE EXTENSION citext",
        "CREATE TYPE state AS ENUM ('new', 'paid')",
        "CREATE DOMAIN code AS state",
        "CREATE DOMAIN positive AS int CHECK (value > 0)",
        "CREATE TYPE pair AS (a text, b state)",
        "CREATE TYPE states AS RANGE (subtype = state, multirange_type_name = multistates)",
        'CREATE COLLATION loose FROM "C"',
        "CREATE OPERATOR CLASS own_hash FOR TYPE int USING hash AS"
        " OPERATOR 1 =, FUNCTION 2 hashint4extended(int, int8)",
    )
    for name, (key, columns) in (UNSTABLE | STABLE).items():
        # Given that each has a level in between, which is where rows go by their number
        strategy = "FOR VALUES WITH (MODULUS 1, REMAINDER 0)" if key.startswith("HASH") else "DEFAULT"
        round_trip.fill(
            f"CREATE TABLE {name} (n int, {columns}) PARTITION BY {key}",
            f"CREATE TABLE {name}_1 PARTITION OF {name} {strategy} PARTITION BY RANGE (n)",
            f"CREATE TABLE {name}_2 PARTITION OF {name}_1 DEFAULT",
        )
    # As this build of the server has no ICU, which alone knows such collations
    round_trip.fill("UPDATE pg_collation SET collisdeterministic = false WHERE collname = 'loose'")
    round_trip.fill("CREATE TABLE plain (a text)")
    coffre.configure(round_trip.source)
    leaves = [("public", f"{name}_2") for name in UNSTABLE | STABLE]

    def asked(encoding: str) -> dict[str, bool]:
        def query(statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
            with closing(psycopg2.connect(round_trip.source)) as session, session.cursor() as cursor:
                cursor.execute(statement, parameters)
                return cursor.fetchall()

        routes = read_routes(query, [*leaves, ("public", "plain"), ("public", "hash_enum")], encoding)
        assert [route.root[1] for route in routes] == [route.leaf[1].removesuffix("_2") for route in routes]
        return {route.root[1]: route.goes_through_root() for route in routes}

    assert asked("UTF8") == dict.fromkeys(UNSTABLE, True) | dict.fromkeys(STABLE, False)
    # And texts of another encoding have other bytes, and so other hashes
    assert asked("LATIN1")["hash_text"]
    assert not asked("LATIN1")["list_text"]


def test_rows_never_leave_for_another_server(round_trip: RoundTrip) -> None:
    round_trip.fill(
        "CREATE TYPE state AS ENUM ('new', 'paid')",
        "CREATE TABLE t (a state) PARTITION BY HASH (a)",
        "CREATE TABLE t_0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
        "CREATE FOREIGN DATA WRAPPER fdw",
        "CREATE SERVER far FOREIGN DATA WRAPPER fdw",
        "CREATE FOREIGN TABLE t_1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1) SERVER far",
    )
    backup = round_trip.back_up()

    assert [table.through for table in round_trip.manifest(backup).database.tables] == [None]
    (copied,) = (entry.copy for entry in Export.of(round_trip, backup).plan.archive.entries if entry.copy)
    assert copied.startswith("COPY public.t_0 ")


# --- whole restores and drills ---


@pytest.mark.parametrize("is_older", [False, True])
def test_partitions_by_the_hash_of_an_enum_are_restored(
    orders: RoundTrip, monkeypatch: pytest.MonkeyPatch, is_older: bool
) -> None:
    backup = orders.back_up()
    if is_older:
        older(monkeypatch)

    report = orders.restore(backup)

    assert report.exceptions == ()
    orders.assert_same_answer(ALL)
    orders.assert_same_answer("SELECT count(*) FROM lines JOIN orders o ON o.id = order_id AND o.st = lines.st")
    assert {table.table: table.rows for table in report.tables}["public.orders_0"] == value(
        orders.source, "SELECT count(*) FROM orders_0"
    )


def test_rows_that_a_check_refuses_cost_the_check_below_a_root_too(orders: RoundTrip) -> None:
    made = "CREATE OR REPLACE FUNCTION fits(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 <= {}'"
    orders.fill(made.format(100_000), "ALTER TABLE orders ADD CONSTRAINT fits CHECK (fits(id))", made.format(600))

    report = orders.make()

    orders.assert_same_answer(ALL)
    assert report.left_out
    assert all("fits" in left.what for left in report.left_out)


def test_a_row_too_few_below_a_root_is_noticed(orders: RoundTrip) -> None:
    backup = orders.back_up()
    # Given a destination that swallows a row on its way
    run(orders.server.dsn(), f"CREATE DATABASE {orders.copy.rsplit('/', 1)[1]}")
    run(
        orders.copy,
        *ORDERS[:5],
        "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN IF new.id = 7 THEN RETURN NULL; END IF; RETURN new; END'",
        "CREATE TRIGGER swallow BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION swallow()",
        "ALTER TABLE orders ENABLE ALWAYS TRIGGER swallow",
        *(f"ALTER TABLE orders_{n} ENABLE ALWAYS TRIGGER swallow" for n in range(3)),
        ORDERS[6],
    )

    with pytest.raises(CoffreError) as caught:
        orders.restore(backup, contents="data")

    assert caught.value.code == "ROWS_DIFFER"
    assert value(orders.copy, "SELECT count(*) FROM orders") == 0


def test_rows_alone_go_where_the_destination_has_them(orders: RoundTrip) -> None:
    backup = orders.back_up()
    orders.restore(backup, contents="schema")

    orders.restore(backup, contents="data")

    orders.assert_same_answer(ALL)


@pytest.fixture(scope="module")
def server(postgresql_home: Path) -> Iterator[ScratchServer]:
    with scratch_server(PostgresTools(postgresql_home)) as running:
        yield running


def test_a_drill_proves_rows_below_a_root(
    orders: RoundTrip, server: ScratchServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    share_server(monkeypatch, server)
    # Given a partition with its columns in another order, and rows that are there twice
    orders.fill(
        "CREATE TABLE odd (a state, b text, c text) PARTITION BY HASH (a)",
        "CREATE TABLE odd_0 PARTITION OF odd FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
        "CREATE TABLE odd_1 (c text, b text, a state)",
        "ALTER TABLE odd ATTACH PARTITION odd_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
        r"INSERT INTO odd SELECT st, E'\t\n\\', NULL FROM orders, generate_series(1, 2)",
        # And a tree of which one branch alone is loaded through the root
        "CREATE TABLE mixed (kind int, st state) PARTITION BY LIST (kind)",
        "CREATE TABLE mixed_1 PARTITION OF mixed FOR VALUES IN (1) PARTITION BY HASH (st)",
        "CREATE TABLE mixed_1_0 PARTITION OF mixed_1 FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
        "CREATE TABLE mixed_2 PARTITION OF mixed FOR VALUES IN (2)",
        "INSERT INTO mixed SELECT 1 + id % 2, st FROM orders",
    )
    backup = orders.back_up()

    orders.coffre.drill()

    report = report_of(orders.coffre, backup)
    assert (report.outcome, report.problems, report.exceptions) == (Outcome.PASSED, (), ())
    assert {proof.verdict for proof in report.tables} == {Verdict.EQUAL}
    assert report.rows == sum(table.rows for table in orders.manifest(backup).database.tables)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE orders SET v = 'w' WHERE id = 7", "1 rows of the backup are not there, 1 are that it does not have"),
        ("DELETE FROM orders WHERE id = 700", "1,199 rows are below public.orders, 1,200 were backed up"),
        ("UPDATE orders SET id = 9999 WHERE id = 1", "the rows below public.orders are not those of the slices"),
    ],
)
def test_a_drill_notices_other_rows_below_a_root(
    orders: RoundTrip, server: ScratchServer, monkeypatch: pytest.MonkeyPatch, change: str, words: str
) -> None:
    share_server(monkeypatch, server)
    orders.fill("DROP TABLE lines")
    backup = orders.back_up()

    def restore(job: Any, source: Any, outcome: Any) -> None:
        restore_whole(job, source, outcome)
        with loading_session(job) as session, session.cursor() as cursor:
            cursor.execute(change.replace("orders", "public.orders"))
            session.commit()

    monkeypatch.setattr(drill_group, "restore_whole", restore)

    orders.coffre.drill()

    report = report_of(orders.coffre, backup)
    assert report.failure is not None
    assert (report.outcome, report.failure.code) == (Outcome.FAILED, "ROWS_DIFFER")
    assert words in report.problems[0]


# --- exports ---


@pytest.mark.parametrize("is_older", [False, True])
@pytest.mark.parametrize("form", ["custom", "parallel", "directory", "plain"])
def test_exports_lose_no_row(
    orders: RoundTrip, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_older: bool, form: str
) -> None:
    backup = orders.back_up()
    if is_older:
        older(monkeypatch)
    export = Export.of(orders, backup)

    with another_database(orders):
        load(orders, export, orders.copy, tmp_path, form)
        orders.assert_same_answer(ALL)
        assert value(orders.copy, "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated") > 0


def load(orders: RoundTrip, export: Export, url: str, folder: Path, form: str) -> None:
    if form == "plain":
        psql(orders.home, url, export.plain(folder / "sql"))
        return
    path = export.directory(folder / "d") if form == "directory" else export.custom(folder / "c")
    jobs = ["--jobs=4"] if form in ("parallel", "directory") else []
    program(orders.home, "pg_restore", "--exit-on-error", *jobs, "--dbname", url, path)


def test_a_partition_alone_is_a_table_in_an_export(orders: RoundTrip, tmp_path: Path) -> None:
    backup = orders.back_up()
    export = Export.of(orders, backup, tables=["orders_1"])

    with another_database(orders):
        load(orders, export, orders.copy, tmp_path, "custom")
        orders.assert_same_answer("SELECT * FROM orders_1 ORDER BY id")


# --- chosen tables ---


def test_a_dropped_table_comes_back_through_its_root(orders: RoundTrip) -> None:
    backup = orders.back_up()
    before = rows(orders.source, ALL)
    made_again(orders)
    orders.fill("DROP TABLE orders CASCADE")

    report = orders.restore_in_place(backup, tables=["orders"], with_dependencies=True)

    assert rows(orders.source, ALL) == before
    assert report.exceptions == ()


@pytest.mark.parametrize("is_older", [False, True])
def test_a_table_in_use_is_compared_and_replaced_as_a_whole(
    orders: RoundTrip, monkeypatch: pytest.MonkeyPatch, is_older: bool
) -> None:
    backup = orders.back_up()
    before = rows(orders.source, ALL)
    made_again(orders)
    orders.fill(
        "DELETE FROM lines",
        "DELETE FROM orders WHERE id <= 9",
        "UPDATE orders SET v = 'changed' WHERE id BETWEEN 100 AND 103",
        "INSERT INTO orders VALUES (9999, 'lost', 'new')",
    )
    if is_older:
        older(monkeypatch)

    seen = orders.restore_in_place(backup, tables=["orders"])
    report = orders.restore_in_place(backup, tables=["orders"], replace=True)

    (found,) = seen.comparisons
    assert (found.table, found.missing, found.changed, found.extra) == ("public.orders", 9, 4, 1)
    (done,) = report.comparisons
    assert (done.inserted, done.updated, done.deleted) == (9, 4, 1)
    assert rows(orders.source, ALL) == before
    assert report.exceptions == ()


def test_rows_of_a_choice_go_through_the_root(orders: RoundTrip) -> None:
    backup = orders.back_up()
    before = rows(orders.source, ALL)
    made_again(orders)
    orders.fill("DELETE FROM lines", "DELETE FROM orders WHERE id <= 30")

    report = orders.restore_in_place(backup, tables=["orders"], rows={"where": "id <= 20"}, apply=True)

    assert [found.inserted for found in report.comparisons] == [20]
    assert rows(orders.source, ALL) == [row for row in before if row[0] <= 20 or row[0] > 30]


@pytest.mark.parametrize("scope", [{"apply": True, "rows": {"where": "true"}}, {"replace": True}])
def test_a_partition_alone_is_restored_while_the_hashes_are_the_same(orders: RoundTrip, scope: dict[str, Any]) -> None:
    backup = orders.back_up()
    before = rows(orders.source, ALL)
    orders.fill("DELETE FROM lines", "DELETE FROM orders_0")

    report = orders.restore_in_place(backup, tables=["orders_0"], **scope)

    assert rows(orders.source, ALL) == before
    assert [found.table for found in report.comparisons] == ["public.orders_0"]


def first_failure(orders: RoundTrip, backup: Backup, before: str | None = None, **scope: Any) -> CoffreError:
    """Restore one partition after the other until one fails: not every one has to have other rows now."""
    for number in range(3):
        if before:
            orders.fill(f"{before} orders_{number}")
        try:
            orders.restore_in_place(backup, tables=[f"orders_{number}"], **scope)
        except CoffreError as error:
            return error
    raise AssertionError("no partition was refused")


def test_a_partition_alone_is_refused_when_its_rows_belong_into_others_now(orders: RoundTrip) -> None:
    backup = orders.back_up()
    made_again(orders)
    orders.fill("DELETE FROM lines", "DELETE FROM orders")

    error = first_failure(orders, backup, replace=True)

    assert error.code == "APPLY_FAILED"
    assert "Restore public.orders as a whole" in (error.hint or "")


def test_a_partition_that_is_gone_alone_is_left_to_its_root_when_hashes_changed(orders: RoundTrip) -> None:
    backup = orders.back_up()
    made_again(orders)
    orders.fill("ALTER TABLE lines DROP CONSTRAINT lines_order_id_st_fkey")

    error = first_failure(orders, backup, "DROP TABLE")

    assert "Restore public.orders as a whole" in (error.hint or "")
    assert "dropped again" in str(error.__notes__)


def test_schemas_replaced_in_place_load_through_roots(orders: RoundTrip) -> None:
    reader = orders.create_role("orders_owner", "LOGIN")
    name = orders.source.rsplit("/", 1)[1]
    run(orders.server.dsn(), f'ALTER DATABASE "{name}" OWNER TO orders_owner')
    for table in ("orders", "orders_0", "orders_1", "orders_2", "lines"):
        orders.fill(f"ALTER TABLE {table} OWNER TO orders_owner")
    orders.fill("ALTER TYPE state OWNER TO orders_owner")
    backup = orders.back_up(reader=reader)
    before = rows(orders.source, ALL)

    orders.restore_in_place(backup, replace=True)

    assert rows(orders.source, ALL) == before


@pytest.mark.parametrize("major", [14, 16])
def test_older_servers_tell_it_too(
    round_trip_on: RoundTripOn, server_of_major: Callable[[int], PostgresServer], major: int
) -> None:
    orders = round_trip_on(server_of_major(major))
    orders.fill(*ORDERS)
    backup: Backup = orders.back_up()

    orders.restore(backup)

    orders.assert_same_answer(ALL)
