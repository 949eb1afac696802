"""Databases of Neon and RDS are backed up and restored by the administrators that these give, who are no superusers."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.conftest import Coffre
from tests.integration.contents import RoundTrip, database_of, value
from tests.providers.servers import ProviderServer, execute

from coffre.policy.profiles import Profile
from coffre.postgres.connection.connect import connect
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.postgres.destination.destination import profile_of

SHOP = (
    "CREATE TABLE customers (id serial PRIMARY KEY, name text)",
    "INSERT INTO customers (name) SELECT 'Ada ' || n FROM generate_series(1, 100) n",
    "CREATE TABLE orders (id serial PRIMARY KEY, customer int NOT NULL REFERENCES customers)",
    "INSERT INTO orders (customer) SELECT n FROM generate_series(1, 100) n",
    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no more orders'; END $$",
    "CREATE TRIGGER closed BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION refuse()",
    "CREATE EXTENSION hstore",
)


def recognized(url: str) -> Profile:
    """The profile of the server at a URL."""
    connection = parse_secret(url, where="the test")
    with connect(connection) as session:
        return profile_of(connection, session, "auto")


@pytest.mark.parametrize("name", ["neon", "rds"])
def test_a_database_comes_whole_into_a_new_one(
    name: str, coffre: Coffre, postgresql_home: Path, request: pytest.FixtureRequest
) -> None:
    server: ProviderServer = request.getfixturevalue(name)
    source = server.project()
    execute(source, *SHOP)
    copy = server.url(f"copy_of_{database_of(source)}")
    server.made.append(database_of(copy))
    assert recognized(source).name == name

    round_trip = RoundTrip(coffre, server.server, source, copy, postgresql_home)
    report = round_trip.restore(round_trip.back_up())

    assert report.exceptions == ()
    assert report.created_database
    round_trip.assert_equal()
    assert value(copy, "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal") == "closed"


def test_supabase_is_recognized_by_its_role_and_only_where_it_is(supabase: ProviderServer, empty_database: str) -> None:
    assert recognized(supabase.project(template="fresh")).name == "supabase"
    assert recognized(empty_database).name == "plain"
