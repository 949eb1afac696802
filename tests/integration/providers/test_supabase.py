"""A project of Supabase is backed up and restored into a fresh one, a plain server, and by tables."""

from __future__ import annotations

import pytest
from tests.integration.contents import RoundTrip, RoundTripOn, database_of, rows, run, value
from tests.integration.expect import failed_restore
from tests.integration.providers.supabase_project import ADA, BOB, SAME

from coffre.model.errors import CoffreError, DestinationError
from coffre_local.postgres_server import PostgresServer

# Of a plain server: what it lacks, and what is lost by that.
EXPLAINED = (
    "the role does not exist at the destination.",
    "the destination lacks the role authenticated.",
    "the destination's server does not have this extension.",
    " does not exist: it was left out.",
)


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


def test_a_dropped_table_comes_back_with_the_privileges_that_it_had(project: RoundTrip) -> None:
    backup = project.back_up()
    run(project.source, "DROP TABLE notes")

    project.restore_in_place(backup, tables=["notes"])

    assert value(project.source, "SELECT count(*) FROM notes") == 100
    question = "SELECT has_table_privilege('{}', 'notes', 'SELECT')"
    assert not value(project.source, question.format("anon"))
    assert value(project.source, question.format("service_role"))


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


def test_a_restore_that_did_not_end_is_started_again(project: RoundTrip, monkeypatch: pytest.MonkeyPatch) -> None:
    backup = project.back_up()
    with monkeypatch.context() as patch:
        patch.setattr("coffre.operations.restore_database.whole_database.revoke_default_privileges", _fail)
        with pytest.raises(CoffreError):
            project.restore(backup)
    assert value(project.copy, "SELECT count(*) FROM auth.users") == 2

    report = project.restore(backup, restart=True)

    assert [left.what for left in report.left_out] == ["1 row of vault.secrets"]
    for question in SAME:
        project.assert_same_answer(question)


def _fail(*_: object) -> None:
    raise DestinationError("The test ends the restore here.")


def test_a_dry_run_says_what_will_be_left_out(project: RoundTrip) -> None:
    report = project.restore(project.back_up(), dry_run=True)

    assert [left.what for left in report.left_out] == ["1 row of vault.secrets"]
    assert any(note.startswith("Left to Supabase") for note in report.notes)
    assert rows(project.copy, "SELECT * FROM auth.users") == []


def test_rows_alone_go_into_a_project_that_has_the_definitions(project: RoundTrip) -> None:
    backup = project.back_up()
    definitions = project.restore(backup, contents="schema")
    run(project.copy, "DROP TRIGGER on_sign_up ON auth.users", "ALTER TABLE profiles DISABLE TRIGGER USER")

    report = project.restore(backup, contents="data")

    assert definitions.left_out == report.left_out == ()
    for question in SAME[:9]:
        project.assert_same_answer(question)


def test_what_only_the_provider_could_make_or_has_dropped_is_named(project: RoundTrip) -> None:
    # Given a function of the owner's in a managed schema, from before the provider closed these, and what uses it
    run(
        project.server.dsn(database_of(project.source)),
        "CREATE FUNCTION auth.is_admin() RETURNS boolean LANGUAGE sql AS 'SELECT false'",
        "CREATE POLICY admins ON public.notes USING (auth.is_admin())",
        "CREATE FUNCTION extensions.own() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER FUNCTION extensions.own() OWNER TO postgres",
    )
    # And a project whose services have come further in their migrations
    run(
        project.server.dsn(database_of(project.copy)),
        "ALTER TABLE storage.objects DROP COLUMN metadata",
        "ALTER TABLE auth.identities DROP COLUMN provider",
        "ALTER TABLE auth.identities ADD COLUMN provider text GENERATED ALWAYS AS ('github') STORED",
    )

    report = project.restore(project.back_up())

    _, column, function = report.left_out
    assert column.what == "metadata in 1 row of storage.objects"
    for question in (
        "SELECT id, user_id, provider FROM auth.identities",
        "SELECT id, name, owner FROM storage.objects",
    ):
        project.assert_same_answer(question)
    assert function.what == "function auth.is_admin()"
    assert function.reason == (
        "Supabase makes the definitions of this schema itself, and this project's version does not have it. "
        "Not restored either, because it needs it: policy public.notes admins"
    )
    assert "CREATE FUNCTION auth.is_admin()" in (function.sql or "")
    assert value(project.copy, "SELECT extensions.own()") == 1


def test_a_plain_database_comes_into_a_project(
    project: RoundTrip, round_trip_on: RoundTripOn, postgres_server: PostgresServer
) -> None:
    plain = round_trip_on(postgres_server)
    plain.create_role("coffre_app")
    plain.fill(
        "CREATE TABLE orders (id serial PRIMARY KEY, note text)",
        "INSERT INTO orders (note) SELECT 'n' || n FROM generate_series(1, 50) n",
        "GRANT SELECT ON orders TO coffre_app",
        "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
        "CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION watch()",
        "CREATE SCHEMA storage CREATE TABLE boxes (id int)",
        "INSERT INTO storage.boxes VALUES (1)",
    )

    report = plain.restore(plain.back_up(), project.copy)

    assert value(project.copy, "SELECT count(*) FROM orders") == 50
    assert not value(project.copy, "SELECT has_table_privilege('anon', 'orders', 'SELECT')")
    reasons = {left.what: left.reason for left in report.left_out}
    assert reasons["table storage.boxes"].startswith("Supabase makes the definitions of this schema itself")
    assert reasons["event trigger watch"].startswith("only a superuser may make event triggers, and Supabase gives")
    assert reasons["1 privilege of coffre_app"] == "the role does not exist at the destination"
