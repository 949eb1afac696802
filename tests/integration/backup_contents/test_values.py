"""Every kind of value comes back as it was, and every size of row and table."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.integration.conftest import beside
from tests.integration.contents import RoundTrip, RoundTripOn, rows, run, schema_of, value

from coffre.model.manifest import EntryKind
from coffre.policy.slicing import SLICE_BLOCKS
from coffre.vault.entries import FRAME_SIZE_BYTES
from coffre_local.postgres_server import PostgresServer

_VALUES = r"""
CREATE TYPE point3 AS (x integer, y text, z numeric[]);
CREATE TYPE mood AS ENUM ('fine', 'so, so', 'a "quoted" one', E'back\\slash');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TABLE numbers (i smallint, b bigint, n numeric, r real, d double precision, m money, o oid, l pg_lsn);
INSERT INTO numbers VALUES
    (-32768, -9223372036854775808, 'NaN', 'NaN', 'Infinity', '-92233720368547758.08', 4294967295, 'FFFFFFFF/FFFFFFFF'),
    (32767, 9223372036854775807, 'Infinity', '-Infinity', '-0', '92233720368547758.07', 0, '0/0'),
    (0, 0, '-Infinity', '1.4e-45', '5e-324', '0', 1, '16/B374D848'),
    (1, 1, 1.000000000000000000000000000000000000000000000010, 0.1, 0.1, '1234.56', NULL, NULL),
    (NULL, NULL, repeat('9', 1000)::numeric, 3.4028235e38, 1.7976931348623157e308, NULL, NULL, NULL);
CREATE TABLE times (d date, t time, z timetz, s timestamp, u timestamptz, i interval);
INSERT INTO times VALUES
    ('infinity', '24:00', '23:59:59.999999+15:59', '-infinity', 'infinity', '-178000000 years'),
    ('4713-01-01 BC', '00:00', '00:00-15:59', '4713-01-01 00:00 BC', '0044-03-15 12:00 BC', '1 mon -1 day +00:00:01'),
    ('5874897-12-31', '12:34:56.789', '12:00+02', '294276-12-31 23:59:59.999999',
     '2024-03-31 02:30 Europe/Paris', '-1');
CREATE TABLE documents (j json, jb jsonb, p jsonpath, v tsvector, q tsquery);
INSERT INTO documents VALUES
    (E'{"a" :  1, "a": 2, "b": "\\u00e9\\n\\\\"}', E'{"a": "\\u20ac \\\\ \\n", "n": 1e100}', '$.a[*] ? (@ > 1)',
     $$'a b':1A 'it''s':2$$, $$'a b' & !c:* | d <-> e$$),
    ('null', 'null', NULL, '', NULL);
CREATE TABLE gathered (a point3[], r int4range[], m datemultirange, e mood[], p positive[], n integer[][], t text[]);
INSERT INTO gathered VALUES
    (ARRAY[ROW(1, E'a,"b"\\(c)', ARRAY[1.5, NULL])::point3, NULL, ROW(NULL, '', '{}')::point3],
     ARRAY['[1,5)', 'empty', '(,)', '[,3]']::int4range[], '{[2020-01-01,2020-02-01), [2021-01-01,)}',
     enum_range(NULL::mood), '{1,2}', '[0:1][-1:0]={{1,2},{3,NULL}}',
     ARRAY['NULL', NULL, '', '{}', E'a\\b', '"', E'\n']),
    ('{}', '{}', '{}', NULL, NULL, '{}', '{}');
CREATE TABLE others (b bytea, f bit(5), vb bit varying, i inet, c cidr, m macaddr8, p point, y polygon, u uuid,
    s "char", n name, ch char(5), g regclass, t xid8);
INSERT INTO others VALUES
    ('\x', B'10101', B'', '::1/128', '10.0.0.0/8', '08:00:2b:01:02:03:04:05', '(1e-300,-0)', '((0,0),(1,1),(1,0))',
     'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', E'\\', repeat('n', 63), 'a', 'public.numbers', '18446744073709551615'),
    ((SELECT decode(string_agg(lpad(to_hex(n), 2, '0'), ''), 'hex') FROM generate_series(0, 255) n),
     NULL, B'1', NULL, NULL, NULL, NULL,
     NULL, NULL, '', '', '     ', NULL, NULL)
    """


def test_values_of_every_type_come_back_unchanged(round_trip: RoundTrip) -> None:
    round_trip.fill(_VALUES)

    round_trip.make()

    round_trip.assert_equal()


def test_xml_comes_back_unchanged(round_trip_on: RoundTripOn, server_of_major: Callable[[int], PostgresServer]) -> None:
    # Given a server that was built with XML (the embedded one is not)
    round_trip = round_trip_on(server_of_major(18))
    round_trip.fill(
        "CREATE TABLE documents (id integer, x xml)",
        """INSERT INTO documents VALUES (1, E'<?xml version="1.0"?><a b="1">é &amp; <c/>\\n\\t</a>'),
           (2, xmlparse(content 'text <a/> text')), (3, xmlparse(content '')), (4, NULL)""",
    )

    round_trip.make()

    round_trip.assert_equal()


def test_texts_that_look_like_copys_own_marks_stay_texts(round_trip: RoundTrip) -> None:
    round_trip.fill(
        "CREATE TABLE marks (id integer PRIMARY KEY, t text, u text)",
        r"""INSERT INTO marks VALUES (1, NULL, 'NULL'), (2, 'N', E'\\N'), (3, '', NULL), (4, E'\\.', E'\n\\.\n'),
            (5, E'\t', E'\\t'), (6, E'\r\n', E'\r'), (7, E'\\', E'\\\\'), (8, E'\b\f\v', E'\\b'), (9, E'\x01\x7f', ' '),
            (10, E'\u2028\u0085', E'\U0001F9F0'), (11, E'\\.\n\\q\n\\echo 7', ':ROW_COUNT'), (12, E'a\\', '')""",
        "CREATE TABLE single (t text)",
        r"INSERT INTO single VALUES (E'\\.'), (''), (NULL), (E'\\N'), ('N'), (E'\n'), ('7')",
    )

    round_trip.make()

    round_trip.assert_equal()
    assert value(round_trip.copy, r"SELECT count(*) FROM single WHERE t = E'\\.'") == 1


def test_tables_without_columns_keep_their_rows_and_wide_ones_all_columns(round_trip: RoundTrip) -> None:
    round_trip.fill(
        "CREATE TABLE nothing ()",
        "INSERT INTO nothing SELECT FROM generate_series(1, 3)",
        "CREATE TABLE only_generated (a integer GENERATED ALWAYS AS (42) STORED)",
        "INSERT INTO only_generated DEFAULT VALUES",
        "INSERT INTO only_generated DEFAULT VALUES",
        f"CREATE TABLE wide ({', '.join(f'c{number} smallint' for number in range(1600))})",
        f"INSERT INTO wide VALUES ({', '.join(str(number) for number in range(1600))})",
        "INSERT INTO wide (c1599) VALUES (-1)",
        "CREATE TABLE changed (a integer, gone text, b text, gone_too integer)",
        "INSERT INTO changed VALUES (1, 'x', 'one', 1)",
        "ALTER TABLE changed DROP COLUMN gone, DROP COLUMN gone_too, ADD COLUMN added integer DEFAULT 7",
        "INSERT INTO changed VALUES (2, 'two', 8)",
        "CREATE TABLE emptied (gone integer)",
        "INSERT INTO emptied VALUES (1), (2)",
        "ALTER TABLE emptied DROP COLUMN gone",
    )

    report = round_trip.make()

    round_trip.assert_equal()
    found = {table.table: table.rows for table in report.tables}
    assert found == {
        "public.changed": 2,
        "public.emptied": 2,
        "public.nothing": 3,
        "public.only_generated": 2,
        "public.wide": 2,
    }


def test_rows_larger_than_a_frame_come_back(round_trip: RoundTrip) -> None:
    # Given rows of 20 MB, which are 40 MB of COPY text, and toasted ones: compressed, external, plain
    round_trip.fill(
        "CREATE TABLE large (id integer, body bytea)",
        "ALTER TABLE large ALTER body SET STORAGE EXTERNAL",
        "INSERT INTO large SELECT n, decode(repeat(md5(n::text), 20 * 65536), 'hex') FROM generate_series(1, 3) n",
        "CREATE TABLE toasted (c text, e text STORAGE EXTERNAL, m text STORAGE MAIN, l text COMPRESSION pglz)",
        "INSERT INTO toasted SELECT repeat('c', n), repeat('é', n), repeat('m', n), repeat('abc', n)"
        " FROM unnest(ARRAY[0, 1999, 2000, 8191, 100000, 1000000]) n",
    )

    backup = round_trip.back_up()
    round_trip.restore(backup)

    round_trip.assert_equal()
    (large,) = [entry for entry in round_trip.entries(backup) if entry.name == "tables/public.large/000000"]
    assert len(large.frames) == -(-large.size // FRAME_SIZE_BYTES) > 3
    assert large.size == sum(frame.size for frame in large.frames) > 120_000_000


def test_a_table_of_several_slices_comes_back_whole(round_trip: RoundTrip) -> None:
    # Given a table of several slices' blocks, with holes, and rows that moved to other blocks
    round_trip.fill(
        "CREATE TABLE big (id integer, filler text STORAGE PLAIN) WITH (fillfactor = 90)",
        "INSERT INTO big SELECT n, repeat(chr(65 + n % 26), 2600) FROM generate_series(1, 13000) n",
        "DELETE FROM big WHERE id % 7 = 0 OR id BETWEEN 3000 AND 3100",
        "UPDATE big SET filler = filler || 'x' WHERE id % 5 = 0",
    )

    backup = round_trip.back_up()
    report = round_trip.restore(backup)

    round_trip.assert_equal()
    assert [table.rows for table in report.tables] == [value(round_trip.source, "SELECT count(*) FROM big")]
    slices = [entry for entry in round_trip.entries(backup) if entry.kind is EntryKind.TABLE]
    blocks = value(round_trip.source, "SELECT pg_relation_size('big') / 8192")
    assert len(slices) == -(-blocks // SLICE_BLOCKS) > 3
    assert sum(entry.rows or 0 for entry in slices) == report.rows


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP", "WIN1252"])
def test_a_database_in_another_encoding_comes_back_byte_by_byte(round_trip: RoundTrip, encoding: str) -> None:
    # Given texts that are not ASCII, in names too
    name = round_trip.source.rsplit("/", 1)[1]
    run(
        beside(round_trip.source, "postgres"),
        f'DROP DATABASE "{name}"',
        f"""CREATE DATABASE "{name}" TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'""",
    )
    odd = {"EUC_JP": "あい", "SQL_ASCII": "é€"}.get(encoding, "éü")
    round_trip.fill(
        f"""CREATE TABLE "{odd}" ("{odd}x" text, b bytea);
        INSERT INTO "{odd}" VALUES ('{odd}', convert_to('{odd}', 'UTF8'));
        COMMENT ON TABLE "{odd}" IS 'comment {odd}'; CREATE SEQUENCE "s{odd}" START 5;
        CREATE MATERIALIZED VIEW "m{odd}" AS SELECT '{odd}'::text AS t; CREATE TYPE "t{odd}" AS ENUM ('{odd}')""",
    )
    if encoding == "SQL_ASCII":
        round_trip.fill(f'INSERT INTO "{odd}" (b) VALUES (NULL)', f"""INSERT INTO "{odd}" VALUES (E'\\xe9\\xff')""")

    backup = round_trip.back_up()
    round_trip.restore(backup)

    # Then the copy has the same encoding, and the server itself sees the same bytes
    assert value(round_trip.copy, "SHOW server_encoding") == encoding
    stored = f"""SELECT convert_to("{odd}x", '{encoding}'), b FROM "{odd}" ORDER BY 1"""
    assert rows(round_trip.copy, stored) == rows(round_trip.source, stored)
    assert schema_of(round_trip.home, round_trip.copy) == schema_of(round_trip.home, round_trip.source)
    assert [table.table_name for table in round_trip.manifest(backup).database.tables] == [odd]
