-- A role that Coffre backs up with: it reads everything in one database, and changes nothing.
--
--     psql -v role=coffre_backup -f backup.sql DATABASE
--
-- Run it in the database to back up, as the administrator that your provider gives you (docs/roles.md). It asks for
-- the new role's password, twice, and never shows it. It can be run again: it repeats nothing, and keeps the password.
-- At the end it checks what a backup needs. When something is missing, it lists that and ends with status 3.
-- The way back: remove.sql (`coffre roles remove`).
--
--     -v only_this_database=1    Grant each table of this database, instead of the role pg_read_all_data. That role
--                                reads every database of the server, and the hashes of its passwords.
\set ON_ERROR_STOP on
\set QUIET on
\pset tuples_only on
\pset format unaligned
\if :{?role}
\else
  \set role coffre_backup
\endif
\if :{?only_this_database}
\else
  \set only_this_database 0
\endif
-- Blocks (DO) do not see psql's variables: they read these settings.
SELECT set_config('coffre.role', :'role', false), set_config('coffre.narrow', :'only_this_database', false) \g /dev/null

-- 1. The role. A backup opens at most 16 + 6 connections (limits.streams).
SELECT NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') AS is_new \gset
\if :is_new
  CREATE ROLE :"role" LOGIN CONNECTION LIMIT 30;
  \echo 'Choose a long, generated password for the new role:'
  \password :"role"
  -- Its sessions are read-only from the start. (A session can turn that off; the privileges below are what counts.)
  ALTER ROLE :"role" SET default_transaction_read_only = on;
\endif

DO $$
DECLARE
  reader text := current_setting('coffre.role');
BEGIN
  -- 2. The database. New databases let everyone connect; this is for those where that was revoked.
  IF NOT has_database_privilege(reader, current_database(), 'CONNECT') THEN
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), reader);
  END IF;

  -- 3. Row level security. Coffre reads all rows or fails: without BYPASSRLS, a table with policies is an error.
  --    Until PostgreSQL 15 only a superuser can give it (and Supabase's administrator); from 16 on a role that has it.
  IF NOT (SELECT rolbypassrls OR rolsuper FROM pg_roles WHERE rolname = reader) THEN
    BEGIN
      EXECUTE format('ALTER ROLE %I BYPASSRLS', reader);
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE NOTICE 'BYPASSRLS was not given: %', SQLERRM;
    END;
  END IF;

  -- 4. Everything that exists or will exist, by one membership (PostgreSQL 14 and newer).
  IF current_setting('server_version_num')::int >= 140000 AND current_setting('coffre.narrow') = '0' THEN
    BEGIN
      EXECUTE format('GRANT pg_read_all_data TO %I', reader);
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE NOTICE 'pg_read_all_data was not given: %. Granting table by table.', SQLERRM;
    END;
  END IF;
END $$;

-- 5. Where that is impossible or unwanted: each schema and table, and what each owner will create.
DO $$
DECLARE
  reader text := current_setting('coffre.role');
  one record;
BEGIN
  FOR one IN
    SELECT format('USAGE ON SCHEMA %I', nspname) AS privilege FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND NOT has_schema_privilege(reader, oid, 'USAGE')
    UNION ALL
    SELECT format('SELECT ON %s %I.%I', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'S', 'm', 'f') AND c.relpersistence <> 't'
      AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT has_table_privilege(reader, c.oid, 'SELECT')
  LOOP
    BEGIN
      EXECUTE format('GRANT %s TO %I', one.privilege, reader);
    EXCEPTION WHEN insufficient_privilege THEN
      NULL;  -- listed at the end
    END;
  END LOOP;
  IF current_setting('server_version_num')::int >= 140000 THEN
    IF pg_has_role(reader, 'pg_read_all_data', 'USAGE') THEN
      RETURN;
    END IF;
  END IF;
  FOR one IN
    SELECT pg_get_userbyid(relowner) AS name FROM pg_class WHERE oid >= 16384
    UNION SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE oid >= 16384
    UNION SELECT current_user
  LOOP
    CONTINUE WHEN 3 = (
      SELECT count(DISTINCT d.defaclobjtype) FROM pg_default_acl d CROSS JOIN aclexplode(d.defaclacl) a
      WHERE pg_get_userbyid(d.defaclrole) = one.name AND d.defaclnamespace = 0 AND d.defaclobjtype IN ('n', 'r', 'S')
        AND pg_get_userbyid(a.grantee) = reader);
    BEGIN
      EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I GRANT USAGE ON SCHEMAS TO %I', one.name, reader);
      EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I GRANT SELECT ON TABLES TO %I', one.name, reader);
      EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I GRANT SELECT ON SEQUENCES TO %I', one.name, reader);
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE NOTICE 'Tables that % creates later will not be readable, unless this script runs as that role too.', one.name;
    END;
  END LOOP;
END $$;

-- 6. Large objects. pg_read_all_data covers them from PostgreSQL 19 on, and 18 can grant those to come. Until 17, run
--    this script again when new ones exist: a backup that cannot read one fails, and names it.
DO $$
DECLARE
  reader text := current_setting('coffre.role');
  one record;
BEGIN
  FOR one IN
    SELECT m.oid FROM pg_largeobject_metadata m
    WHERE NOT pg_has_role(reader, m.lomowner, 'USAGE') AND NOT EXISTS (
      SELECT FROM aclexplode(m.lomacl) a
      WHERE a.privilege_type = 'SELECT' AND a.grantee IN (0, (SELECT oid FROM pg_roles WHERE rolname = reader)))
  LOOP
    BEGIN
      EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO %I', one.oid, reader);
    EXCEPTION WHEN insufficient_privilege THEN
      NULL;  -- listed at the end
    END;
  END LOOP;
  IF current_setting('server_version_num')::int < 180000 THEN
    RETURN;
  END IF;
  FOR one IN
    SELECT pg_get_userbyid(lomowner) AS name FROM pg_largeobject_metadata
    UNION SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid >= 16384
    UNION SELECT current_user
  LOOP
    CONTINUE WHEN EXISTS (
      SELECT FROM pg_default_acl d CROSS JOIN aclexplode(d.defaclacl) a
      WHERE pg_get_userbyid(d.defaclrole) = one.name AND d.defaclobjtype = 'L' AND pg_get_userbyid(a.grantee) = reader);
    BEGIN
      EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I GRANT SELECT ON LARGE OBJECTS TO %I', one.name, reader);
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE NOTICE 'Later large objects of % will not be readable.', one.name;
    END;
  END LOOP;
END $$;

-- 7. What every role may do here (PUBLIC). It is not changed: your applications may rely on it.
SELECT format('Every role may create objects in the schema %I. If no application needs that: REVOKE CREATE ON SCHEMA %I FROM PUBLIC;', nspname, nspname)
FROM pg_namespace WHERE nspname !~ '^pg_' AND has_schema_privilege('public', oid, 'CREATE') ORDER BY 1;

-- 8. What a backup needs and the role lacks. Members of extensions count if they are an extension's configuration.
WITH reader AS (SELECT oid, rolname, rolbypassrls OR rolsuper AS bypasses FROM pg_roles WHERE rolname = :'role'),
relations AS (
  SELECT c.oid, c.relowner, c.relrowsecurity, c.relforcerowsecurity, n.oid AS schema,
         format('%I.%I', n.nspname, c.relname) AS name, pg_get_userbyid(c.relowner) AS owner
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't'
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (
      SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
        AND NOT c.oid = ANY (coalesce(e.extconfig, '{}'))))
SELECT format('MISSING: reading %s, which belongs to %I. Run this script as that role too, or leave it out (tables.exclude).', name, owner)
FROM relations, reader
WHERE NOT has_schema_privilege(reader.oid, schema, 'USAGE') OR NOT has_table_privilege(reader.oid, relations.oid, 'SELECT')
UNION ALL
SELECT format('MISSING: all rows of %s, which has row level security. A superuser: ALTER ROLE %I BYPASSRLS; else: docs/roles.md.', name, rolname)
FROM relations, reader
WHERE relrowsecurity AND NOT bypasses AND (relforcerowsecurity OR NOT pg_has_role(reader.oid, relowner, 'USAGE'))
UNION ALL
SELECT format('MISSING: reading %s large objects, which belong to %I. Run this script as that role too.', count(*), pg_get_userbyid(lomowner))
FROM pg_largeobject_metadata m, reader
WHERE NOT pg_has_role(reader.oid, m.lomowner, 'USAGE') AND NOT EXISTS (
  SELECT FROM aclexplode(m.lomacl) a WHERE a.privilege_type = 'SELECT' AND a.grantee IN (0, reader.oid))
GROUP BY m.lomowner
ORDER BY 1;
SELECT :ROW_COUNT > 0 AS is_missing \gset
\if :is_missing
  \warn 'The role exists, but a backup with it would fail: see the lines that begin with MISSING.'
  DO $$ BEGIN RAISE EXCEPTION 'privileges are missing'; END $$;
\endif
\echo 'The role can back up this database. Put its address into the secret of the target.'
