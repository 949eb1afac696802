"""Facts about the server, the role and its session."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

import psycopg2.extensions

from coffre.policy.checks.endpoint import Standby
from coffre.policy.checks.login import Encryption
from coffre.policy.checks.role import Role, Settings
from coffre.policy.checks.server import Server
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.certificates import verified_until
from coffre.postgres.connection.minors import note_of_newer_minor
from coffre.postgres.inspection.sessions import Query

# Of what `connect` and `limit` set, that which cuts a session or changes what it sees.
_WANTED: Final = {
    "statement_timeout": "20000",
    "idle_in_transaction_session_timeout": "0",
    "row_security": "off",
    "search_path": "pg_catalog",
    "extra_float_digits": "3",
}
_LIMITING: Final = (
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "transaction_timeout",
    "default_transaction_read_only",
    "temp_file_limit",
    "role",
)


def read_encryption(session: psycopg2.extensions.connection, connection: Connection, now: datetime) -> Encryption:
    """Return the TLS of a session, and what ends first of the certificates that it was verified with."""
    host = connection.host
    is_local = host.startswith("/") or host in ("localhost", "127.0.0.1", "::1")
    in_use = bool(session.info.ssl_in_use)
    valid = verified_until(session) if connection.sslmode.startswith("verify-") else None
    if valid is None:
        return Encryption(connection.sslmode, in_use, is_local, now)
    return Encryption(connection.sslmode, in_use, is_local, now, valid.name, valid.begins, valid.ends)


def read_server(query: Query, client: tuple[int, int], now: Callable[[], datetime]) -> tuple[Server, Standby]:
    """Return what the server says about itself; `client` is the version of `pg_dump`."""
    before = now()
    ((version, number, clock, is_standby, delay),) = query(_SERVER)
    after = now()
    uncertain = (after - before).total_seconds() / 2
    skew = (clock - (before + (after - before) / 2)).total_seconds()
    ages = tuple((str(name), int(age)) for name, age in query(_AGES))
    newer = note_of_newer_minor(int(number), version, client)
    server = Server(version.split(" ")[0], int(number), client[0], newer, skew, uncertain, ages)
    return server, Standby(bool(is_standby), delay)


def read_role(query: Query) -> Role:
    """Return the role, and what it may do beyond reading."""
    ((name, number, strengths),) = query(_ROLE)
    return Role(name, int(number), tuple(strengths))


def read_settings(query: Query) -> Settings:
    """Return settings that are not as a session of doctor's set them, and those of role and database that limit it."""
    found: dict[str, str] = {name: value for name, value in query(_SETTINGS)}  # noqa: C416 - rows are tuples of any length
    wrong = tuple((name, value, found[name]) for name, value in _WANTED.items() if found.get(name, value) != value)
    configured = tuple((where, setting) for where, setting in query(_CONFIGURED, {"names": list(_LIMITING)}))
    return Settings(wrong, configured)


_SETTINGS: Final = "SELECT name, setting FROM pg_catalog.pg_settings"
_SERVER: Final = """
SELECT current_setting('server_version'), current_setting('server_version_num')::int, clock_timestamp(),
       pg_is_in_recovery(), current_setting('max_standby_streaming_delay')
"""
_AGES: Final = """
SELECT datname, age(datfrozenxid) FROM pg_database WHERE datallowconn ORDER BY 2 DESC LIMIT 5
"""
_ROLE: Final = """
SELECT r.rolname, current_setting('server_version_num')::int, array_remove(ARRAY[
    CASE WHEN r.rolsuper THEN 'SUPERUSER' END,
    CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
    CASE WHEN r.rolcreatedb THEN 'CREATEDB' END] || ARRAY(
        SELECT 'member of ' || g.rolname FROM pg_roles g
        WHERE g.rolname IN ('pg_write_all_data', 'rds_superuser', 'neon_superuser', 'cloudsqlsuperuser',
                            'azure_pg_admin') AND NOT r.rolsuper AND pg_has_role(r.oid, g.oid, 'USAGE')
        ORDER BY 1), NULL)
FROM pg_roles r WHERE r.rolname = current_user
"""
_CONFIGURED: Final = """
SELECT CASE WHEN s.setrole = 0 THEN 'the database ' || d.datname
            WHEN s.setdatabase = 0 THEN 'the role ' || current_user
            ELSE 'the role ' || current_user || ' in the database ' || d.datname END, c.setting
FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) AS c(setting) LEFT JOIN pg_database d ON d.oid = s.setdatabase
WHERE (s.setdatabase = 0 OR d.datname = current_database())
  AND (s.setrole = 0 OR s.setrole = session_user::regrole) AND (s.setrole, s.setdatabase) <> (0, 0)
  AND split_part(c.setting, '=', 1) = ANY(%(names)s)
  AND NOT (c.setting ~ '=0' AND c.setting !~ '=0[0-9.]*[1-9]') AND lower(split_part(c.setting, '=', 2)) <> 'off'
ORDER BY 1, 2
"""
