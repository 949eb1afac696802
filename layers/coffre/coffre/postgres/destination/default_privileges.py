"""Privileges that a database gives to whatever is created in it (`ALTER DEFAULT PRIVILEGES`)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import psycopg2.extensions


def revoke_default_privileges(
    session: psycopg2.extensions.connection, schemas_left: Collection[str], tables: Collection[int] | None = None
) -> None:
    """Take back what the database's default privileges have given on everything that this role owns in it.

    An archive has the privileges of the source, as grants to what has none: others would stay. The caller commits.

    Parameters
    ----------
    schemas_left
        Schemas whose objects are left as they are.
    tables
        Only of these (oids) and their sequences; default: of everything.
    """
    with session.cursor() as cursor:
        cursor.execute(_REVOKES, {"left": list(schemas_left), "tables": None if tables is None else list(tables)})
        for (statement,) in cursor.fetchall():
            cursor.execute(statement)


# A function has privileges of PUBLIC from the start. What an archive does not have of them, it revokes itself.
_REVOKES: Final = """
SELECT DISTINCT format('REVOKE ALL ON %%s %%s FROM %%s', o.kind, o.name,
       CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
FROM (
    SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, format('%%I.%%I', n.nspname, relname),
           'pg_class'::regclass, c.oid, n.nspname, relowner, relacl
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL
    SELECT 'ROUTINE', format('%%I.%%I(%%s)', n.nspname, proname, pg_get_function_identity_arguments(p.oid)),
           'pg_proc'::regclass, p.oid, n.nspname, proowner, proacl
    FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
) AS o(kind, name, catalog, oid, schema, owner, acl) CROSS JOIN aclexplode(o.acl) AS a
WHERE o.oid >= 16384 AND o.schema <> ALL (%(left)s::text[]) AND a.grantee <> o.owner
  AND (a.grantee <> 0 OR o.kind <> 'ROUTINE') AND pg_has_role(current_user, o.owner, 'USAGE')
  AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = o.catalog AND d.objid = o.oid AND d.deptype = 'e')
  AND EXISTS (SELECT FROM pg_default_acl)
  AND (%(tables)s::bigint[] IS NULL OR o.oid = ANY (%(tables)s::bigint[]::oid[]) OR EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = o.oid AND d.deptype IN ('a', 'i')
      AND d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY (%(tables)s::bigint[]::oid[])))
"""
