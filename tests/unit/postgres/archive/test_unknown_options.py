"""Options that a destination does not know are taken out of a definition, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.postgres.archive.unknown_options import KNOWN, refused_option, without_known, without_option

ADDED = "ALTER TABLE ONLY public.t ALTER COLUMN n SET (pg_attver=22158952, n_distinct=5);\n"


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("ALTER TABLE ONLY public.t ALTER COLUMN a SET (pg_attver=22);\n", ""),
        (ADDED, "ALTER TABLE ONLY public.t ALTER COLUMN n SET (n_distinct=5);\n"),
        (
            "ALTER TABLE t ALTER COLUMN n SET (n_distinct=5, pg_attver=2, n_distinct_inherited=-1);\n",
            "ALTER TABLE t ALTER COLUMN n SET (n_distinct=5, n_distinct_inherited=-1);\n",
        ),
        ("ALTER TABLE t ALTER n SET (n_distinct=5, pg_attver='2');", "ALTER TABLE t ALTER n SET (n_distinct=5);"),
        ('ALTER TABLE t ALTER n SET ("pg_attver"=2, n_distinct=5);', "ALTER TABLE t ALTER n SET (n_distinct=5);"),
        (
            "alter table t alter n set ( PG_ATTVER = 2 , n_distinct = 5 )",
            "alter table t alter n set (n_distinct = 5 )",
        ),
        (
            """CREATE TABLE t (a text);
ALTER TABLE ONLY t ALTER COLUMN a SET (pg_attver=1);
ALTER TABLE ONLY t ALTER COLUMN b SET (pg_attver=1);
ALTER TABLE t ALTER COLUMN a SET STORAGE PLAIN;
""",
            "CREATE TABLE t (a text);\nALTER TABLE t ALTER COLUMN a SET STORAGE PLAIN;\n",
        ),
        (
            "ALTER TABLE t ALTER COLUMN a SET (pg_attver=1), ALTER b SET (pg_attver=2), SET (fillfactor=70);",
            "ALTER TABLE t SET (fillfactor=70);",
        ),
        (
            "ALTER TABLE t ADD COLUMN c int, ALTER COLUMN a SET (pg_attver=1), SET LOGGED;",
            "ALTER TABLE t ADD COLUMN c int, SET LOGGED;",
        ),
        ("ALTER INDEX i SET (pg_attver=1);", ""),
        ("CREATE TABLE t (a int)\nWITH (pg_attver='1');\n", "CREATE TABLE t (a int);\n"),
        (
            "CREATE TABLE t (a int)\nWITH (fillfactor='70', toast.pg_attver='1');\n",
            "CREATE TABLE t (a int)\nWITH (fillfactor='70');\n",
        ),
        (
            "CREATE INDEX i ON t USING btree (a) WITH (pg_attver='1') WHERE (b = 'WITH (pg_attver=1)');",
            "CREATE INDEX i ON t USING btree (a) WHERE (b = 'WITH (pg_attver=1)');",
        ),
        ("CREATE VIEW v WITH (pg_attver='1') AS\n SELECT 1;", "CREATE VIEW v AS\n SELECT 1;"),
        (
            "ALTER TABLE ONLY t ADD CONSTRAINT e EXCLUDE USING gist (a WITH =) WITH (pg_attver='1', fillfactor='70');",
            "ALTER TABLE ONLY t ADD CONSTRAINT e EXCLUDE USING gist (a WITH =) WITH (fillfactor='70');",
        ),
        (
            "CREATE TABLE t (a int, CONSTRAINT k PRIMARY KEY (a) WITH (pg_attver='1'));",
            "CREATE TABLE t (a int, CONSTRAINT k PRIMARY KEY (a));",
        ),
        (
            "-- SET (pg_attver=1)\nCREATE VIEW v /* /* WITH ( */ */ WITH (pg_attver) AS SELECT 1;",
            "-- SET (pg_attver=1)\nCREATE VIEW v /* /* WITH ( */ */  AS SELECT 1;",
        ),
        (
            'ALTER TABLE "SET (pg_attver=1)"."x;""(" ALTER COLUMN "a\udcff" SET (pg_attver=1, n_distinct=2);',
            'ALTER TABLE "SET (pg_attver=1)"."x;""(" ALTER COLUMN "a\udcff" SET (n_distinct=2);',
        ),
    ],
)
def test_an_option_goes_with_as_little_as_possible(definition: str, expected: str) -> None:
    assert without_option(definition, "pg_attver") == expected


@pytest.mark.parametrize(
    "definition",
    [
        "CREATE TABLE pg_attver (pg_attver int DEFAULT 1, t text DEFAULT 'SET (pg_attver=1)');",
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $_x$ALTER TABLE t SET (pg_attver=1);$_x$;",
        "CREATE FUNCTION f() RETURNS text AS $$ ' $$ LANGUAGE sql; -- ALTER TABLE t SET (pg_attver=1);",
        "CREATE RULE r AS ON INSERT TO t DO INSTEAD UPDATE t SET (pg_attver, b) = ROW(1, 2);",
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql\n BEGIN ATOMIC\n UPDATE t SET (pg_attver, b) = ROW(1, 2);\nEND;",
        r"COMMENT ON TABLE t IS E'\';ALTER TABLE t SET (pg_attver=1);';",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (public.set (pg_attver, 1));",
        "ALTER TABLE t ALTER COLUMN a SET (pg_attver_of_mine=1);",
        "ALTER TABLE t ALTER COLUMN a SET (n_distinct='pg_attver=1');",
        "ALTER TABLE t SET (pg_attver=1",
        "/* CREATE TABLE t () WITH (pg_attver=1);",
        "",
    ],
)
def test_what_is_no_option_stays(definition: str) -> None:
    assert without_option(definition, "pg_attver") is None
    assert without_known(definition) == definition


def test_what_a_server_keeps_for_itself_is_known() -> None:
    assert frozenset({"pg_attver"}) == KNOWN
    assert without_known(ADDED + ADDED) == ADDED.replace("pg_attver=22158952, ", "") * 2
    assert without_known("ALTER TABLE t ALTER COLUMN a SET (pg_attver=1);\n") == ""


@pytest.mark.parametrize(
    ("complaint", "expected"),
    [
        ('unrecognized parameter "shape"', "toast.shape"),
        ("unbekannter Parameter »shape«", "toast.shape"),
        ("paramètre « fillfactor » non reconnu", "fillfactor"),
        ('unrecognized parameter namespace "toast"', "toast.shape"),
        ('unrecognized parameter "security_invoker"', None),
        ('unrecognized parameter "shape_of_others"', None),
        ("fillfactor is not what is wrong", None),
    ],
)
def test_the_refused_option_is_found_in_the_complaint_of_a_server(complaint: str, expected: str | None) -> None:
    definition = "CREATE VIEW t WITH (toast.shape='1', fillfactor=70, security_invoker='true') AS SELECT 1;"

    assert refused_option(definition, complaint) == expected
    if expected:
        shorter = without_option(definition, expected)
        assert shorter is not None
        assert expected not in shorter
        assert without_option(shorter, expected) is None


NAMES = st.sampled_from(
    ["pg_attver", '"pg_attver"', "PG_ATTVER", "n_distinct", "fillfactor", '"odd, ""name"', "toast.x"]
)
VALUES = st.sampled_from(["=1", "='a, (b'", " = -0.5", "=on", "", "='it''s; )'"])
OPTIONS = st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=5)


@given(OPTIONS, st.sampled_from([", ", ",", " ,\n"]))
def test_the_others_of_a_list_stay_in_order(options: list[tuple[str, str]], comma: str) -> None:
    def statement(chosen: list[tuple[str, str]]) -> str:
        return f"ALTER TABLE ONLY t ALTER COLUMN c SET ({comma.join(map(''.join, chosen))});"

    others = [option for option in options if option[0].strip('"').lower() != "pg_attver"]
    expected = statement(others) if others else ""

    found = without_option(statement(options), "pg_attver")

    assert (statement(options) if found is None else found) == expected
