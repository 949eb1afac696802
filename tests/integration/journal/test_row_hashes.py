"""A hash of a table's rows: equal for the same rows in any order, and for no others."""

from __future__ import annotations

from tests.integration.contents import run

from coffre.postgres.connection.connect import connect
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.postgres.journal.row_hashes import Directions, hash_rows, read_directions, rows_of

ROWS = "VALUES (1, 'a', 0.1::float8, NULL), (2, '', 'NaN', '\\x00'), (3, NULL, 1e300, ''), (3, NULL, 1e300, '')"


def test_rows_are_equal_in_any_order_and_each_as_often(empty_database: str) -> None:
    columns = "n int, t text, f float8, b bytea"
    run(
        empty_database,
        *(f"CREATE TABLE {name} ({columns})" for name in ("one", "two", "less", "other")),
        "CREATE TABLE turned (b bytea, gone int, f float8, t text, n int); ALTER TABLE turned DROP gone",
        "CREATE TABLE child (more int) INHERITS (one); INSERT INTO child VALUES (9)",
        "CREATE TABLE nothing ()",
        f"INSERT INTO one {ROWS}",
        "INSERT INTO two SELECT * FROM ONLY one ORDER BY n DESC",
        "INSERT INTO turned SELECT b, f, t, n FROM two",
        "INSERT INTO less SELECT DISTINCT * FROM ONLY one",
        "INSERT INTO other SELECT n, coalesce(t, ''), f, b FROM ONLY one",
        "CREATE SEQUENCE down INCREMENT -1; CREATE SEQUENCE round CYCLE; CREATE SEQUENCE up",
    )
    with connect(parse_secret(empty_database, where="in a test")) as session:
        found = {
            name: hash_rows(session, ("public", name), ["t", "n", "f", "b"])
            for name in ("one", "two", "turned", "less", "other")
        }
        assert found["one"] == found["two"] == found["turned"]
        assert len({found["one"], found["less"], found["other"]}) == 3
        assert [rows_of(found[name]) for name in ("one", "less", "other")] == [4, 3, 4]
        assert rows_of(hash_rows(session, ("public", "nothing"), [])) == 0
        down, turning = frozenset({("public", "down")}), frozenset({("public", "round")})
        assert read_directions(session) == Directions(down, turning, frozenset())
