"""A drill comes to the verdict of a real restore: by a plain owner, and by a superuser where only rights differ."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.integration.contents import RoundTrip, database_of, rows, run
from tests.integration.drills import report_of

from coffre.model.errors import CoffreError

_OWNED = (
    "CREATE TABLE t (id int PRIMARY KEY, n text)",
    "INSERT INTO t SELECT g, 'x' FROM generate_series(1, 50) g",
)
_IS_MEMBER = (
    "CREATE FUNCTION is_member(i int) RETURNS boolean LANGUAGE sql STABLE AS"
    " $$ SELECT EXISTS (SELECT FROM public.z_members m WHERE m.g = i) $$"
)
# What a restore with `strict` comes to by a plain owner and by a superuser, and what the drill says.
CASES: dict[str, tuple[Sequence[str], bool, bool, str]] = {
    "whole": (_OWNED, True, True, "passed"),
    "orphans": (
        (
            *_OWNED,
            "CREATE TABLE u (t int REFERENCES t); INSERT INTO u SELECT 1 + g % 50 FROM generate_series(1, 100) g",
            "SET session_replication_role = replica; DELETE FROM t WHERE id = 4",
        ),
        False,
        False,
        "incomplete",
    ),
    "check on a table that is loaded later": (
        (
            "CREATE TABLE z_members (g int PRIMARY KEY); INSERT INTO z_members SELECT generate_series(1, 20)",
            _IS_MEMBER,
            "CREATE TABLE a_budget (g int CHECK (is_member(g))); INSERT INTO a_budget SELECT generate_series(1, 20)",
        ),
        True,
        True,
        "passed",
    ),
    "names without a schema": (
        (
            "CREATE FUNCTION plus(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT i + 1'",
            "CREATE FUNCTION twice(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN plus(i) * 2; END'",
            "CREATE TABLE s (i int, j int GENERATED ALWAYS AS (twice(i)) STORED)",
            "INSERT INTO s (i) SELECT generate_series(1, 50)",
        ),
        True,
        True,
        "passed",
    ),
    "what only a superuser can make": (
        (*_OWNED, "CREATE PUBLICATION everything FOR ALL TABLES"),
        False,
        True,
        "passed",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_drill_says_what_a_restore_comes_to(case: str, round_trip: RoundTrip) -> None:
    statements, by_owner, by_superuser, outcome = CASES[case]
    round_trip.create_role("verdict_owner", "LOGIN CREATEDB")
    round_trip.fill(*statements)
    for (name,) in _tables(round_trip):
        run(round_trip.source, f"ALTER TABLE {name} OWNER TO verdict_owner")
    backup = round_trip.back_up()

    said = round_trip.coffre.drill()

    report = report_of(round_trip.coffre, backup)
    assert said["outcome"] == outcome
    restored = {}
    for user in ("verdict_owner", "postgres"):
        url = round_trip.server.dsn(database_of(round_trip.copy), user=user)
        found = round_trip.restore(backup, url)
        round_trip.server.drop_database(database_of(round_trip.copy))
        restored[user] = [left for left in found.left_out if not left.what.startswith("the owner of ")]
        try:
            round_trip.restore(backup, url, strict=True)
            strict = True
            round_trip.server.drop_database(database_of(round_trip.copy))
        except CoffreError:
            strict = False
        assert strict is (by_owner if user == "verdict_owner" else by_superuser), user
    # What a restore by a plain owner leaves out is what the drill says, as left out or as not provable here
    drilled = [*report.left_out, *(text for text in report.exceptions if text.startswith("Not restored: "))]
    assert [one.what for one in restored["verdict_owner"]] == [
        text.removeprefix("Not restored: ").split(": ")[0] for text in drilled
    ]
    assert (outcome == "passed") >= (not restored["postgres"])
    assert (outcome == "incomplete") == bool(restored["postgres"])


def _tables(round_trip: RoundTrip) -> list[tuple[str]]:
    return [(str(name),) for (name,) in rows(round_trip.source, "SELECT relname FROM pg_class WHERE relkind = 'r'"
                                             " AND relnamespace = 'public'::regnamespace")]  # fmt: skip
