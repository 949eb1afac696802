-- A role that Coffre restores with: it owns one database, and can do nothing to any other.
--
--     psql -v role=coffre_restore -v into=shop_restored -f restore.sql postgres
--
-- Run it in any database of the server, as the administrator that your provider gives you (docs/roles.md). It asks for
-- the new role's password, twice. It can be run again. An existing database of another owner is refused.
-- The way back: DROP DATABASE shop_restored; DROP ROLE coffre_restore;
--
--     -v may_create_databases=1    Also let it create databases: for `coffre restore database --replace`, which builds the
--                                  new database next to the old one and renames both.
\set ON_ERROR_STOP on
\set QUIET on
\pset tuples_only on
\pset format unaligned
\if :{?role}
\else
  \set role coffre_restore
\endif
\if :{?into}
\else
  \warn 'Name the database to restore into: -v into=NAME'
  DO $$ BEGIN RAISE EXCEPTION 'no database was named'; END $$;
\endif

SELECT NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') AS is_new \gset
\if :is_new
  CREATE ROLE :"role" LOGIN;
  \echo 'Choose a long, generated password for the new role:'
  \password :"role"
\endif
\if :{?may_create_databases}
  ALTER ROLE :"role" CREATEDB;
\endif

-- Only a member of a role can give it a database: the administrator is one for that moment.
SELECT NOT EXISTS (SELECT FROM pg_database WHERE datname = :'into') AS is_new,
       NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS needs_membership \gset
\if :is_new
  \if :needs_membership
    GRANT :"role" TO CURRENT_USER;
  \endif
  CREATE DATABASE :"into" OWNER :"role" TEMPLATE template0;
  \if :needs_membership
    REVOKE :"role" FROM CURRENT_USER;
  \endif
\endif

SELECT pg_get_userbyid(datdba) <> :'role' AS is_another, pg_get_userbyid(datdba) AS owner
FROM pg_database WHERE datname = :'into' \gset
\if :is_another
  \warn 'The database' :"into" 'belongs to' :"owner" 'and was left as it is. Choose a name that does not exist yet.'
  DO $$ BEGIN RAISE EXCEPTION 'the database belongs to another role'; END $$;
\endif
\echo 'The role owns the database. Restore: coffre restore database latest --to env:DESTINATION'
