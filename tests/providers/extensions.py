"""Stand-ins for the extensions that Supabase installs: the objects and privileges that matter to a backup, no more.

They are `trusted`: at the provider, an extension of its own (supautils) creates them as its superuser for its users.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_CRON: Final = """
CREATE SCHEMA cron;
CREATE SEQUENCE cron.jobid_seq;
CREATE TABLE cron.job (
    jobid bigint PRIMARY KEY DEFAULT nextval('cron.jobid_seq'), schedule text NOT NULL, command text NOT NULL,
    nodename text NOT NULL DEFAULT 'localhost', nodeport int NOT NULL DEFAULT inet_server_port(),
    database text NOT NULL DEFAULT current_database(), username text NOT NULL DEFAULT current_user,
    active boolean NOT NULL DEFAULT true, jobname text, UNIQUE (jobname, username));
ALTER TABLE cron.job ENABLE ROW LEVEL SECURITY;
CREATE POLICY cron_job_policy ON cron.job USING (username = current_user);
CREATE TABLE cron.job_run_details (jobid bigint, runid bigint, command text, status text);
SELECT pg_extension_config_dump('cron.job', '');
SELECT pg_extension_config_dump('cron.jobid_seq', '');
CREATE FUNCTION cron.schedule(job_name text, schedule text, command text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE made bigint;
BEGIN
    INSERT INTO cron.job (schedule, command, jobname, username) VALUES ($2, $3, $1, session_user)
    ON CONFLICT (jobname, username) DO UPDATE SET schedule = EXCLUDED.schedule, command = EXCLUDED.command
    RETURNING jobid INTO made;
    RETURN made;
END $$;
CREATE FUNCTION cron.schedule(schedule text, command text) RETURNS bigint
    LANGUAGE sql AS 'SELECT cron.schedule(NULL, $1, $2)';
CREATE FUNCTION cron.alter_job(
    job_id bigint, schedule text DEFAULT NULL, command text DEFAULT NULL, database text DEFAULT NULL,
    username text DEFAULT NULL, active boolean DEFAULT NULL) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    UPDATE cron.job j SET active = coalesce($6, j.active), command = coalesce($3, j.command) WHERE jobid = $1;
END $$;
GRANT USAGE ON SCHEMA cron TO postgres WITH GRANT OPTION;
GRANT ALL ON ALL TABLES IN SCHEMA cron TO postgres WITH GRANT OPTION;
REVOKE ALL ON cron.job FROM postgres;
GRANT SELECT ON cron.job TO postgres WITH GRANT OPTION;
"""
_NET: Final = """
CREATE SCHEMA net;
CREATE UNLOGGED TABLE net.http_request_queue (id bigint, url text);
CREATE UNLOGGED TABLE net._http_response (id bigint, content text);
GRANT USAGE ON SCHEMA net TO postgres, anon, authenticated, service_role;
GRANT ALL ON ALL TABLES IN SCHEMA net TO postgres;
"""
# The key is the database's own: another project has another one, and cannot decrypt what is copied into it.
_VAULT: Final = """
CREATE TABLE @extschema@.secrets (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text UNIQUE, description text NOT NULL DEFAULT '',
    secret text NOT NULL, key_id uuid, nonce bytea, created_at timestamptz NOT NULL DEFAULT now());
SELECT pg_extension_config_dump('@extschema@.secrets', '');
CREATE FUNCTION @extschema@.create_secret(new_secret text, new_name text) RETURNS uuid
    LANGUAGE sql SECURITY DEFINER AS $$
    INSERT INTO @extschema@.secrets (name, secret)
    SELECT new_name, md5(oid::text) || encode(convert_to(new_secret, 'UTF8'), 'base64')
    FROM pg_database WHERE datname = current_database() RETURNING id $$;
CREATE VIEW @extschema@.decrypted_secrets AS
    SELECT id, name, CASE WHEN secret LIKE md5(oid::text) || '%'
        THEN convert_from(decode(substr(secret, 33), 'base64'), 'UTF8') END AS decrypted_secret
    FROM @extschema@.secrets, pg_database WHERE datname = current_database();
GRANT USAGE ON SCHEMA @extschema@ TO postgres WITH GRANT OPTION;
GRANT SELECT, DELETE ON ALL TABLES IN SCHEMA @extschema@ TO postgres WITH GRANT OPTION;
"""
_GRAPHQL: Final = """
CREATE FUNCTION @extschema@.resolve(query text) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{}'::jsonb $$;
"""
# By name: the schema that the extension insists on, and its script.
_EXTENSIONS: Final = {
    "pg_cron": ("pg_catalog", _CRON),
    "pg_net": (None, _NET),
    "supabase_vault": ("vault", _VAULT),
    "pg_graphql": ("graphql", _GRAPHQL),
}


def write_extensions(directory: Path) -> str:
    """Write the stand-ins below a directory, and return the setting (of PostgreSQL 18) that finds them."""
    place = directory / "extension"
    place.mkdir()
    for name, (schema, script) in _EXTENSIONS.items():
        control = f"default_version = '1.0'\nrelocatable = false\ntrusted = true\ncomment = 'a stand-in of {name}'\n"
        control += f"schema = '{schema}'\n" if schema else ""
        (place / f"{name}.control").write_text(control)
        (place / f"{name}--1.0.sql").write_text(script)
    for path in (directory, place, *place.iterdir()):
        path.chmod(0o755)
    return f"{directory}:$system"
