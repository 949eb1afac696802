"""Changes of tables whose code names things without their schema, and keys whose operators are in another one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.integration.journal_scene import Scene

from coffre.model.errors import JournalError
from coffre.postgres.journal.replay import Replay
from coffre.postgres.journal.search_path import Paths

KEYS = {"citext": "A", "ltree": "a.B", "hstore": "a=>1", "low": "b"}
TABLES = (
    "CREATE SCHEMA kinds; CREATE EXTENSION citext SCHEMA kinds; CREATE EXTENSION ltree SCHEMA kinds",
    "CREATE EXTENSION hstore SCHEMA kinds; CREATE DOMAIN kinds.low AS kinds.citext",
    *(f"CREATE TABLE by_{kind} (id kinds.{kind}, n int, PRIMARY KEY (id, n), t text)" for kind in KEYS),
    "CREATE TABLE rate (id int PRIMARY KEY, cents int); INSERT INTO rate VALUES (1, 7)",
    "CREATE FUNCTION factor() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT max(cents) FROM rate'",
    "CREATE FUNCTION priced(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 * factor(); END'",
    "CREATE DOMAIN price AS int CHECK (factor() > VALUE % 3)",
    """CREATE TABLE item (
        id int PRIMARY KEY, n int CHECK (priced(n) > 0), price price, cents int GENERATED ALWAYS AS (priced(n)) STORED
    )""",
    "CREATE TABLE whole (a int, b boolean, c kinds.hstore); ALTER TABLE whole REPLICA IDENTITY FULL",
)
CHANGES = (
    *(
        f"INSERT INTO by_{kind} SELECT text '{text}'::kinds.{kind}, generate_series(1, 4)"
        for kind, text in KEYS.items()
    ),
    *(f"UPDATE by_{kind} SET t = 'x' WHERE n > 2" for kind in KEYS),
    *(f"UPDATE by_{kind} SET n = 9 WHERE n = 3" for kind in KEYS),
    *(f"DELETE FROM by_{kind} WHERE n < 2" for kind in KEYS),
    "INSERT INTO item (id, n, price) SELECT n, n, n FROM generate_series(1, 4) n",
    "UPDATE item SET n = n + 1 WHERE id > 2",
    "INSERT INTO whole VALUES (1, true, 'a=>1'), (2, NULL, ''), (2, NULL, '')",
    "DELETE FROM whole WHERE a = 1; UPDATE whole SET b = false WHERE ctid = (SELECT min(ctid) FROM whole)",
)
# Under a path that begins with these, a name of ours without its schema would be caught.
EVIL = """
CREATE SCHEMA evil;
CREATE FUNCTION evil.yes(int, int) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION evil.yes(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR evil.= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.yes);
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.yes);
CREATE FUNCTION evil.num_nulls(boolean) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION evil.unnest(int[]) RETURNS SETOF int LANGUAGE sql AS 'SELECT 0'
"""


def test_keys_with_operators_and_code_with_names_of_other_schemas_are_followed(
    make_scene: Callable[..., Scene],
) -> None:
    scene = make_scene(18)
    scene.begin(*TABLES)
    scene.take_base()
    scene.run(*CHANGES)
    scene.drain()
    scene.run(EVIL, session=scene.copy)
    paths = Paths(lambda _: ["kinds", "evil, public, pg_catalog"])

    Replay(scene.copy, scene.source, paths=paths).apply(lambda: iter(scene.segments[0]))

    scene.require_equal()
    assert paths.taken == {("public", "item"): "evil, public, pg_catalog"}


def test_what_each_path_refuses_is_reported_as_under_the_first(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene(18)
    scene.begin(*TABLES)
    scene.take_base()
    scene.run(*CHANGES)
    scene.drain()

    with pytest.raises(JournalError, match="item") as refused:
        Replay(scene.copy, scene.source, paths=Paths(lambda _: ["kinds"])).apply(lambda: iter(scene.segments[0]))

    assert refused.value.code == "JOURNAL_REPLAY"
    assert 'relation "rate" does not exist' in (refused.value.detail or "")
