"""Exports are loaded by PostgreSQL's own programs, and give the same database."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.backup_contents.test_objects import ODD_NAMES
from tests.integration.contents import RoundTrip, RoundTripOn, database_of, rows, schema_of, value
from tests.integration.exports import Export, another_database, program, psql

from coffre.model.errors import EventError
from coffre.model.names import quoted
from coffre.postgres.archive.reader import Compression
from coffre_local.postgres_server import PostgresServer
from coffre_local.toolchain import Toolchain

# Each client reads archives without compression and with the one that its major is about.
READERS = ((17, Compression.NONE), (17, Compression.GZIP), (18, Compression.NONE), (18, Compression.ZSTD))
OBJECTS = """
SELECT m.oid, m.lomowner::regrole::text, m.lomacl::text, obj_description(m.oid, 'pg_largeobject'), md5(lo_get(m.oid))
FROM pg_largeobject_metadata m ORDER BY m.oid
"""
EVERYTHING = (
    "CREATE TYPE mood AS ENUM ('sad', 'it''s ok')",
    "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
    "CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, mood mood DEFAULT 'sad')",
    "INSERT INTO customers SELECT n, 'Ada ' || n, 'it''s ok' FROM generate_series(1, 500) n",
    """CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        customer int NOT NULL REFERENCES customers, amount positive,
        twice int GENERATED ALWAYS AS (amount * 2) STORED, note text)""",
    """INSERT INTO orders (customer, amount, note)
        SELECT 1 + n % 500, n, repeat(md5(n::text), 8) FROM generate_series(1, 30000) n""",
    "CREATE INDEX orders_by_customer ON orders (customer) WHERE amount > 10",
    "CREATE TABLE circle_a (id int PRIMARY KEY, b int)",
    "CREATE TABLE circle_b (id int PRIMARY KEY, a int REFERENCES circle_a DEFERRABLE)",
    "ALTER TABLE circle_a ADD FOREIGN KEY (b) REFERENCES circle_b DEFERRABLE INITIALLY DEFERRED",
    "INSERT INTO circle_a VALUES (1, NULL)",
    "INSERT INTO circle_b VALUES (1, 1)",
    "UPDATE circle_a SET b = 1",
    "CREATE TABLE events (at date NOT NULL, what text) PARTITION BY RANGE (at)",
    "CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
    "CREATE TABLE events_rest PARTITION OF events DEFAULT PARTITION BY LIST (what)",
    "CREATE TABLE events_rest_x PARTITION OF events_rest DEFAULT",
    "CREATE INDEX ON events (at)",
    "INSERT INTO events SELECT '2025-06-01'::date + n, 'e' || n FROM generate_series(1, 400) n",
    "CREATE TABLE parent (id int)",
    "CREATE TABLE child (extra text) INHERITS (parent)",
    "INSERT INTO parent VALUES (1)",
    "INSERT INTO child VALUES (2, 'x')",
    "CREATE TABLE no_columns ()",
    "INSERT INTO no_columns DEFAULT VALUES",
    "CREATE UNLOGGED TABLE unlogged AS SELECT 1 AS i",
    r"CREATE TABLE traps AS SELECT E'\\.' AS a, E'\\N' AS b, NULL::text AS c, E'\t\n\r\\' AS d, '' AS e",
    "CREATE TABLE empty (i int)",
    "CREATE SEQUENCE used START 5",
    "SELECT nextval('used'), nextval('used')",
    "CREATE SEQUENCE last START 9223372036854775807",
    "SELECT nextval('last')",
    "CREATE FUNCTION shout(text) RETURNS text LANGUAGE sql AS 'SELECT upper($1) || ''\\!'''",
    "CREATE AGGREGATE together(text) (SFUNC = textcat, STYPE = text)",
    "CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)",
    "CREATE VIEW loud AS SELECT shout(name) AS name FROM customers",
    "CREATE MATERIALIZED VIEW a_top AS SELECT * FROM loud LIMIT 1 WITH NO DATA",
    "CREATE MATERIALIZED VIEW z_counted AS SELECT customer, count(*) AS n FROM orders GROUP BY 1",
    "CREATE MATERIALIZED VIEW again AS SELECT sum(n) AS n FROM z_counted",
    "CREATE UNIQUE INDEX ON z_counted (customer)",
    "CREATE STATISTICS both_columns ON customer, amount FROM orders",
    "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.note := NEW.note; RETURN NEW; END'",
    "CREATE TRIGGER stamp BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION stamp()",
    "ALTER TABLE orders ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY mine ON orders USING (customer = 1)",
    "ALTER TABLE orders FORCE ROW LEVEL SECURITY",
    "CREATE TABLE seen (tag text)",
    """CREATE FUNCTION see() RETURNS event_trigger LANGUAGE plpgsql
        AS 'BEGIN INSERT INTO public.seen VALUES (tg_tag); END'""",
    "CREATE EVENT TRIGGER watch ON ddl_command_start EXECUTE FUNCTION see()",
    "COMMENT ON EVENT TRIGGER watch IS 'watches'",
    "CREATE PUBLICATION customers_only FOR TABLE customers",
    "COMMENT ON TABLE orders IS E'all\norders; -- \\\\q'",
    "COMMENT ON COLUMN orders.note IS 'it''s'",
    "CREATE SCHEMA app",
    "CREATE TABLE app.settings (key text PRIMARY KEY, value jsonb)",
    "INSERT INTO app.settings VALUES ('a', '{\"b\": 1}')",
    "CREATE EXTENSION hstore SCHEMA app",
    "CREATE TABLE app.hashes (h app.hstore)",
    "INSERT INTO app.hashes VALUES ('a=>1')",
    "CREATE FOREIGN DATA WRAPPER fdw",
    "CREATE SERVER far FOREIGN DATA WRAPPER fdw",
    "CREATE FOREIGN TABLE away (i int) SERVER far",
    "SELECT lo_create(1)",
    "SELECT lo_from_bytea(2, decode(string_agg(lpad(to_hex(n), 2, '0'), ''), 'hex')) FROM generate_series(0, 255) n",
    "SELECT lo_from_bytea(3, decode(repeat(md5('x'), 200000), 'hex'))",
    "SELECT lo_from_bytea(4294967295, 'the last')",
    "SELECT lo_from_bytea(n::oid, n::text::bytea) FROM generate_series(1000, 1200) n",
    "COMMENT ON LARGE OBJECT 2 IS E'it''s\\nsecond'",
)


def fill(round_trip: RoundTrip) -> None:
    """Put everything odd into the source."""
    owner = f"owner_{database_of(round_trip.source)}"
    reader = f'reader "{database_of(round_trip.source)}"'
    round_trip.create_role(owner)
    round_trip.create_role(reader)
    round_trip.fill(*EVERYTHING)
    for number, name in enumerate(ODD_NAMES):
        odd = quoted(name)
        round_trip.fill(
            f"CREATE TABLE {odd} ({odd} integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, t text)",
            f"INSERT INTO {odd} VALUES ({number}, 'row')",
        )
    for kind in ("TABLE orders", "SCHEMA app", "FUNCTION shout(text)", "AGGREGATE together(text)", "VIEW loud",
                 "OPERATOR === (text, text)", "MATERIALIZED VIEW a_top", "LARGE OBJECT 2", "TYPE mood"):  # fmt: skip
        round_trip.fill(f"ALTER {kind} OWNER TO {owner}")
    round_trip.fill(
        *(f"ALTER LARGE OBJECT {oid} OWNER TO {owner}" for oid in range(1000, 1200)),
        *(f"GRANT SELECT ON LARGE OBJECT {oid} TO {quoted(reader)}" for oid in range(1000, 1200)),
        f"GRANT SELECT ON orders TO {quoted(reader)}",
        f"GRANT USAGE ON SCHEMA app TO {quoted(reader)}",
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT SELECT ON TABLES TO {quoted(reader)}",
    )


def assert_same(round_trip: RoundTrip) -> None:
    round_trip.assert_equal()
    round_trip.assert_same_answer(OBJECTS)


@pytest.mark.parametrize("major", [14, 16, 18])
def test_all_formats_of_everything_give_the_same_database(
    round_trip_on: RoundTripOn,
    server_of_major: Callable[[int], PostgresServer],
    toolchain: Toolchain,
    tmp_path: Path,
    major: int,
) -> None:
    # Given a database with one of each kind of trap, backed up
    round_trip = round_trip_on(server_of_major(major))
    fill(round_trip)
    export = Export.of(round_trip, round_trip.back_up())
    client = toolchain.postgresql(18)
    tolerated = major < 17  # transaction_timeout: field note 7

    custom = export.custom(tmp_path / "x.dump")
    directory = export.directory(tmp_path / "folder")
    script = export.plain(tmp_path / "x.sql")

    # Then a script is loaded by the server's own psql
    with another_database(round_trip) as copy:
        psql(toolchain.postgresql(major), copy, script)
        assert_same(round_trip)
    if not tolerated:
        with another_database(round_trip) as copy:
            program(client, "pg_restore", "--exit-on-error", "--dbname", copy, custom)
            assert_same(round_trip)
        with another_database(round_trip) as copy:
            program(client, "pg_restore", "--exit-on-error", "--jobs=3", "--dbname", copy, directory)
            assert_same(round_trip)
    # And what pg_restore makes of the archive gives the same as our script
    theirs = program(client, "pg_restore", "--file=-", custom).decode("utf-8", "surrogateescape")
    theirs = re.sub(r"^(\\(un)?restrict .*|SET transaction_timeout = 0;)\n", "", theirs, flags=re.MULTILINE)
    (tmp_path / "theirs.sql").write_bytes(theirs.encode("utf-8", "surrogateescape"))
    with another_database(round_trip) as copy:
        psql(toolchain.postgresql(major), copy, tmp_path / "theirs.sql")
        assert_same(round_trip)


@pytest.mark.parametrize(("major", "compression"), READERS)
def test_pg_restore_reads_archives_in_every_way(
    round_trip_on: RoundTripOn,
    server_of_major: Callable[[int], PostgresServer],
    toolchain: Toolchain,
    tmp_path: Path,
    major: int,
    compression: Compression,
) -> None:
    round_trip = round_trip_on(server_of_major(17))
    fill(round_trip)
    export = Export.of(round_trip, round_trip.back_up(), compression=compression)
    client = toolchain.postgresql(major)

    custom = export.custom(tmp_path / "x.dump")
    directory = export.directory(tmp_path / "folder")

    restore = ("pg_restore", "--exit-on-error", "--dbname")
    for way in (("--jobs=3", custom), ("--jobs=3", directory), (directory,)):
        with another_database(round_trip) as copy:
            program(client, *restore, copy, *way)
            assert_same(round_trip)
    with another_database(round_trip) as copy:  # a pipe cannot be read twice, nor out of order
        program(client, *restore, copy, stdin=custom.read_bytes())
        assert_same(round_trip)
    with another_database(round_trip) as copy:
        program(client, *restore, copy, "--schema-only", custom)
        assert schema_of(round_trip.home, copy) == schema_of(round_trip.home, round_trip.source)
        program(client, *restore, copy, "--data-only", "--table=customers", custom)
        assert value(copy, "SELECT count(*) FROM customers") == 500
    listed = program(client, "pg_restore", "--list", custom).decode()
    assert (
        listed.replace("Format: CUSTOM", "Format: DIRECTORY")
        == program(client, "pg_restore", "--list", directory).decode()
    )
    assert len(re.findall(r"^\d+; 0 \d+ TABLE DATA ", listed, re.MULTILINE)) == len(export.plan.tables)


def test_an_archive_written_anew_reads_the_same(round_trip: RoundTrip, toolchain: Toolchain, tmp_path: Path) -> None:
    """What pg_dump writes, with rows and all: our table of contents stands for the same script."""
    fill(round_trip)
    client = toolchain.postgresql(18)
    program(client, "pg_dump", "--format=custom", "--compress=0", "--file", tmp_path / "theirs", round_trip.source)
    Export.of(round_trip, round_trip.back_up()).custom(tmp_path / "ours")

    def script(path: Path) -> list[str]:
        text = program(client, "pg_restore", "--file=-", path).decode("utf-8", "surrogateescape").replace('"', "")
        text = text.replace("Owner: -", "Owner: ")
        # Ours is right whatever standard_conforming_strings says.
        text = re.sub(r"setval\(E'([^,]*)'", lambda found: f"setval('{found[1].replace('\\' * 2, '\\')}'", text)
        return sorted(line for line in text.splitlines() if not re.match(r"\\(un)?restrict", line))

    assert script(tmp_path / "ours") == script(tmp_path / "theirs")


def test_chosen_tables_come_with_what_they_need(round_trip: RoundTrip, toolchain: Toolchain, tmp_path: Path) -> None:
    fill(round_trip)
    export = Export.of(round_trip, round_trip.back_up(), tables=["public.ord*", "events", "app.hashes"])

    # Given an empty database
    with another_database(round_trip) as copy:
        psql(toolchain.postgresql(18), copy, export.plain(tmp_path / "x.sql", with_owners=False))

        # Then the chosen tables are there, with keys and sequences, and no others
        found = {name for (name,) in rows(copy, "SELECT relname FROM pg_class WHERE relkind = 'r' AND oid >= 16384")}
        assert found >= {"orders", "events_2025", "events_rest_x", "hashes"}
        assert not found & {"customers", "settings", "seen"}
        for table in ("orders", "events", "app.hashes"):
            query = f"SELECT count(*), md5(string_agg(t::text, '' ORDER BY t::text)) FROM {table} t"
            assert rows(copy, query) == rows(round_trip.source, query)
        assert value(copy, "SELECT nextval(pg_get_serial_sequence('orders', 'id'))") == 30001
        assert value(copy, "SELECT count(*) FROM pg_indexes WHERE tablename = 'orders'") == 2
    # And it is said what stayed away
    assert [entry.description for entry in export.plan.left_out] == ["FK CONSTRAINT"]


def test_a_pattern_that_no_table_fits_is_an_error_with_near_names(round_trip: RoundTrip) -> None:
    round_trip.fill("CREATE TABLE orders (i int)")
    backup = round_trip.back_up()

    with pytest.raises(EventError) as caught:
        Export.of(round_trip, backup, tables=["ordres"])

    assert caught.value.code == "PATTERN_UNMATCHED"
    assert "public.orders" in (caught.value.hint or "")


def test_names_and_rows_in_another_encoding(
    round_trip: RoundTrip, postgres_server: PostgresServer, toolchain: Toolchain, tmp_path: Path
) -> None:
    client = toolchain.postgresql(18)
    name = database_of(round_trip.source)
    postgres_server.drop_database(name)
    create = "CREATE DATABASE {} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"
    program(client, "psql", "-Xqc", create.format(name), postgres_server.dsn())
    round_trip.fill(
        'CREATE TABLE "café" ("clé" serial, "é\'\\" text)',
        "INSERT INTO \"café\" (\"é'\\\") VALUES ('naïve'), ('déjà')",
        'CREATE MATERIALIZED VIEW "été" AS SELECT * FROM "café"',
        'CREATE SEQUENCE "numéro\\" START 7',
    )
    export = Export.of(round_trip, round_trip.back_up())

    for load in ("script", "archive"):
        program(client, "psql", "-Xqc", create.format(database_of(round_trip.copy)), postgres_server.dsn())
        if load == "script":
            psql(client, round_trip.copy, export.plain(tmp_path / "x.sql"))
        else:
            program(client, "pg_restore", "-e", "--dbname", round_trip.copy, export.custom(tmp_path / "x.dump"))
        round_trip.assert_equal()
        postgres_server.drop_database(database_of(round_trip.copy))


@pytest.mark.parametrize("contents", ["schema", "data"])
def test_backups_of_a_half_are_exported(
    round_trip: RoundTrip, toolchain: Toolchain, tmp_path: Path, contents: str
) -> None:
    round_trip.fill("CREATE TABLE t (id serial, x text)", "INSERT INTO t (x) VALUES ('é'), ('b')")
    export = Export.of(round_trip, round_trip.back_up(contents=contents))
    client = toolchain.postgresql(18)

    with another_database(round_trip) as copy:
        if contents == "data":
            program(client, "pg_dump", "--schema-only", "--file", tmp_path / "schema.sql", round_trip.source)
            psql(client, copy, tmp_path / "schema.sql")
        program(client, "pg_restore", "-e", "--dbname", copy, export.custom(tmp_path / "x.dump"))
        if contents == "data":
            round_trip.assert_equal()
        else:
            assert value(copy, "SELECT count(*) FROM t") == 0
            assert schema_of(round_trip.home, copy) == schema_of(round_trip.home, round_trip.source)


def test_tables_that_were_backed_up_without_rows_are_exported_empty(
    round_trip: RoundTrip, toolchain: Toolchain, tmp_path: Path
) -> None:
    round_trip.fill("CREATE TABLE kept AS SELECT 1 AS i", "CREATE TABLE left_out AS SELECT 1 AS i")
    export = Export.of(round_trip, round_trip.back_up(tables={"exclude_data": ["left_out"]}))

    with another_database(round_trip) as copy:
        psql(toolchain.postgresql(18), copy, export.plain(tmp_path / "x.sql"))
        assert value(copy, "SELECT count(*) FROM kept") == 1
        assert value(copy, "SELECT count(*) FROM left_out") == 0
        assert schema_of(round_trip.home, copy) == schema_of(round_trip.home, round_trip.source)


def test_a_backup_of_chosen_tables_loads_without_what_points_out_of_it(
    round_trip: RoundTrip, toolchain: Toolchain, tmp_path: Path
) -> None:
    round_trip.fill(
        "CREATE TABLE customers (id int PRIMARY KEY)",
        "CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers)",
        "INSERT INTO orders VALUES (1)",
    )
    export = Export.of(round_trip, round_trip.back_up(tables={"include": ["orders"]}))

    with another_database(round_trip) as copy:
        client = toolchain.postgresql(18)
        program(client, "pg_restore", "-e", "-d", copy, export.custom(tmp_path / "x.dump"))
        assert value(copy, "SELECT count(*) FROM orders") == 1
    assert [entry.description for entry in export.plan.left_out] == ["FK CONSTRAINT"]
