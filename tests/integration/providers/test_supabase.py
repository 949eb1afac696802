"""A project of Supabase is backed up and restored into a fresh one, a plain server, and by tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.conftest import Coffre
from tests.integration.contents import RoundTrip, rows, run, value
from tests.integration.expect import failed_restore
from tests.providers.servers import ProviderServer, execute

from coffre.model.errors import DestinationError

ADA, BOB = "a0000000-0000-4000-8000-000000000001", "b0000000-0000-4000-8000-000000000002"
PROJECT = (
    "CREATE EXTENSION pg_cron",
    "CREATE EXTENSION pg_net SCHEMA extensions",
    (
        f"INSERT INTO auth.users (id, email, email_confirmed_at) VALUES ('{ADA}', 'ada@example.com', '2026-01-01'),"
        f" ('{BOB}', 'bob@example.com', NULL)"
    ),
    f"INSERT INTO auth.identities (id, provider, user_id) VALUES ('{BOB}', 'github', '{ADA}')",
    f"INSERT INTO auth.sessions VALUES ('{BOB}', '{ADA}')",
    f"INSERT INTO auth.refresh_tokens (token, session_id) VALUES ('first', '{BOB}'), ('second', '{BOB}')",
    "INSERT INTO storage.buckets (id, name) VALUES ('avatars', 'Avatars')",
    f"INSERT INTO storage.objects (bucket_id, name, owner) VALUES ('avatars', '{ADA}/me.png', '{ADA}')",
    "CREATE TABLE profiles (id uuid PRIMARY KEY REFERENCES auth.users ON DELETE CASCADE, name text)",
    f"INSERT INTO profiles VALUES ('{ADA}', 'Ada'), ('{BOB}', 'Bob')",
    "ALTER TABLE profiles ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_profile ON profiles TO authenticated USING (id = auth.uid())",
    "CREATE TABLE notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner uuid REFERENCES auth.users)",
    f"INSERT INTO notes (owner) SELECT '{ADA}' FROM generate_series(1, 100)",
    "REVOKE ALL ON notes FROM anon",
    "CREATE VIEW signed_up AS SELECT id, email FROM auth.users",
    "REVOKE ALL ON signed_up FROM anon, authenticated",
    (
        "CREATE FUNCTION on_sign_up() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$"
        " BEGIN INSERT INTO public.profiles VALUES (NEW.id, NEW.email); RETURN NEW; END $$"
    ),
    "CREATE TRIGGER on_sign_up AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION on_sign_up()",
    (
        "CREATE POLICY own_files ON storage.objects FOR SELECT TO authenticated"
        " USING (owner = auth.uid() AND (storage.foldername(name))[1] = auth.uid()::text)"
    ),
    "ALTER PUBLICATION supabase_realtime ADD TABLE notes",
    "SELECT cron.schedule('nightly', '0 3 * * *', 'SELECT public.clean()')",
    "SELECT cron.schedule('* * * * *', 'SELECT 1')",
    "SELECT cron.alter_job((SELECT jobid FROM cron.job WHERE jobname IS NULL), active := false)",
    "SELECT vault.create_secret('sesame', 'door')",
    "CREATE SCHEMA supabase_migrations",
    "CREATE TABLE supabase_migrations.schema_migrations (version text PRIMARY KEY)",
    "INSERT INTO supabase_migrations.schema_migrations VALUES ('20260101000000')",
)
# By the provider's services, with roles of theirs.
OF_SERVICES = (
    "INSERT INTO auth.schema_migrations VALUES ('20991231000000')",
    "INSERT INTO realtime.subscription (entity) VALUES ('public.notes')",
    (
        "CREATE TABLE realtime.messages_2026_11_28 PARTITION OF realtime.messages"
        " FOR VALUES FROM ('2026-11-28') TO ('2026-11-29')"
    ),
    "INSERT INTO realtime.messages (topic, inserted_at) VALUES ('room', '2026-11-28 12:00')",
    "INSERT INTO net._http_response VALUES (1, 'hello')",
)
# Of a plain server: what it lacks, and what is lost by that.
EXPLAINED = (
    "the role does not exist at the destination.",
    "the destination lacks the role authenticated.",
    "the destination's server does not have this extension.",
    " does not exist: it was left out.",
)
SAME = (
    "SELECT id, email, email_confirmed_at, confirmed_at FROM auth.users ORDER BY 1",
    "SELECT * FROM auth.identities",
    "SELECT * FROM auth.sessions",
    "SELECT * FROM auth.refresh_tokens ORDER BY 1",
    "SELECT last_value FROM auth.refresh_tokens_id_seq",
    "SELECT * FROM storage.buckets",
    "SELECT id, bucket_id, name, owner, path_tokens FROM storage.objects",
    "SELECT * FROM profiles ORDER BY 1",
    "SELECT * FROM notes ORDER BY 1",
    "SELECT * FROM signed_up ORDER BY 1",
    "SELECT * FROM supabase_migrations.schema_migrations",
    "SELECT jobname, schedule, command, active, username FROM cron.job ORDER BY 2",
    "SELECT pubname, schemaname, tablename FROM pg_publication_tables WHERE pubname = 'supabase_realtime'",
    "SELECT polname, polrelid::regclass::text, pg_get_expr(polqual, polrelid) FROM pg_policy ORDER BY 1",
    "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
    (
        "SELECT relname, array(SELECT a::text FROM unnest(relacl) a ORDER BY 1) FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'S') ORDER BY 1"
    ),
    (
        "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname IN ('auth', 'storage', 'vault', 'extensions')"
    ),
)


@pytest.fixture(scope="module")
def in_use(_supabase: ProviderServer) -> Iterator[str]:
    """The name of a project with users, files, jobs, secrets, and what its owner has added."""
    name = "project_in_use"
    execute(_supabase.project(name), *PROJECT)
    execute(_supabase.url(name, "supabase_admin"), *OF_SERVICES)
    _supabase.made.remove(name)
    yield name
    _supabase.server.drop_database(name)


@pytest.fixture
def project(coffre: Coffre, supabase: ProviderServer, in_use: str, postgresql_home: Path) -> RoundTrip:
    """A project in use, and a fresh one."""
    source, copy = supabase.project(template=in_use), supabase.project(template="fresh")
    return RoundTrip(coffre, supabase.server, source, copy, postgresql_home)


def test_a_project_comes_whole_into_a_fresh_one(project: RoundTrip) -> None:
    backup = project.back_up()
    assert backup.exceptions == ()
    report = project.restore(backup)

    for question in SAME:
        project.assert_same_answer(question)

    assert value(project.copy, "SELECT count(*) FROM vault.secrets") == 0
    assert [left.what for left in report.left_out] == ["1 row of vault.secrets"]
    assert "a key that Supabase keeps outside of the database" in report.left_out[0].reason
    assert report.exceptions == tuple(map(str, report.left_out))
    assert sum("say which version" in note for note in report.notes) == 1
    assert any(note.startswith("Left to Supabase") for note in report.notes)
    # What was revoked stays revoked under the default privileges of the fresh project
    question = "SELECT has_table_privilege('anon', '{}', 'SELECT')"
    assert [value(project.copy, question.format(name)) for name in ("notes", "signed_up")] == [False, False]
    assert value(project.copy, question.format("profiles"))
    # The application continues: its trigger fires, and sequences continue behind the restored rows
    run(project.copy, "INSERT INTO auth.users (id, email) VALUES (gen_random_uuid(), 'eve@example.com')")
    assert value(project.copy, "SELECT count(*) FROM profiles WHERE name = 'eve@example.com'") == 1
    run(project.copy, "INSERT INTO auth.refresh_tokens (token) VALUES ('third')")


def test_a_project_in_use_is_refused_and_left_as_it_is(project: RoundTrip) -> None:
    backup = project.back_up()
    run(project.copy, f"INSERT INTO auth.users (id, email) VALUES ('{BOB}', 'other@example.com')")

    failed_restore(
        project.coffre,
        "DESTINATION_NOT_EMPTY",
        "auth.users",
        "docs/providers/supabase.md",
        backup_id=backup.id,
        destination=project.copy,
    )
    assert rows(project.copy, "SELECT email FROM auth.users") == [("other@example.com",)]
    assert value(project.copy, "SELECT to_regclass('public.notes')") is None


def test_the_users_alone_are_restored_into_the_project_in_use(project: RoundTrip) -> None:
    backup = project.back_up()
    run(
        project.source,
        f"UPDATE auth.users SET email = 'wrong@example.com' WHERE id = '{ADA}'",
        f"DELETE FROM auth.users WHERE id = '{BOB}'",
    )

    project.restore_in_place(backup, tables=["auth.users"], replace=True)

    assert rows(project.source, "SELECT email FROM auth.users ORDER BY id") == [
        ("ada@example.com",),
        ("bob@example.com",),
    ]


def test_deleted_objects_of_storage_come_back_through_its_guard(project: RoundTrip) -> None:
    backup = project.back_up()
    run(project.source, "UPDATE storage.objects SET name = 'elsewhere.png'")
    run(project.source, "INSERT INTO storage.objects (bucket_id, name) VALUES ('avatars', 'later.png')")

    project.restore_in_place(backup, tables=["storage.objects"], replace=True)

    assert rows(project.source, "SELECT name FROM storage.objects") == [(f"{ADA}/me.png",)]


def test_the_database_as_a_whole_is_never_replaced(project: RoundTrip) -> None:
    backup = project.back_up()
    project.coffre.secret("coffre/database/destination", project.copy)

    with pytest.raises(DestinationError, match="Supabase keeps schemas of its own") as caught:
        project.restore(backup, replace=True)

    assert caught.value.code == "REPLACE_IMPOSSIBLE"
    assert "coffre restore tables" in (caught.value.hint or "")


def test_a_project_comes_into_a_plain_server(project: RoundTrip, empty_database: str) -> None:
    report = project.restore(project.back_up(), empty_database)

    for question in SAME[:10]:
        assert rows(empty_database, question) == rows(project.source, question)
    assert not [said for said in report.exceptions if not said.endswith(EXPLAINED)]
