-- What a fresh project of Supabase has, rebuilt by hand: schemas, owners, privileges and refusals. Run as supabase_admin
-- in the project's database, which `postgres` owns. Facts: github.com/supabase/postgres and github.com/supabase/cli.
GRANT ALL ON SCHEMA public TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public
    GRANT ALL ON TABLES TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_admin IN SCHEMA public
    GRANT ALL ON TABLES TO postgres, anon, authenticated, service_role;
CREATE SCHEMA extensions;
GRANT ALL ON SCHEMA extensions TO postgres, dashboard_user;
GRANT USAGE ON SCHEMA extensions TO anon, authenticated, service_role;
CREATE EXTENSION hstore SCHEMA extensions;
CREATE SCHEMA vault;
CREATE EXTENSION supabase_vault SCHEMA vault;
CREATE SCHEMA graphql;
CREATE EXTENSION pg_graphql SCHEMA graphql;
CREATE SCHEMA graphql_public;
CREATE SCHEMA pgbouncer AUTHORIZATION pgbouncer;
CREATE FUNCTION pgbouncer.get_auth(name text) RETURNS text LANGUAGE sql AS 'SELECT $1';

CREATE SCHEMA auth AUTHORIZATION supabase_auth_admin;
SET ROLE supabase_auth_admin;
CREATE TABLE auth.schema_migrations (version varchar(255) PRIMARY KEY);
INSERT INTO auth.schema_migrations VALUES ('20171026211738'), ('20250804100000');
CREATE TABLE auth.instances (id uuid PRIMARY KEY, raw_base_config text);
CREATE TABLE auth.users (
    id uuid PRIMARY KEY, instance_id uuid, aud varchar(255), role varchar(255), email varchar(255) UNIQUE,
    encrypted_password varchar(255), email_confirmed_at timestamptz, phone_confirmed_at timestamptz,
    raw_user_meta_data jsonb, created_at timestamptz,
    confirmed_at timestamptz GENERATED ALWAYS AS (LEAST(email_confirmed_at, phone_confirmed_at)) STORED);
CREATE TABLE auth.identities (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), provider text NOT NULL,
    user_id uuid NOT NULL REFERENCES auth.users ON DELETE CASCADE);
CREATE TABLE auth.sessions (
    id uuid PRIMARY KEY, user_id uuid NOT NULL REFERENCES auth.users ON DELETE CASCADE, not_after timestamptz);
CREATE TABLE auth.refresh_tokens (
    id bigserial PRIMARY KEY, token varchar(255) UNIQUE, user_id varchar(255),
    session_id uuid REFERENCES auth.sessions ON DELETE CASCADE);
CREATE TABLE auth.audit_log_entries (id uuid PRIMARY KEY, payload json, created_at timestamptz);
ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.identities ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.sessions ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE
    AS $$ SELECT nullif(current_setting('request.jwt.claim.sub', true), '')::uuid $$;
CREATE FUNCTION auth.role() RETURNS text LANGUAGE sql STABLE
    AS $$ SELECT nullif(current_setting('request.jwt.claim.role', true), '') $$;
COMMENT ON TABLE auth.users IS 'Auth: the users of the application.';
GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role;
GRANT ALL ON SCHEMA auth TO postgres;
GRANT ALL ON ALL TABLES IN SCHEMA auth TO postgres WITH GRANT OPTION;
GRANT ALL ON ALL SEQUENCES IN SCHEMA auth TO postgres WITH GRANT OPTION;
RESET ROLE;

CREATE SCHEMA storage AUTHORIZATION supabase_admin;
GRANT ALL ON SCHEMA storage TO supabase_storage_admin, postgres;
GRANT USAGE ON SCHEMA storage TO anon, authenticated, service_role;
SET ROLE supabase_storage_admin;
CREATE TABLE storage.migrations (id int PRIMARY KEY, name varchar(100), hash varchar(40));
INSERT INTO storage.migrations VALUES (0, 'create-migrations-table', 'e18db593'), (1, 'initialmigration', '6ab16121');
CREATE TABLE storage.buckets (id text PRIMARY KEY, name text UNIQUE NOT NULL, public boolean DEFAULT false);
CREATE TABLE storage.objects (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), bucket_id text REFERENCES storage.buckets, name text,
    owner uuid, metadata jsonb, path_tokens text[] GENERATED ALWAYS AS (string_to_array(name, '/')) STORED,
    updated_at timestamptz DEFAULT now());
CREATE UNIQUE INDEX bucketid_objname ON storage.objects (bucket_id, name);
ALTER TABLE storage.objects ENABLE ROW LEVEL SECURITY;
ALTER TABLE storage.buckets ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION storage.foldername(name text) RETURNS text[] LANGUAGE sql IMMUTABLE
    AS $$ SELECT (string_to_array(name, '/'))[:array_length(string_to_array(name, '/'), 1) - 1] $$;
CREATE FUNCTION storage.update_updated_at_column() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN NEW.updated_at = now(); RETURN NEW; END $$;
CREATE TRIGGER update_objects_updated_at BEFORE UPDATE ON storage.objects
    FOR EACH ROW EXECUTE FUNCTION storage.update_updated_at_column();
-- Rows that are deleted here leave the files behind: the service's interface deletes both.
CREATE FUNCTION storage.protect_delete() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF coalesce(current_setting('storage.allow_delete_query', true), 'false') <> 'true' THEN
        RAISE insufficient_privilege USING MESSAGE = 'Direct deletion from storage tables is not allowed. Use the API.';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER protect_objects_delete BEFORE DELETE ON storage.objects
    FOR EACH STATEMENT EXECUTE FUNCTION storage.protect_delete();
CREATE TRIGGER protect_buckets_delete BEFORE DELETE ON storage.buckets
    FOR EACH STATEMENT EXECUTE FUNCTION storage.protect_delete();
GRANT ALL ON ALL TABLES IN SCHEMA storage TO postgres WITH GRANT OPTION;
GRANT ALL ON ALL TABLES IN SCHEMA storage TO anon, authenticated, service_role;
RESET ROLE;

CREATE SCHEMA realtime AUTHORIZATION supabase_admin;
GRANT USAGE ON SCHEMA realtime TO postgres, anon, authenticated, service_role;
GRANT ALL ON SCHEMA realtime TO supabase_realtime_admin;
CREATE TABLE realtime.schema_migrations (version bigint PRIMARY KEY);
INSERT INTO realtime.schema_migrations VALUES (20211116024918);
CREATE TABLE realtime.subscription (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, entity regclass, claims jsonb);
GRANT ALL ON ALL TABLES IN SCHEMA realtime TO postgres;
SET ROLE supabase_realtime_admin;
CREATE TABLE realtime.messages (id uuid DEFAULT gen_random_uuid(), topic text NOT NULL, inserted_at timestamp NOT NULL,
    PRIMARY KEY (id, inserted_at)) PARTITION BY RANGE (inserted_at);
ALTER TABLE realtime.messages ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION realtime.topic() RETURNS text LANGUAGE sql STABLE
    AS $$ SELECT nullif(current_setting('realtime.topic', true), '') $$;
GRANT ALL ON realtime.messages TO postgres, anon, authenticated, service_role;
RESET ROLE;
CREATE PUBLICATION supabase_realtime WITH (publish = 'insert, update, delete, truncate');
ALTER PUBLICATION supabase_realtime OWNER TO postgres;
CREATE PUBLICATION supabase_realtime_messages_publication FOR TABLE realtime.messages;

-- The refusals that the provider's extension (supautils) and its newest owners make: its users may add triggers and
-- policies to its tables, and nothing else to its schemas. The membership lets them make policies, which only an owner can.
GRANT supabase_auth_admin, supabase_storage_admin, supabase_realtime_admin TO postgres WITH SET FALSE;
CREATE FUNCTION extensions.is_refused(schema text, tag text) RETURNS boolean LANGUAGE sql AS $$
    SELECT schema IN ('auth', 'storage', 'realtime', 'vault', 'graphql', 'pgbouncer') AND tag !~ '(POLICY|TRIGGER)$'
        AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) $$;
CREATE FUNCTION extensions.refuse_changes() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE one record;
BEGIN
    FOR one IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
        IF extensions.is_refused(one.schema_name, one.command_tag) THEN
            RAISE insufficient_privilege USING MESSAGE = 'must be owner of ' || one.object_identity;
        END IF;
    END LOOP;
END $$;
CREATE FUNCTION extensions.refuse_drops() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE one record;
BEGIN
    FOR one IN SELECT * FROM pg_event_trigger_dropped_objects() LOOP
        IF one.original AND extensions.is_refused(one.schema_name, upper(one.object_type)) THEN
            RAISE insufficient_privilege USING MESSAGE = 'must be owner of ' || one.object_identity;
        END IF;
    END LOOP;
END $$;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA extensions TO PUBLIC;
CREATE EVENT TRIGGER supabase_refuses_changes ON ddl_command_end EXECUTE FUNCTION extensions.refuse_changes();
CREATE EVENT TRIGGER supabase_refuses_drops ON sql_drop EXECUTE FUNCTION extensions.refuse_drops();
CREATE FUNCTION extensions.pgrst_ddl_watch() RETURNS event_trigger LANGUAGE plpgsql AS
    $$ BEGIN NOTIFY pgrst, 'reload schema'; END $$;
CREATE EVENT TRIGGER pgrst_ddl_watch ON ddl_command_end EXECUTE FUNCTION extensions.pgrst_ddl_watch();
