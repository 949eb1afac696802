"""The stand-ins refuse what their providers refuse, and permit what these permit."""

from __future__ import annotations

import psycopg2
import pytest
from tests.providers.servers import ProviderServer, execute

ON_SUPABASE = (
    "CREATE TABLE auth.mine (id int)",
    "ALTER TABLE auth.users ADD mine int",
    "CREATE INDEX ON auth.users (created_at)",
    "CREATE FUNCTION auth.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "DROP TABLE storage.objects",
    "DROP FUNCTION auth.uid()",
    "DELETE FROM storage.objects",
    "INSERT INTO cron.job (schedule, command) VALUES ('* * * * *', 'SELECT 1')",
    "INSERT INTO vault.secrets (name, secret) VALUES ('a', 'b')",
    "ALTER ROLE anon LOGIN",
    "DROP ROLE authenticator",
    "SET session_replication_role = replica",
    "CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION extensions.pgrst_ddl_watch()",
    "ALTER PUBLICATION supabase_realtime_messages_publication ADD TABLE public.notes",
)
ON_ALL = (
    "SET session_replication_role = replica",
    "CREATE ROLE mine SUPERUSER",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION watch()",
)


def refused(url: str, statement: str) -> bool:
    try:
        execute(url, statement)
    except psycopg2.errors.InsufficientPrivilege:
        return True
    return False


def test_supabase_refuses_changes_of_its_own_schemas_and_roles(supabase: ProviderServer) -> None:
    project = supabase.project()
    execute(project, "CREATE EXTENSION pg_cron", "CREATE TABLE public.notes (id int)")

    assert [statement for statement in ON_SUPABASE if not refused(project, statement)] == []


def test_supabase_permits_triggers_policies_and_rows_on_its_tables(supabase: ProviderServer) -> None:
    execute(
        supabase.project(),
        "CREATE EXTENSION pg_cron",
        "CREATE FUNCTION public.greet() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER on_sign_up AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION public.greet()",
        "CREATE POLICY own_files ON storage.objects FOR SELECT TO authenticated USING (owner = auth.uid())",
        "INSERT INTO auth.users (id) VALUES (gen_random_uuid())",
        "INSERT INTO storage.buckets (id, name) VALUES ('avatars', 'avatars')",
        "SELECT cron.schedule('nightly', '0 3 * * *', 'SELECT 1')",
        "SELECT vault.create_secret('hidden', 'key')",
        "BEGIN; SET LOCAL storage.allow_delete_query = 'true'; DELETE FROM storage.buckets; COMMIT",
        "CREATE TABLE public.notes (id int); ALTER PUBLICATION supabase_realtime ADD TABLE public.notes",
        "DROP TRIGGER on_sign_up ON auth.users",
        "DROP POLICY own_files ON storage.objects",
    )


@pytest.mark.parametrize("name", ["neon", "rds"])
def test_neon_and_rds_give_no_superuser(name: str, request: pytest.FixtureRequest) -> None:
    server: ProviderServer = request.getfixturevalue(name)
    database = server.project()
    execute(database, "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")

    assert [statement for statement in ON_ALL if not refused(database, statement)] == []
