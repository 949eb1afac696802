"""What a server says about itself and about a database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class ServerFacts:
    """What the server said about itself, inside the snapshot."""

    version: str
    version_number: int
    database: str
    encoding: str
    locale: str
    locale_provider: str
    provider_locale: str | None
    extensions: tuple[str, ...]
    roles: tuple[str, ...]
    policy_roles: dict[int, tuple[str, ...]]
    search_paths: tuple[tuple[str | None, str], ...]
    has_large_objects: bool

    @property
    def reads_by_block(self) -> bool:
        """Whether a range of heap blocks can be scanned (PostgreSQL 14 and newer: field note 26)."""
        return self.version_number >= 140000


def read_facts(query: Callable[[str], list[tuple[Any, ...]]]) -> ServerFacts:
    """Ask, in the snapshot that `query` runs in."""
    version, number, database, encoding, locale, provider, provider_locale = query(_FACTS)[0]
    return ServerFacts(
        version=version,
        version_number=int(number),
        database=database,
        encoding=encoding,
        locale=locale,
        locale_provider=_PROVIDERS.get(provider, provider),
        provider_locale=provider_locale,
        extensions=tuple(name for (name,) in query(_EXTENSIONS)),
        roles=tuple(name for (name,) in query(_ROLES)),
        policy_roles={oid: tuple(roles) for oid, roles in query(_POLICY_ROLES)},
        search_paths=tuple((role, path) for role, path in query(_SEARCH_PATHS)),
        has_large_objects=bool(query(_LARGE_OBJECTS)[0][0]),
    )


_PROVIDERS: Final = {"c": "libc", "i": "icu", "b": "builtin"}
_FACTS: Final = """
SELECT current_setting('server_version'), current_setting('server_version_num'), d.datname,
       pg_encoding_to_char(d.encoding), d.datcollate, COALESCE(to_jsonb(d) ->> 'datlocprovider', 'c'),
       COALESCE(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale')
FROM pg_database d WHERE d.datname = current_database()
"""
_EXTENSIONS: Final = "SELECT extname FROM pg_extension ORDER BY extname"
_LARGE_OBJECTS: Final = "SELECT EXISTS (SELECT FROM pg_largeobject_metadata)"
# The roles that own something here or were granted something, and the database's owner. PostgreSQL keeps no account of
# the first superuser (oid 10): what it owns, or was granted, is looked up; its extensions' own objects do not count.
_ROLES: Final = """
SELECT rolname FROM pg_roles WHERE oid IN (
    SELECT refobjid FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass
      AND (dbid = (SELECT oid FROM pg_database WHERE datname = current_database()))
    UNION SELECT datdba FROM pg_database WHERE datname = current_database())
  OR oid = 10 AND EXISTS (
    SELECT FROM (
        SELECT 'pg_class'::regclass, oid, relowner, relacl FROM pg_class
        UNION ALL SELECT 'pg_namespace'::regclass, oid, nspowner, nspacl FROM pg_namespace
        UNION ALL SELECT 'pg_proc'::regclass, oid, proowner, proacl FROM pg_proc
        UNION ALL SELECT 'pg_type'::regclass, oid, typowner, typacl FROM pg_type
        UNION ALL SELECT 'pg_foreign_server'::regclass, oid, srvowner, srvacl FROM pg_foreign_server
        UNION ALL SELECT 'pg_largeobject_metadata'::regclass, oid, lomowner, lomacl FROM pg_largeobject_metadata
        UNION ALL SELECT 'pg_event_trigger'::regclass, oid, evtowner, NULL FROM pg_event_trigger
        UNION ALL SELECT 'pg_publication'::regclass, oid, pubowner, NULL FROM pg_publication
    ) AS o(catalog, oid, owner, acl)
    WHERE o.oid >= 16384 AND (o.owner = 10 OR EXISTS (SELECT FROM aclexplode(o.acl) AS a WHERE a.grantee = 10))
      AND NOT EXISTS (SELECT FROM pg_namespace t WHERE t.oid = o.oid AND t.nspname ~ '^pg_(toast|temp)')
      AND NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.classid = o.catalog AND d.objid = o.oid AND d.deptype IN ('e', 'i')))
ORDER BY rolname
"""
# Which roles a row level security policy names, by the policy's oid, which the archive's table of contents has too.
_POLICY_ROLES: Final = """
SELECT p.oid::bigint, array_agg(r.rolname::text ORDER BY r.rolname)
FROM pg_policy p JOIN pg_roles r ON r.oid = ANY(p.polroles) GROUP BY p.oid
"""
# The settings of roles in this database, of the database, of roles, and of the server: in this order they count.
_SEARCH_PATHS: Final = """
SELECT role, path FROM (
    SELECT r.rolname::text AS role, substr(c.setting, length('search_path=') + 1) AS path,
           CASE WHEN s.setrole <> 0 AND s.setdatabase <> 0 THEN 1 WHEN s.setrole <> 0 THEN 2 ELSE 3 END AS turn
    FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) AS c(setting) LEFT JOIN pg_roles r ON r.oid = s.setrole
    WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
      AND c.setting LIKE 'search\\_path=%' AND (s.setrole = 0 OR r.rolname IS NOT NULL)
    UNION ALL SELECT NULL, reset_val, 4 FROM pg_settings WHERE name = 'search_path'
    UNION ALL SELECT NULL, boot_val, 5 FROM pg_settings WHERE name = 'search_path') AS paths
ORDER BY turn, role, path
"""
