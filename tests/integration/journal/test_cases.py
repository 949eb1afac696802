"""What a journal has to follow exactly, and what it has to refuse (docs/adr/0066-a-journal-of-rows.md).

Where each case that a journal can be trusted with is tested:

| case | test |
|---|---|
| random workloads: prepared transactions, savepoints, inheritance, partitions | test_workloads |
| the overlap of a base and the stream; transactions that are open over drains | here, test_drain, test_transactions |
| values that are left out (TOAST), swapped and changed keys, generated columns and identities | here |
| rows without an identity | here, test_drain, test_passing |
| TRUNCATE, CASCADE to what is not logged, RESTART IDENTITY | here, test_drain, test_sequences |
| sequences: owned, set back, rolled back, CYCLE, CACHE | test_sequences |
| each kind of changed definition, also with rows in one transaction or a DO block, or taken back | test_definitions |
| one transaction that is too large or too slow | test_slot, test_drain |
| types, under settings that print and read texts in other ways | here |
| types of extensions: hstore and others of contrib, pgvector, PostGIS | test_extensions |
| keys whose operators, and code whose names, are in other schemas | test_replay_paths |
| databases in LATIN1 and SQL_ASCII | test_encodings |
| names and values that the format uses itself | here, test_test_decoding |
| triggers, rules and foreign keys of the destination | here, test_moment |
| large objects, unlogged tables, materialized views | test_function, test_moment |
| a drain or restore that is killed at any step; two at a time; a lost advance | test_drain, test_moment |
| a slot that is gone, lost, another program's, or of a server after a failover | test_slot, test_drain |
| a standby; a promoted one, with a slot that was synchronized and without; a new major version | test_other_servers |
| roles, plugins, poolers and limits of providers | providers/test_journals |
| a server whose disk was put back | test_history |
| clocks that were set back, times in other zones, moments that are not stored | test_moments, test_transactions |
| records and segments that are damaged or missing | test_moment_tables, test_kit, test_history, unit tests of moments |

A transaction of 5 million rows and a row of 500 MB are tested at a small size under limits that are as small
(test_stream); at their own size they were stored by hand (docs/benchmarks.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.journal_scene import Scene

from coffre.model.errors import JournalError, JournalTransientError
from coffre.model.names import qualified
from coffre.postgres.destination import marks
from coffre.postgres.journal import slot_changes
from coffre.postgres.journal.barriers import barriers, marks_of
from coffre.postgres.journal.changes import Barrier, BarrierKind, Delete, Insert, Update
from coffre.postgres.journal.replay import Replay
from coffre.postgres.journal.stream_scan import emptied_tables
from coffre.postgres.journal.test_decoding import decode

# Types and values that a text or a comparison could spoil.
VALUES = {
    "numeric": ("'NaN'", "1.500", "-0.00", "123456789012345678901234567890.123456789012345678901234567890"),
    "float8": ("'Infinity'", "-0.0", "0.1", "5e-324", "1.7976931348623157e308", "'NaN'"),
    "float4": ("0.1", "'-Infinity'", "16777217"),
    "money": ("'$1,234.56'", "'-$0.01'"),
    "boolean": ("true", "false"),
    "bit(5)": ("B'10110'",),
    "varbit": ("B''", "B'1'"),
    "bytea": (r"'\x00ff5c27'", "''"),
    "char(5)": ("'ab   '", "''"),
    '"char"': ("'x'", "''"),
    "name": ("'it''s'",),
    "timestamptz": (
        "'infinity'",
        "'2026-03-29 02:30:00+02'",
        "'4713-01-01 00:00 BC'",
        "'294276-12-31 23:59:59.999999'",
    ),
    "date": ("'-infinity'", "'0044-03-15 BC'"),
    "timetz": ("'24:00:00-15:59'",),
    "interval": ("'-1 mon 2 days -03:04:05.678901'", "'178000000 years'"),
    "jsonb": ("'null'", """'{"a": "it''s \\\\ \\u00e9"}'"""),
    "json": ("""'{ "a":1,  "a":2 }'""",),
    "xml": ("'<a b=\"1\">it''s</a>'",),
    "uuid": ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",),
    "inet": ("'10.0.0.1'", "'::1/64'"),
    "cidr": ("'10.0.0.0/8'",),
    "macaddr8": ("'08:00:2b:01:02:03:04:05'",),
    "tsvector": ("'a:1A fat:2 ''it''''s'''",),
    "point": ("'(0.1,-0)'",),
    "polygon": ("'((0,0),(1,1),(1,0))'",),
    "int4range": ("'empty'", "'[1,)'"),
    "tstzrange": ("'[2026-01-01,infinity)'",),
    "int8multirange": ("'{[1,3),[5,)}'",),
    "text[]": ('\'{NULL,"NULL","a,b",""}\'', "'[-1:0][2:3]={{a,b},{c,d}}'", "'{}'"),
    "numeric[]": ("'{NaN,1.0}'",),
    "bytea[]": (r"'{\"\\\\x00\"}'",),
    '"Odd ""T"."en]um:"': ("'it''s'", "'[x]:1'"),
    '"Odd ""T"."pair"': ("ROW(NULL, NULL)", "ROW(1, 'it''s, \"q\"')"),
    '"Odd ""T"."pair"[]': ('ARRAY[ROW(1, NULL)::"Odd ""T".pair]',),
    '"Odd ""T".positive': ("7",),
    '"Odd ""T".both': ("ROW(2, 'x')",),
    "pg_lsn": ("'16/B374D848'",),
    "regclass": ("'pg_class'",),
    "tid": ("'(1,2)'",),
    "oid": ("4294967295",),
}
TYPES = r"""
CREATE SCHEMA "Odd ""T";
CREATE TYPE "Odd ""T"."en]um:" AS ENUM ('it''s', '[x]:1');
CREATE TYPE "Odd ""T".pair AS (n int, t text);
CREATE DOMAIN "Odd ""T".positive AS int CHECK (VALUE > 0);
CREATE DOMAIN "Odd ""T".both AS "Odd ""T".pair CHECK ((VALUE).n > 0);
"""


# What a database may set, and every session of it has then: a text that is printed or read in another way is lost.
SKEWED = (
    *("datestyle = 'German, DMY'", "intervalstyle = 'iso_8601'", "timezone = 'Asia/Kathmandu'"),
    *("extra_float_digits = -15", "bytea_output = 'escape'", "xmlbinary = 'hex'", "xmloption = 'document'"),
    *("quote_all_identifiers = on", "array_nulls = off", "transform_null_equals = on", "backslash_quote = on"),
    *("standard_conforming_strings = off", "escape_string_warning = off", "search_path = ''"),
    *("client_encoding = 'LATIN1'", "default_transaction_isolation = 'serializable'", "lock_timeout = 1"),
    *("enable_indexscan = off", "work_mem = 64"),
)


@pytest.mark.parametrize(("major", "settings"), [(14, SKEWED), (18, ())])
def test_every_type_is_followed_as_a_value_as_a_key_and_as_a_whole_row(
    make_scene: Callable[..., Scene], major: int, settings: tuple[str, ...]
) -> None:
    scene = make_scene(major, settings=settings)
    columns = ", ".join(f"c{number} {kind}" for number, kind in enumerate(VALUES))
    scene.begin(
        TYPES,
        f"CREATE TABLE keyed (id int PRIMARY KEY, {columns})",
        f"CREATE TABLE whole ({columns}); ALTER TABLE whole REPLICA IDENTITY FULL",
        'CREATE TABLE by_type (a char(5), b numeric, c "Odd ""T".pair, d "Odd ""T"."en]um:", e text[], v text, '
        "PRIMARY KEY (a, b, c, d, e))",
    )
    scene.take_base()
    most = max(map(len, VALUES.values()))
    for row in range(most):
        values = ", ".join(kinds[row % len(kinds)] for kinds in VALUES.values())
        scene.run(f"INSERT INTO keyed SELECT {row}, whole.* FROM (VALUES (1)) one LEFT JOIN whole ON false")
        sets = ", ".join(f"c{number} = {kinds[row % len(kinds)]}" for number, kinds in enumerate(VALUES.values()))
        scene.run(f"INSERT INTO whole VALUES ({values})", f"UPDATE keyed SET {sets} WHERE id = {row}")
    for number, _ in enumerate(VALUES):
        scene.run(f"UPDATE whole SET c{number} = NULL WHERE ctid = (SELECT min(ctid) FROM whole)")
    scene.run("INSERT INTO whole SELECT FROM generate_series(1, 3)")  # equal rows, of NULLs alone
    scene.run("DELETE FROM whole WHERE ctid = (SELECT max(ctid) FROM whole)")
    scene.run(
        "INSERT INTO by_type VALUES ('x', 1.50, ROW(1, NULL), 'it''s', '{a,NULL}')",
        "INSERT INTO by_type VALUES ('y ', 2, ROW(2, 'b'), '[x]:1', '{}')",
        "UPDATE by_type SET v = 'changed'",
        "UPDATE by_type SET b = 1.5 WHERE a = 'x'",  # equal as a number, another text
        "DELETE FROM by_type WHERE a = 'y'",
    )
    scene.drain()

    scene.replay_to()

    scene.require_equal()


HOSTILE = st.text(
    st.one_of(st.sampled_from("'\"[]:\\ \n\t.,é🙂"), st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
)
NAMES = HOSTILE.filter(bool).map(lambda name: name.encode()[:63].decode(errors="ignore"))


@pytest.mark.parametrize("major", [14, 18])
def test_what_the_decoder_reads_is_what_the_server_has(make_scene: Callable[[int], Scene], major: int) -> None:
    scene = make_scene(major)
    scene.begin("SELECT")

    @settings(max_examples=15, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
    @given(
        NAMES.filter(lambda name: not name.startswith("pg_")), NAMES, NAMES, st.lists(HOSTILE, min_size=1, max_size=3)
    )
    def compare(schema: str, table: str, column: str, values: list[str]) -> None:
        name = qualified(schema, table)
        [quoted] = re.findall(r'^"t"\.(.*)$', qualified("t", column), re.DOTALL)
        with scene.session, scene.session.cursor() as cursor:
            cursor.execute(f"DROP SCHEMA IF EXISTS {qualified('x', schema)[4:]} CASCADE")
            cursor.execute(f"CREATE SCHEMA {qualified('x', schema)[4:]}")
            cursor.execute(f"CREATE TABLE {name} ({quoted} text, {qualified('x', 'n' + column[:15])[4:]} int)")
            cursor.execute(f"ALTER TABLE {name} REPLICA IDENTITY FULL")
        with scene.session, scene.session.cursor() as cursor:
            name, quoted = name.replace("%", "%%"), quoted.replace("%", "%%")  # what the driver takes for a parameter
            for number, value in enumerate(values):
                cursor.execute(f"INSERT INTO {name} VALUES (%s, %s)", (value, number))
            cursor.execute(f"UPDATE {name} SET {quoted} = NULL WHERE {quoted} = %s", (values[0],))
            cursor.execute(f"DELETE FROM {name} WHERE {quoted} IS NOT NULL", ())

        [_, *changes, _] = decode(slot_changes.lines(scene.reader, scene.ours.name, scene.ours.stored_lsn + (1 << 40)))
        scene.drain()

        names = (column, "n" + column[:15])
        found = list(map(tuple, changes))
        assert {change.table for change in changes} == {(schema, table)}  # type: ignore[union-attr]
        inserts = [change.new for change in changes if isinstance(change, Insert)]
        assert [(row.names, row.values) for row in inserts] == [
            (names, (value, str(number))) for number, value in enumerate(values)
        ]
        updates = [change for change in changes if isinstance(change, Update)]
        same = [number for number, value in enumerate(values) if value == values[0]]
        assert [(one.old and one.old.values, one.new and one.new.values) for one in updates] == [
            ((values[0], str(number)), (None, str(number))) for number in same
        ]
        deletes = [change.old for change in changes if isinstance(change, Delete)]
        assert [row and row.values for row in deletes] == [
            (value, str(number)) for number, value in enumerate(values) if number not in same
        ]
        assert len(found) == len(inserts) + len(updates) + len(deletes)

    compare()


def test_what_moves_swaps_overlaps_and_is_emptied_is_equal(make_scene: Callable[[int], Scene]) -> None:
    scene = make_scene(18)
    scene.begin(
        "CREATE TABLE swap (id int PRIMARY KEY, v text UNIQUE DEFERRABLE)",
        "CREATE TABLE big (k text PRIMARY KEY, v text, n int); ALTER TABLE big ALTER k SET STORAGE EXTERNAL",
        "CREATE TABLE made (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) VIRTUAL,"
        " kept int GENERATED ALWAYS AS (n * 3) STORED, i int GENERATED ALWAYS AS IDENTITY)",
        "CREATE TABLE up (id int PRIMARY KEY); CREATE TABLE down (id int REFERENCES up)",
        "CREATE UNLOGGED TABLE loose (id int REFERENCES up)",
        "CREATE MATERIALIZED VIEW view AS SELECT id, v FROM swap; CREATE UNIQUE INDEX ON view (id)",
        "INSERT INTO swap VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        "INSERT INTO up VALUES (1); INSERT INTO down VALUES (1); INSERT INTO loose VALUES (1)",
        "ALTER TABLE big ALTER v SET STORAGE EXTERNAL",
    )
    scene.run("INSERT INTO big SELECT repeat('k', 2500), repeat('v', 9000), 1")
    early, open_long = scene.writer(), scene.writer()
    for number, session in ((11, early), (12, open_long)):
        with session.cursor() as cursor:
            cursor.execute("INSERT INTO swap SELECT id, 'new ' || id FROM (VALUES (%s)) v (id)", (number,))
            cursor.execute("UPDATE swap SET v = 'newer ' || id WHERE id > 10")
    scene.take_base()  # sees neither of them
    early.commit()
    scene.drain()
    scene.run("UPDATE swap SET v = CASE v WHEN 'a' THEN 'b' ELSE 'a' END WHERE id < 3")  # unique at the end only
    scene.run("UPDATE swap SET id = -id WHERE id < 3", "UPDATE swap SET id = 3 + id WHERE id < 0")
    scene.run("UPDATE big SET n = 2", "UPDATE big SET v = 'short'", "UPDATE big SET k = 'other' || k")
    scene.run("INSERT INTO made (id, n) SELECT i, i FROM generate_series(1, 9) i")
    scene.run(
        "UPDATE made SET n = 20 WHERE id < 5",
        "UPDATE made SET i = DEFAULT WHERE id = 2",
        "UPDATE made SET id = 99 WHERE id = 3",
    )
    scene.run("REFRESH MATERIALIZED VIEW CONCURRENTLY view")
    scene.run("TRUNCATE up CASCADE", "INSERT INTO up VALUES (5)", "INSERT INTO down VALUES (5)")
    open_long.commit()  # began before the base, and was open over two drains
    scene.drain()

    first = scene.replay_to()
    assert first.position.transactions == 9

    scene.require_equal()
    assert scene.replay_to().position == first.position  # nothing is left to be done


def test_what_cannot_be_applied_is_refused_and_nothing_of_it_stays(make_scene: Callable[[int], Scene]) -> None:
    scene = make_scene(18)
    scene.begin("CREATE TABLE keyed (id int PRIMARY KEY, v text); CREATE TABLE bare (v text)")
    scene.run("INSERT INTO keyed VALUES (1, 'a'); INSERT INTO bare VALUES ('a')")
    scene.take_base()
    before = scene.definitions()
    assert before.without_identity() == [("public", "bare")]

    def refused(code: str, words: str, **changes: str) -> None:
        scene.drain()
        with pytest.raises(JournalError) as caught:
            scene.replay_to()
        assert (caught.value.code, words in str(caught.value)) == (code, True), str(caught.value)
        assert caught.value.hint
        scene.segments.pop()

    scene.run("INSERT INTO keyed VALUES (2, 'b')", "UPDATE bare SET v = 'b'")
    refused("JOURNAL_NO_IDENTITY", "an UPDATE of the table public.bare")
    scene.run("INSERT INTO keyed VALUES (3, 'b')", "DELETE FROM bare")
    refused("JOURNAL_NO_IDENTITY", "a DELETE of the table public.bare")
    scene.run("UPDATE keyed SET v = 'z' WHERE id = 3")  # the copy has no row 3
    refused("JOURNAL_DIVERGED", "table public.keyed")
    scene.run("INSERT INTO keyed VALUES (4, 'b')", "CREATE TABLE late (id int)", "INSERT INTO late VALUES (1)")
    refused("JOURNAL_UNKNOWN_TABLE", "table public.late")
    scene.run("ALTER TABLE keyed ADD w int", "INSERT INTO keyed VALUES (5, 'b', 1)")
    refused("JOURNAL_REPLAY", "table public.keyed")
    with scene.copy, scene.copy.cursor() as cursor:
        cursor.execute("SELECT (SELECT count(*) FROM public.keyed), (SELECT count(*) FROM public.bare)")
        assert cursor.fetchall() == [(1, 1)]

    scene.run("ALTER TABLE keyed DROP w", "DELETE FROM keyed", "INSERT INTO keyed VALUES (1, 'a')")
    scene.drain()
    scene.run("INSERT INTO bare VALUES ('b')")
    scene.segments.clear()
    scene.drain()
    session = scene.connect(f"{scene.name}_copy")
    one, other = scene.replay(), Replay(session, scene.source)
    with session, session.cursor() as cursor:
        cursor.execute("SET lock_timeout = '50ms'")
    replace = marks.replace

    def held(*given: Any) -> None:
        with patch.object(marks, "replace", replace), pytest.raises(JournalTransientError, match="ended") as waits:
            other.apply(lambda: scene.segments[0])
        assert "lock timeout" in (waits.value.detail or "")
        replace(*given)

    with patch.object(marks, "replace", side_effect=held):
        assert not one.apply(lambda: scene.segments[0])
    with pytest.raises(JournalError) as caught:
        other.apply(lambda: scene.segments[0])
    assert caught.value.code == "JOURNAL_TWO_REPLAYS"
    assert one.position.changes == 1


def test_changed_definitions_are_barriers_and_emptied_tables_are_not(make_scene: Callable[[int], Scene]) -> None:
    scene = make_scene(14)
    scene.begin(
        "CREATE TYPE mood AS ENUM ('a'); CREATE TYPE pair AS (n int)",
        "CREATE TABLE one (id int PRIMARY KEY, m mood, v text); CREATE TABLE two (id int)",
        "CREATE TABLE bare (id int PRIMARY KEY, n int UNIQUE)",
        "CREATE UNLOGGED TABLE loose (id int); CREATE INDEX named ON one (v)",
    )
    one, two = ("public", "one"), ("public", "two")
    changed, rewritten = BarrierKind.DEFINITION_CHANGED, BarrierKind.REWRITTEN
    unlogged = "ALTER TABLE two SET UNLOGGED; INSERT INTO two VALUES (1); ALTER TABLE two SET LOGGED"

    for statement, expected in (
        ("INSERT INTO one VALUES (1, 'a', 'x'); UPDATE one SET v = 'y'; DELETE FROM one", []),
        ("CREATE INDEX ON one (id); DROP INDEX named; ANALYZE one; REINDEX TABLE one", []),
        ("CREATE TEMPORARY TABLE passing (id int); CREATE VIEW seen AS SELECT 1", []),
        ("TRUNCATE one", []),
        ("GRANT SELECT ON one TO public", [Barrier(changed, one)]),
        ("TRUNCATE one; ALTER TABLE one ADD COLUMN w int", [Barrier(changed, one)]),
        ("CLUSTER one USING one_pkey", [Barrier(rewritten, one)]),
        (f"TRUNCATE two; {unlogged}", [Barrier(rewritten, two)]),
        (f"BEGIN; TRUNCATE two; {unlogged}; END", [Barrier(rewritten, two)]),
        (
            "BEGIN; TRUNCATE one; ALTER TABLE one SET UNLOGGED; ALTER TABLE one SET LOGGED; COMMIT",
            [Barrier(rewritten, one)],
        ),
        ("TRUNCATE two", []),
        ("TRUNCATE one, two, bare RESTART IDENTITY", []),
        ("TRUNCATE bare, two, one", []),
        ("TRUNCATE two, one, bare", []),
        (f"BEGIN; TRUNCATE one, two, bare; {unlogged}; END", [Barrier(rewritten, two)]),
        ("BEGIN; SELECT 1; TRUNCATE one; INSERT INTO one (id) VALUES (1); TRUNCATE one; COMMIT", []),
        (unlogged, None),
        ("ALTER TABLE one ALTER COLUMN v TYPE text USING v || 'x'", [Barrier(changed, one)]),
        ("ALTER TABLE one ALTER COLUMN v SET DEFAULT 'x'", [Barrier(changed, one)]),
        ("ALTER TABLE one DROP COLUMN w", [Barrier(changed, one)]),
        ("ALTER TABLE one RENAME TO x; ALTER TABLE two RENAME TO one; ALTER TABLE one RENAME TO two", None),
        ("ALTER TABLE x RENAME TO one", None),
        ("DROP TABLE two; CREATE TABLE two (id int)", [Barrier(changed, two)]),
        ("ALTER TABLE two REPLICA IDENTITY FULL", [Barrier(changed, two)]),
        ("CREATE UNIQUE INDEX ON two (id)", [Barrier(changed, two)]),
        ("CREATE TABLE three (id int)", [Barrier(changed, ("public", "three"))]),
        ("ALTER TYPE mood ADD VALUE 'b'", [Barrier(changed, ("public", "mood"))]),
        ("ALTER TYPE pair ADD ATTRIBUTE t text", [Barrier(changed, ("public", "pair"))]),
    ):
        before = scene.definitions()
        scene.session.autocommit = True
        with scene.session.cursor() as cursor:
            for part in statement.split("; "):
                cursor.execute(part)
        emptied = dict(emptied_tables(scene.drain())) if "TRUNCATE" in statement else {}
        found = barriers(marks_of(before), marks_of(scene.definitions()), emptied)
        assert found == expected if expected is not None else found, statement


def test_what_would_fire_is_refused_and_a_role_that_may_not_silence_it_needs_a_bare_base(
    make_scene: Callable[[int], Scene],
) -> None:
    scene = make_scene(18)
    scene.begin(
        "CREATE TABLE up (id int PRIMARY KEY); CREATE TABLE down (id int PRIMARY KEY REFERENCES up, v text)",
        "CREATE SCHEMA hidden; CREATE TYPE hidden.mood AS ENUM ('a'); CREATE TABLE other (m hidden.mood)",
    )
    scene.take_base()
    scene.run("INSERT INTO up VALUES (1)", "INSERT INTO down VALUES (1, 'x')", "UPDATE down SET v = 'y'")
    scene.drain()

    def refused(words: str) -> None:
        with pytest.raises(JournalError, match=words) as caught:
            scene.replay()
        assert caught.value.code == "JOURNAL_TRIGGERS"
        assert caught.value.hint

    scene.run("CREATE RULE nothing AS ON DELETE TO public.down DO INSTEAD NOTHING", session=scene.copy)
    scene.run("ALTER TABLE public.down ENABLE ALWAYS RULE nothing", session=scene.copy)
    refused("nothing of public.down")
    scene.run("DROP RULE nothing ON public.down", session=scene.copy)

    role = f"{scene.name}_owner"
    scene.run(f"CREATE ROLE {role}")
    scene.stack.callback(lambda: scene.run(f"DROP ROLE {role}"))
    scene.stack.callback(lambda: scene.run(f"RESET SESSION AUTHORIZATION; DROP OWNED BY {role}", session=scene.copy))
    for table in ("up", "down"):
        scene.run(f"ALTER TABLE public.{table} OWNER TO {role}", session=scene.copy)
    scene.run(
        f"GRANT ALL ON SCHEMA coffre_unfinished_restore TO {role}",
        f"GRANT ALL ON ALL TABLES IN SCHEMA coffre_unfinished_restore TO {role}",
        f"RESET session_replication_role; SET SESSION AUTHORIZATION {role}",
        session=scene.copy,
    )
    refused("RI_ConstraintTrigger_.* of public.down")
    scene.run("ALTER TABLE public.down DROP CONSTRAINT down_id_fkey", session=scene.copy)

    assert scene.replay_to().position.changes == 3
