-- Takes back what backup.sql granted, and drops the role.
--
--     psql -v role=coffre_backup -f remove.sql DATABASE
--
-- Run it as the same administrator, in each database in which backup.sql ran (or into which a backup was restored).
-- It says where, or as whom, it has to run again; the last run drops the role.
-- A role that owns something is refused: nothing of yours is dropped.
\set ON_ERROR_STOP on
\set QUIET on
\pset tuples_only on
\pset format unaligned
\if :{?role}
\else
  \set role coffre_backup
\endif
SELECT set_config('coffre.role', :'role', false) \g /dev/null
-- A warning about what others granted says nothing: the list below does.
SET client_min_messages = error;

DO $$
DECLARE
  reader text := current_setting('coffre.role');
  owned bigint := (SELECT count(*) FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid
                   WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = reader AND s.deptype = 'o');
  one record;
BEGIN
  IF owned > 0 THEN
    RAISE EXCEPTION 'The role % owns % objects of this server, so it is not dropped.', reader, owned
      USING HINT = 'Look at them (\d, \dn, \l) and give them to another role: REASSIGN OWNED BY ... TO ...';
  END IF;
  FOR one IN
    SELECT format('REVOKE ALL ON SCHEMA %I', nspname) AS revoke, nspacl AS acl FROM pg_namespace
    UNION ALL SELECT format('REVOKE ALL ON %s %s', CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, oid::regclass), relacl
      FROM pg_class WHERE relkind IN ('r', 'p', 'S', 'm', 'f', 'v')
    UNION ALL SELECT format('REVOKE ALL ON LARGE OBJECT %s', oid), lomacl FROM pg_largeobject_metadata
    UNION ALL SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %I REVOKE ALL ON %s', pg_get_userbyid(defaclrole),
        CASE defaclobjtype WHEN 'n' THEN 'SCHEMAS' WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' ELSE 'LARGE OBJECTS' END),
        defaclacl
      FROM pg_default_acl WHERE defaclnamespace = 0 AND defaclobjtype IN ('n', 'r', 'S', 'L')
  LOOP
    CONTINUE WHEN NOT EXISTS (SELECT FROM aclexplode(one.acl) a WHERE pg_get_userbyid(a.grantee) = reader);
    BEGIN
      EXECUTE format('%s FROM %I', one.revoke, reader);
    EXCEPTION WHEN insufficient_privilege THEN
      NULL;  -- listed below
    END;
  END LOOP;
  BEGIN
    IF NOT pg_has_role(current_user, reader, 'USAGE') THEN
      EXECUTE format('GRANT %I TO CURRENT_USER', reader);
    END IF;
    EXECUTE format('DROP OWNED BY %I', reader);  -- what is left: the privilege to connect, and others that were given
  EXCEPTION WHEN insufficient_privilege THEN
    NULL;  -- an owner who is no administrator
  END;
END $$;

SELECT format('Left: %s. Run this script as its owner too.', pg_describe_object(s.classid, s.objid, s.objsubid))
FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid
WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = :'role'
  AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION
SELECT format('Left in the database %I: run this script there too.', d.datname)
FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid JOIN pg_database d ON d.oid = s.dbid
WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = :'role' AND d.datname <> current_database()
ORDER BY 1;
SELECT :ROW_COUNT = 0 AS is_last, (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user) AS may \gset
\if :is_last
  \if :may
    DROP ROLE :"role";
    \echo 'The role is gone.'
  \else
    \echo 'Nothing is left here: run this script as the administrator again, who drops the role.'
  \endif
\endif
