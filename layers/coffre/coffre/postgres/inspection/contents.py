"""Facts about what is in the database, without a lock on any table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from coffre.model.names import shown
from coffre.policy.checks.contents import Contents
from coffre.policy.checks.extensions import Collations, Extensions
from coffre.policy.checks.managed import Managed, Sealed
from coffre.policy.checks.role import Unreadable
from coffre.policy.checks.time_limit import Volume
from coffre.policy.patterns import is_left_database, is_staging_schema
from coffre.policy.profiles import Profile
from coffre.postgres.inspection.sessions import Query

type Chosen = Callable[[str, str], bool]
"""Whether a relation (by schema and name) belongs to the target."""

_LARGE_OBJECTS_SHOWN: Final = 10


def read_relations(query: Query, chosen: Chosen) -> tuple[Contents, Unreadable, Volume]:
    """Return what is to be said about the target's relations, in one query over all of them."""
    lists: dict[str, list[str]] = {name: [] for name in ("key", "unlogged", "foreign", "table", "sequence", "rows")}
    tables = pages = 0
    for schema, name, kind, persistence, may_read, is_hidden, has_key, count in query(_RELATIONS):
        if not chosen(schema, name):
            continue
        relation = shown(schema, name)
        pages += count
        if kind == "S":
            lists["sequence"] += [relation] * (not may_read)
            continue
        tables += kind in "rp"
        lists["foreign"] += [relation] * (kind == "f")
        lists["unlogged"] += [relation] * (persistence == "u")
        lists["key"] += [relation] * (kind in "rp" and not has_key)
        lists["table"] += [relation] * (kind in "rp" and not may_read)
        lists["rows"] += [relation] * is_hidden
    views = [(shown(schema, name), function) for schema, name, function in query(_MATVIEWS) if chosen(schema, name)]
    triggers = tuple(name for (name,) in query(_EVENT_TRIGGERS))
    left_schemas = tuple(filter(is_staging_schema, (name for (name,) in query(_SCHEMAS))))
    left_databases = tuple(filter(is_left_database, (name for (name,) in query(_DATABASES))))
    large = query(_LARGE_OBJECTS, {"most": _LARGE_OBJECTS_SHOWN})
    contents = Contents(
        tables,
        tuple(lists["key"]),
        tuple(lists["unlogged"]),
        tuple(lists["foreign"]),
        tuple(views),
        triggers,
        left_schemas,
        left_databases,
    )
    unreadable = Unreadable(
        tuple(lists["table"]),
        tuple(lists["sequence"]),
        tuple(lists["rows"]),
        tuple(oid for oid, _ in large),
        large[0][1] if large else 0,
    )
    return contents, unreadable, Volume(pages * 8192)


def read_extensions(query: Query, is_settled: Chosen) -> Extensions:
    """Return the extensions, and their tables with rows that `pg_dump` leaves out.

    Parameters
    ----------
    is_settled
        Whether a table is stored all the same, or its rows are needed by no backup.
    """
    installed = tuple((name, version) for name, version in query(_EXTENSIONS))
    members = query(_MEMBERS)
    return Extensions(
        installed,
        tuple((owner, shown(schema, name)) for owner, schema, name in members if not is_settled(schema, name)),
    )


def read_collations(query: Query, version_number: int) -> Collations:
    """Return collations in use whose version changed, and the owner's own that a drill's server cannot make."""
    ((database,),) = query("SELECT current_database()")
    changed = query(_CHANGED)
    if version_number >= 150000:
        changed += query(_CHANGED_DEFAULT)
    own = tuple(shown(schema, name) for schema, name in query(_OWN_COLLATIONS))
    return Collations(database, tuple((name, then, now) for name, then, now in changed), own)


def read_managed(query: Query, chosen: Chosen, profile: Profile) -> Managed:
    """Return the provider's schemas that are left out, and what is attached to tables there."""
    schemas = [schema for (schema,) in query(_SCHEMAS) if profile.is_managed(schema)]
    tables = query(_TABLES_OF, {"schemas": schemas}) if schemas else []
    left_out = {schema for schema, name in tables if not chosen(schema, name)}
    attached = query(_ATTACHED, {"schemas": schemas}) if schemas else []
    return Managed(
        tuple(sorted(left_out)),
        tuple((what, shown(schema, name), not chosen(schema, name)) for what, schema, name in attached),
    )


def read_sealed(query: Query) -> Sealed:
    """Return tables with rows that are encrypted with a key of the platform's."""
    return Sealed(tuple(name for (name,) in query(_SEALED)))


# Members of extensions are not dumped, but for those that are marked as configuration.
_OF_OWNER: Final = """
c.oid >= 16384 AND c.relpersistence <> 't' AND n.nspname !~ '^pg_(toast|temp)' AND n.nspname <> 'information_schema'
AND NOT EXISTS (
    SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
      AND d.refclassid = 'pg_extension'::regclass AND NOT c.oid = ANY(coalesce(e.extconfig, '{}')))
"""
# `relpages` is the server's own count of last time: it opens no table, and waits for no lock.
_RELATIONS: Final = f"""
SELECT n.nspname, c.relname, c.relkind::text, c.relpersistence::text,
       has_schema_privilege(n.oid, 'USAGE') AND CASE c.relkind
           WHEN 'S' THEN has_sequence_privilege(c.oid, 'SELECT') ELSE has_table_privilege(c.oid, 'SELECT') END,
       c.relrowsecurity AND row_security_active(c.oid),
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indpred IS NULL
           AND i.indexprs IS NULL AND NOT EXISTS (
               SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY(i.indkey) AND NOT a.attnotnull)),
       CASE WHEN c.relkind = 'r' THEN greatest(c.relpages, 0) + coalesce(greatest(t.relpages, 0), 0) ELSE 0 END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
WHERE c.relkind IN ('r', 'p', 'f', 'S') AND {_OF_OWNER}
ORDER BY 1, 2
"""  # noqa: S608 - the parts are constants
# A function's body that is parsed when it is created (PostgreSQL 14) does not depend on the path.
_MATVIEWS: Final = f"""
SELECT DISTINCT n.nspname, c.relname, p.oid::regprocedure::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_rewrite r ON r.ev_class = c.oid
JOIN pg_depend u ON u.classid = 'pg_rewrite'::regclass AND u.objid = r.oid AND u.refclassid = 'pg_proc'::regclass
JOIN pg_proc p ON p.oid = u.refobjid JOIN pg_language l ON l.oid = p.prolang
WHERE c.relkind = 'm' AND p.oid >= 16384 AND l.lanname IN ('sql', 'plpgsql')
  AND to_jsonb(p) ->> 'prosqlbody' IS NULL
  AND NOT EXISTS (SELECT FROM unnest(p.proconfig) AS s(setting) WHERE s.setting LIKE 'search_path=%'
  ) AND {_OF_OWNER}
ORDER BY 1, 2, 3
"""  # noqa: S608 - the parts are constants
_EVENT_TRIGGERS: Final = """
SELECT evtname::text FROM pg_event_trigger t WHERE evtenabled <> 'D' AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = t.oid AND d.deptype = 'e')
ORDER BY 1
"""
_LARGE_OBJECTS: Final = """
SELECT m.oid::bigint, count(*) OVER () FROM pg_largeobject_metadata m
WHERE current_setting('lo_compat_privileges') = 'off' AND NOT pg_has_role(m.lomowner, 'USAGE') AND NOT EXISTS (
    SELECT FROM aclexplode(m.lomacl) a
    WHERE a.privilege_type = 'SELECT' AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE')))
ORDER BY 1 LIMIT %(most)s
"""
_EXTENSIONS: Final = "SELECT extname::text, extversion FROM pg_extension ORDER BY 1"
# Few, so each may be opened to know its size.
_MEMBERS: Final = """
SELECT e.extname::text, n.nspname, c.relname
FROM pg_extension e JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE d.deptype = 'e' AND c.relkind = 'r' AND c.relpersistence <> 't' AND c.oid >= 16384
  AND NOT c.oid = ANY(coalesce(e.extconfig, '{}')) AND pg_relation_size(c.oid) > 0
ORDER BY 1, 2, 3
"""
_CHANGED: Final = """
SELECT c.collname::text, c.collversion, pg_collation_actual_version(c.oid) FROM pg_collation c
WHERE c.collversion <> pg_collation_actual_version(c.oid) AND c.oid IN (
    SELECT a.attcollation FROM pg_attribute a WHERE a.attrelid >= 16384
    UNION SELECT unnest(i.indcollation::oid[]) FROM pg_index i WHERE i.indexrelid >= 16384)
ORDER BY 1
"""
_CHANGED_DEFAULT: Final = """
SELECT 'default', datcollversion, pg_database_collation_actual_version(oid) FROM pg_database
WHERE datname = current_database() AND datcollversion <> pg_database_collation_actual_version(oid)
"""
_OWN_COLLATIONS: Final = """
SELECT n.nspname, c.collname FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
WHERE c.oid >= 16384 AND (c.collprovider = 'i' OR c.collprovider = 'c' AND c.collcollate NOT IN ('C', 'POSIX'))
ORDER BY 1, 2
"""
_SCHEMAS: Final = "SELECT nspname::text FROM pg_namespace WHERE oid >= 16384 ORDER BY 1"
_DATABASES: Final = "SELECT datname::text FROM pg_database WHERE oid >= 16384 ORDER BY 1"
_TABLES_OF: Final = f"""
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(%(schemas)s) AND c.relkind IN ('r', 'p') AND {_OF_OWNER}
"""  # noqa: S608 - the part is a constant
_ATTACHED: Final = """
SELECT 'trigger ' || quote_ident(t.tgname), n.nspname, c.relname
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace f ON f.oid = p.pronamespace
WHERE NOT t.tgisinternal AND n.nspname = ANY(%(schemas)s)
  AND NOT f.nspname = ANY(%(schemas)s || '{pg_catalog,extensions}'::text[])
UNION ALL
SELECT 'policy ' || quote_ident(o.polname), n.nspname, c.relname
FROM pg_policy o JOIN pg_class c ON c.oid = o.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(%(schemas)s) AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 2, 3, 1
"""
_SEALED: Final = """
SELECT name FROM (VALUES ('vault.secrets'), ('pgsodium.key')) AS known(name)
WHERE to_regclass(name) IS NOT NULL AND pg_relation_size(to_regclass(name)) > 0
"""
