"""Who may read a source and load a copy: row security, owners, and roles that the copy's server does not have."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.integration.contents import RoundTrip, RoundTripOn, database_of, rows, run, value

from coffre.model.errors import DumpError
from coffre_local.postgres_server import PostgresServer, ServerOptions
from coffre_local.sample import fingerprint
from coffre_local.toolchain import Toolchain

_TENANTS = (
    "CREATE TABLE tenants (id integer PRIMARY KEY, owner text)",
    "INSERT INTO tenants VALUES (1, 'a'), (2, 'b'), (3, 'a'), (4, 'b'), (5, 'c')",
    "ALTER TABLE tenants OWNER TO contents_app",
    "ALTER TABLE tenants ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE tenants FORCE ROW LEVEL SECURITY",
    "CREATE POLICY own ON tenants USING (owner = 'a')",
)


@pytest.fixture(scope="module")
def other_superuser(toolchain: Toolchain) -> Iterator[PostgresServer]:
    """A server whose superuser has a name of its own."""
    with PostgresServer(toolchain.embedded_postgresql(), ServerOptions(superuser="contents_root")) as server:
        yield server


def test_a_role_with_bypassrls_backs_up_every_row_of_forced_row_security(round_trip: RoundTrip) -> None:
    round_trip.create_role("contents_app")
    reader = round_trip.create_role("contents_reader", "LOGIN BYPASSRLS IN ROLE pg_read_all_data")
    round_trip.fill(*_TENANTS)

    backup = round_trip.back_up(reader=reader)
    round_trip.restore(backup)

    round_trip.assert_equal()
    assert backup.rows == 5


def test_a_role_under_row_security_gets_an_error_and_not_a_part_of_the_rows(round_trip: RoundTrip) -> None:
    round_trip.create_role("contents_app")
    reader = round_trip.create_role("contents_reader", "LOGIN IN ROLE pg_read_all_data")
    round_trip.fill(*_TENANTS)

    with pytest.raises(DumpError) as caught:
        round_trip.back_up(reader=reader)

    assert caught.value.code == "ROW_SECURITY"
    assert "tenants" in caught.value.message
    assert 'ALTER ROLE "contents_reader" BYPASSRLS' in (caught.value.hint or "")


def test_the_owner_of_a_table_under_forced_row_security_gets_an_error_too(round_trip: RoundTrip) -> None:
    owner = round_trip.create_role("contents_app", "LOGIN")
    round_trip.fill(*_TENANTS)

    with pytest.raises(DumpError) as caught:
        round_trip.back_up(reader=owner)

    assert caught.value.code == "ROW_SECURITY"


def test_a_plain_owner_restores_what_it_can_and_is_told_the_rest(round_trip: RoundTrip) -> None:
    # Given a database with things that only a superuser can make, and a role that can only create databases
    round_trip.create_role("contents_app")
    owner = round_trip.create_role("contents_owner", "LOGIN CREATEDB")
    round_trip.fill(
        *_TENANTS,
        "CREATE TABLE plain (id serial PRIMARY KEY, t text)",
        "INSERT INTO plain (t) SELECT 'x' FROM generate_series(1, 10)",
        "GRANT SELECT ON plain TO contents_app",
        "CREATE EXTENSION pg_trgm",
        "COMMENT ON EXTENSION pg_trgm IS 'changed'",
        "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
        "CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION f()",
        "COMMENT ON EVENT TRIGGER watch IS 'EXTENSION of something'",
        "COMMENT ON TABLE plain IS 'about EVENT TRIGGER and EXTENSION x'",
        "ALTER DEFAULT PRIVILEGES FOR ROLE contents_app GRANT SELECT ON TABLES TO contents_owner",
        "CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM plain",
        "CREATE PUBLICATION one_table FOR TABLE plain",
    )

    backup = round_trip.back_up()
    report = round_trip.restore(backup, round_trip.server.dsn(database_of(round_trip.copy), user="contents_owner"))

    # Then every row is there, and what is not is said
    assert fingerprint(round_trip.copy) == fingerprint(round_trip.source)
    assert not report.with_owners
    said = {left.what: left for left in report.left_out}
    assert "not a member of this role" in said["the owner of the table public.tenants"].reason
    assert "must be" in said["event trigger watch"].reason.lower() or "permission" in said["event trigger watch"].reason
    assert "COMMENT ON EVENT TRIGGER" in (said["event trigger watch"].sql or "")
    # Then a grant needs ownership alone
    assert value(round_trip.copy, "SELECT has_table_privilege('contents_app', 'plain', 'SELECT')") is True
    comment = "SELECT obj_description(oid, 'pg_extension') FROM pg_extension WHERE extname = 'pg_trgm'"
    assert value(round_trip.copy, comment) == "changed"
    assert len(report.exceptions) == len(set(report.exceptions))
    assert value(round_trip.copy, "SELECT obj_description('plain'::regclass)") == "about EVENT TRIGGER and EXTENSION x"
    assert value(round_trip.copy, "SELECT relforcerowsecurity FROM pg_class WHERE relname = 'tenants'") is True
    assert (
        value(round_trip.copy, "SELECT relowner::regrole::text FROM pg_class WHERE relname = 'plain'")
        == "contents_owner"
    )
    assert owner


def test_a_member_of_the_owners_restores_owners_and_rights(round_trip: RoundTrip) -> None:
    # Given a role that may act for the owner of everything
    round_trip.create_role("contents_app")
    round_trip.create_role("contents_member", "LOGIN CREATEDB IN ROLE contents_app")
    run(round_trip.server.dsn(), f'ALTER DATABASE "{database_of(round_trip.source)}" OWNER TO contents_app')
    round_trip.fill(
        "SET ROLE contents_app; CREATE SCHEMA app; CREATE TABLE app.t (id serial PRIMARY KEY);"
        " INSERT INTO app.t SELECT generate_series(1, 3); GRANT SELECT ON app.t TO PUBLIC;"
        " CREATE VIEW app.v AS SELECT * FROM app.t;"
        " CREATE MATERIALIZED VIEW app.m AS SELECT * FROM app.v;"
        " ALTER TABLE app.t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
        " CREATE POLICY p ON app.t USING (id > 1)",
        "REFRESH MATERIALIZED VIEW app.m",
    )

    backup = round_trip.back_up()
    report = round_trip.restore(backup, round_trip.server.dsn(database_of(round_trip.copy), user="contents_member"))

    round_trip.assert_equal()
    assert report.with_owners
    assert report.exceptions == ()
    assert value(round_trip.copy, "SELECT count(*) FROM app.m") == 2


@pytest.mark.parametrize("options", ["INHERIT FALSE", "SET FALSE"])
def test_a_membership_that_does_not_carry_the_rights_is_no_membership(round_trip: RoundTrip, options: str) -> None:
    round_trip.create_role("contents_app")
    round_trip.create_role("contents_member", "LOGIN CREATEDB")
    run(round_trip.server.dsn(), f"GRANT contents_app TO contents_member WITH {options}")
    round_trip.fill(
        "CREATE TABLE t AS SELECT 1 AS id", "ALTER TABLE t OWNER TO contents_app", "GRANT SELECT ON t TO PUBLIC"
    )

    backup = round_trip.back_up()
    report = round_trip.restore(backup, round_trip.server.dsn(database_of(round_trip.copy), user="contents_member"))

    assert fingerprint(round_trip.copy) == fingerprint(round_trip.source)
    assert not report.with_owners
    assert any(left.sql == 'ALTER TABLE "public"."t" OWNER TO "contents_app";\n' for left in report.left_out)
    assert value(round_trip.copy, "SELECT relacl::text LIKE '%{=r/%' OR relacl::text LIKE '%,=r/%' FROM pg_class"
                 " WHERE relname = 't'") is True  # fmt: skip


def test_roles_that_the_destination_lacks_are_named_and_their_policies_left_out(
    round_trip: RoundTrip, server_of_major: Callable[[int], PostgresServer], round_trip_on: RoundTripOn
) -> None:
    # Given owners, rights and policies of roles that the other server does not have
    round_trip.create_role("contents_app")
    round_trip.create_role('contents "odd" Role')
    round_trip.fill(
        "CREATE TABLE t (id integer)",
        "INSERT INTO t VALUES (1)",
        "ALTER TABLE t OWNER TO contents_app",
        'GRANT SELECT ON t TO "contents ""odd"" Role"',
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY everyone ON t USING (true)",
        'CREATE POLICY partly ON t TO "contents ""odd"" Role" USING (id = 1)',
        "CREATE EXTENSION file_fdw",
        "CREATE SERVER files FOREIGN DATA WRAPPER file_fdw",
        "CREATE USER MAPPING FOR contents_app SERVER files",
        "ALTER DEFAULT PRIVILEGES FOR ROLE contents_app GRANT SELECT ON TABLES TO PUBLIC",
    )
    there = round_trip_on(server_of_major(18))

    backup = round_trip.back_up()
    report = there.restore(backup)

    assert fingerprint(there.copy) == fingerprint(round_trip.source)
    assert not report.with_owners
    said = {left.what: left for left in report.left_out}
    assert said["policy public.t partly"].reason == 'the destination lacks the role contents "odd" Role'
    assert len([what for what in said if what.startswith("user mapping")]) == 1
    assert "GRANT SELECT" in (said['1 privilege of "contents ""odd"" Role"'].sql or "")
    assert "contents_app" in said["the owner of the table public.t"].reason
    assert rows(there.copy, "SELECT polname FROM pg_policy") == [("everyone",)]


def test_a_superuser_of_another_name_restores(
    round_trip: RoundTrip, other_superuser: PostgresServer, round_trip_on: RoundTripOn
) -> None:
    # Given everything owned by "postgres", whom the other server does not know
    run(other_superuser.dsn(), "DROP ROLE IF EXISTS contents_public; CREATE ROLE contents_public")
    round_trip.fill("CREATE TABLE t AS SELECT 1 AS id", "GRANT SELECT ON t TO PUBLIC", "CREATE SCHEMA s")
    there = round_trip_on(other_superuser)

    backup = round_trip.back_up()
    report = there.restore(backup)

    assert fingerprint(there.copy) == fingerprint(round_trip.source)
    (left,) = report.left_out
    assert left.reason == '"postgres": the role does not exist at the destination'
    assert value(there.copy, "SELECT has_table_privilege('contents_public', 't', 'SELECT')") is True


def test_rights_that_the_bootstrap_superuser_was_given_count_too(
    round_trip: RoundTrip, other_superuser: PostgresServer, round_trip_on: RoundTripOn
) -> None:
    round_trip.create_role("contents_app")
    run(other_superuser.dsn(), "CREATE ROLE contents_app")
    run(round_trip.server.dsn(), f'ALTER DATABASE "{database_of(round_trip.source)}" OWNER TO contents_app')
    round_trip.fill(
        "SET ROLE contents_app; CREATE SCHEMA app; CREATE TABLE app.t AS SELECT 1 AS id",
        "GRANT SELECT ON app.t TO postgres",
    )
    there = round_trip_on(other_superuser)

    report = there.restore(round_trip.back_up())

    (left,) = report.left_out
    assert (left.what, left.reason) == ("1 privilege of postgres", "the role does not exist at the destination")
    assert left.sql == "GRANT SELECT ON TABLE app.t TO postgres;\n"
