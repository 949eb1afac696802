"""The scripts of docs/roles, run by the administrator of each provider; backups and restores as the roles they make."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from tests.integration.conftest import Coffre, run_sql
from tests.integration.expect import failed_backup
from tests.integration.runs.role_scripts import PROVIDERS, Provider, Scene

from coffre.model.manifest import DatabaseContent, EntryKind
from coffre_local.postgres_server import PostgresServer
from coffre_local.sample import fingerprint, sequences

CASES = [
    pytest.param(provider, major, id=f"{provider.name}-{major}") for provider in PROVIDERS for major in provider.majors
]
# The majors around which privileges changed: 14 brought pg_read_all_data, 16 made CREATEROLE less, 18 is the newest.
TURNS = [case for case in CASES if str(case.id).endswith(("-12", "-14", "-16", "-17", "-18"))]
# The newest of each provider, where the majors make no difference.
NEWEST = list({str(case.id).rsplit("-", 1)[0]: case for case in TURNS}.values())
# And the oldest.
ENDS = list(
    {
        str(case.id): case
        for case in (*NEWEST, *{str(case.id).rsplit("-", 1)[0]: case for case in TURNS[::-1]}.values())
    }.values()
)
OWN = (
    "CREATE TABLE customers (id int PRIMARY KEY, name text)",
    "INSERT INTO customers SELECT n, 'Ada ' || n FROM generate_series(1, 50) n",
    "CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY, note text)",
    "INSERT INTO orders (note) SELECT md5(n::text) FROM generate_series(1, 500) n",
    "CREATE SEQUENCE numbers; SELECT setval('numbers', 4711)",
    "CREATE TABLE days (day date) PARTITION BY RANGE (day)",
    "CREATE TABLE days_2026 PARTITION OF days FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
    "INSERT INTO days VALUES ('2026-11-28')",
    "CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM customers",
    "SELECT lo_from_bytea(0, 'large')",
    'CREATE SCHEMA "Odd ""Name"; CREATE TABLE "Odd ""Name"."T %" (n int); INSERT INTO "Odd ""Name"."T %" VALUES (1)',
)
OF_APP = (
    "CREATE SCHEMA app AUTHORIZATION app",
    "SET ROLE app; CREATE TABLE app.events (id serial, what text); INSERT INTO app.events (what) VALUES ('a'), ('b')",
)
LATER = "CREATE SCHEMA later_{0}; CREATE TABLE later_{0}.added AS SELECT generate_series(1, 7) AS n"
WITH_POLICY = (
    "CREATE TABLE tenants (id int, tenant text)",
    "INSERT INTO tenants VALUES (1, 'a'), (2, 'b')",
    "ALTER TABLE tenants ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    "CREATE POLICY own ON tenants USING (tenant = current_user)",
)
# Each after `SET default_transaction_read_only = off`, as an attacker with the role's password would begin.
FORBIDDEN = (
    "INSERT INTO customers VALUES (99, 'x')",
    "UPDATE customers SET name = 'x'",
    "DELETE FROM customers",
    "TRUNCATE customers",
    "DROP TABLE customers",
    "ALTER TABLE customers ADD COLUMN x int",
    "CREATE INDEX ON customers (name)",
    "REFRESH MATERIALIZED VIEW totals",
    "SELECT setval('numbers', 1)",
    "SELECT nextval('numbers')",
    "BEGIN; LOCK TABLE customers IN ACCESS EXCLUSIVE MODE",
    "CREATE TABLE public.mine (n int)",
    "CREATE TABLE app.mine (n int)",
    "CREATE SCHEMA mine",
    "CREATE DATABASE roles_mine",
    "CREATE ROLE mine",
    "ALTER ROLE coffre_backup SUPERUSER",
    "ALTER ROLE coffre_backup CREATEROLE",
    "GRANT app TO coffre_backup",
    "SET ROLE admin",
    "COPY customers TO PROGRAM 'true'",
    "COPY customers FROM PROGRAM 'true'",
    "COPY customers TO '/tmp/database-never'",
    "SELECT pg_read_file('postgresql.conf')",
    "SELECT lo_unlink(oid) FROM pg_largeobject_metadata",
    "SELECT lo_put(oid, 0, 'x') FROM pg_largeobject_metadata",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = 'postgres'",
)


@pytest.fixture
def scene(
    server_of_major: Callable[[int], PostgresServer], provider: Provider, major: int, postgresql_home: Path
) -> Iterator[Scene]:
    """A database of the administrator's, with tables of his and of the role `app`."""
    scene = Scene(server_of_major(major), postgresql_home)
    try:
        run_sql(scene.superuser("postgres"), *provider.make(major), "CREATE ROLE app LOGIN")
        run_sql(scene.superuser("postgres"), "CREATE DATABASE roles_app OWNER admin TEMPLATE template0")
        run_sql(scene.superuser(), f"ALTER SCHEMA public OWNER TO {'admin' if major < 15 else 'pg_database_owner'}")
        run_sql(scene.as_role("admin"), *OWN)
        run_sql(scene.superuser(), *OF_APP)
        yield scene
    finally:
        scene.clear()


def can_read_all(provider: Provider, major: int) -> bool:
    """Whether the administrator alone can let a role read what others own."""
    return provider.name == "plain" or provider.reads_all(major)


def granted(scene: Scene, provider: Provider, major: int, **variables: str) -> None:
    """Run the script to its good end, as the administrator, and as the other owner where he cannot do it alone."""
    status = scene.run("backup.sql", **variables)
    if provider.name != "plain" and (variables or not can_read_all(provider, major)):
        assert status == 3, scene.said
        assert "MISSING: reading app.events, which belongs to app" in scene.said
        status = scene.run("backup.sql", user="app", **variables)
    assert status == 0, scene.said
    assert "MISSING" not in scene.said


def stored(coffre: Coffre, url: str) -> tuple[dict[str, Any], Any, int]:
    """Back up as the role of a URL; return the hashes of tables and large objects, the sequences, and the rows."""
    coffre.configure(url)
    done = coffre.backup()
    assert done["status"] == "COMPLETED"
    backup = coffre.catalog.get_backup(done["id"])
    assert not backup.exceptions
    vault = coffre.backup_function().services.vault
    assert backup.manifest_key
    assert backup.manifest_sha256
    manifest = vault.read_manifest(backup.manifest_key, sha256=backup.manifest_sha256)
    hashes = {entry.name: entry.sha256 for entry in vault.entries(manifest) if entry.kind is EntryKind.TABLE}
    has_large_objects = any(entry.kind is EntryKind.LARGE_OBJECTS for entry in vault.entries(manifest))
    assert has_large_objects
    assert isinstance(manifest.content, DatabaseContent)
    return hashes, manifest.content.sequences, backup.rows or 0


@pytest.mark.parametrize(("provider", "major"), ENDS)
def test_the_role_backs_up_what_the_superuser_does_and_what_is_created_later(
    coffre: Coffre, scene: Scene, provider: Provider, major: int
) -> None:
    granted(scene, provider, major)
    reader = scene.as_role("coffre_backup")

    assert stored(coffre, reader) == stored(coffre, scene.superuser())

    # And again after others created schemas and tables, without the script
    run_sql(scene.as_role("admin"), LATER.format("admin"), "INSERT INTO orders (note) VALUES ('later')")
    run_sql(scene.superuser(), "GRANT CREATE ON DATABASE roles_app TO app")
    run_sql(scene.as_role("app"), LATER.format("app"))
    hashes, values, rows = stored(coffre, reader)
    assert (hashes, values, rows) == stored(coffre, scene.superuser())
    assert len([name for name in hashes if "later_" in name]) == 2

    # And a large object that was made later: PostgreSQL 18 can grant it before, others need the script again
    run_sql(scene.as_role("admin"), "SELECT lo_from_bytea(0, 'later')")
    if major < 18:
        failed_backup_of(coffre, reader, "PERMISSION_DENIED", "large object")
        assert scene.run("backup.sql") == 0, scene.said
    assert stored(coffre, reader)[2] == rows


def failed_backup_of(coffre: Coffre, url: str, code: str, *words: str) -> None:
    coffre.configure(url)
    failed_backup(coffre, code, *words)


@pytest.mark.parametrize(("provider", "major"), ENDS)
def test_a_table_with_policies_is_backed_up_whole_or_named_by_the_script(
    coffre: Coffre, scene: Scene, provider: Provider, major: int
) -> None:
    run_sql(scene.as_role("admin"), *WITH_POLICY)
    reader = scene.as_role("coffre_backup")

    if not provider.bypasses(major):
        assert scene.run("backup.sql") == 3
        assert "MISSING: all rows of public.tenants, which has row level security" in scene.said
        if not can_read_all(provider, major):
            scene.run("backup.sql", user="app")
        failed_backup_of(coffre, reader, "ROW_SECURITY", "hides rows of tenants")
        # What the message says
        run_sql(scene.superuser(), "ALTER ROLE coffre_backup BYPASSRLS")
        assert scene.run("backup.sql") == 0, scene.said
    else:
        granted(scene, provider, major)

    assert stored(coffre, reader) == stored(coffre, scene.superuser())


def is_refused(url: str, statement: str) -> bool:
    try:
        run_sql(url, "SET default_transaction_read_only = off", statement)
    except (psycopg2.errors.InsufficientPrivilege, psycopg2.errors.InvalidGrantOperation):
        return True
    return False


@pytest.mark.parametrize(
    ("provider", "major", "narrow"),
    [pytest.param(*case.values, False, id=str(case.id)) for case in TURNS]
    + [pytest.param(*case.values, True, id=f"{case.id}-narrow") for case in TURNS if str(case.id).startswith("rds")],
)
def test_the_role_can_change_nothing(scene: Scene, provider: Provider, major: int, narrow: bool) -> None:
    granted(scene, provider, major, **({"only_this_database": "1"} if narrow else {}))
    before = fingerprint(scene.superuser()), sequences(scene.superuser())
    reader = scene.as_role("coffre_backup")
    if major < 15:
        # Every role may create in the schema public there; the script says it, and leaves it to the person
        assert "Every role may create objects in the schema public" in scene.said
        run_sql(scene.superuser(), "REVOKE CREATE ON SCHEMA public FROM PUBLIC")

    assert [statement for statement in FORBIDDEN if not is_refused(reader, statement)] == []
    run_sql(reader, "SET default_transaction_read_only = off", "GRANT SELECT ON customers TO PUBLIC")  # a warning
    assert run_sql(scene.superuser(), "SELECT has_table_privilege('public', 'customers', 'SELECT')") == [(False,)]
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        run_sql(reader, "CREATE TABLE public.mine (n int)")

    assert (fingerprint(scene.superuser()), sequences(scene.superuser())) == before
    # Reading everything is reading the hashes of passwords, and other databases
    reads_hashes = major >= 14 and not narrow and provider.reads_all(major)
    if reads_hashes:
        assert run_sql(reader, "SELECT rolpassword FROM pg_authid WHERE rolname = 'coffre_backup'") != []
    else:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            run_sql(reader, "SELECT rolpassword FROM pg_authid")


@pytest.mark.parametrize(("provider", "major"), NEWEST)
def test_the_restoring_role_owns_one_database_and_removing_leaves_nothing(
    coffre: Coffre, scene: Scene, provider: Provider, major: int
) -> None:
    granted(scene, provider, major)
    coffre.configure(scene.as_role("coffre_backup"))
    backup = coffre.backup()["id"]

    assert scene.run("restore.sql", "postgres", into="roles_restored") == 0, scene.said
    assert scene.run("restore.sql", "postgres", into="roles_restored") == 0, "it can be run again"
    assert scene.run("restore.sql", "postgres", into="roles_app") == 3
    assert 'The database "roles_app" belongs to "admin" and was left as it is' in scene.said

    coffre.restore(backup, scene.as_role("coffre_restore", "roles_restored"))

    restored = scene.superuser("roles_restored")
    assert fingerprint(restored) == fingerprint(scene.superuser())
    assert sequences(restored) == sequences(scene.superuser())
    assert run_sql(restored, "SELECT lo_get(oid)::text FROM pg_largeobject_metadata") == [("\\x6c61726765",)]
    # And it can do nothing elsewhere
    for statement in ("SELECT * FROM customers", "CREATE SCHEMA mine", "CREATE ROLE mine", "CREATE DATABASE roles_x"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            run_sql(scene.as_role("coffre_restore"), statement)
    attributes = "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication FROM pg_roles WHERE rolname"
    assert run_sql(restored, f"{attributes} = 'coffre_restore'") == [(False,) * 5]
    # And the administrator keeps no membership that would give him what it owns
    inherits = " AND inherit_option" if major >= 16 else ""
    assert run_sql(restored, f"SELECT 1 FROM pg_auth_members WHERE roleid = 'coffre_restore'::regrole{inherits}") == []

    # Removed: nothing of the backup role is left, and nothing else is gone
    before = fingerprint(scene.superuser())
    # in each database, by each owner who granted; at last the administrator drops it
    assert scene.run("remove.sql", "roles_restored", user="coffre_restore") == 0, scene.said
    assert scene.run("remove.sql") == 0, scene.said
    if "The role is gone." not in scene.said:
        assert "events" in scene.said
        assert "Run this script as its owner too" in scene.said
        assert scene.run("remove.sql", user="app") == 0, scene.said
        assert scene.run("remove.sql") == 0, scene.said
    assert "The role is gone." in scene.said
    assert run_sql(restored, "SELECT 1 FROM pg_roles WHERE rolname = 'coffre_backup'") == []
    assert run_sql(scene.superuser(), "SELECT defaclrole::regrole::text, defaclacl::text FROM pg_default_acl") == []
    assert fingerprint(scene.superuser()) == before
    # A role that owns something is not dropped
    assert scene.run("remove.sql", role="coffre_restore") == 3
    assert "owns" in scene.said
