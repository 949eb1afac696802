"""A project of Supabase in use: users, files, jobs, secrets, and what its owner has added."""

from __future__ import annotations

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
    "CREATE ROLE reporting",
    "GRANT SELECT ON auth.users, profiles TO reporting",
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
    "SELECT has_table_privilege('reporting', t, 'SELECT') FROM unnest(ARRAY['auth.users', 'public.profiles']) t",
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
