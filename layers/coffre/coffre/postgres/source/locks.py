"""The locks of the holder: taken, checked against what went before, and waited for by others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import psycopg2.errors
import psycopg2.extensions


def lock_statement(names: Sequence[str]) -> str:
    """Return the statement that locks tables against being replaced or altered. Reading and writing stay possible."""
    return f"LOCK TABLE {', '.join(names)} IN ACCESS SHARE MODE"


def lock_if_there(cursor: psycopg2.extensions.cursor, name: str) -> None:
    """Lock a table before there is a snapshot; it may be gone by now."""
    try:
        cursor.execute(f"SAVEPOINT before_lock; {lock_statement([name])}; RELEASE SAVEPOINT before_lock")
    except (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName):
        cursor.execute("ROLLBACK TO SAVEPOINT before_lock; RELEASE SAVEPOINT before_lock")


# The tables as the snapshot sees them against what functions say, which look at the catalog as it is now: other
# storage, another table under the name, or columns that went or were renamed.
REPLACED: Final = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY(%(tables)s::bigint[]::oid[]) AND (
    c.relfilenode IS DISTINCT FROM pg_relation_filenode(c.oid)
    OR to_regclass(format('%%I.%%I', n.nspname, c.relname)) IS DISTINCT FROM c.oid::regclass
    OR EXISTS (
        SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        AND (pg_identify_object('pg_class'::regclass, c.oid, a.attnum)).identity
            IS DISTINCT FROM format('%%I.%%I.%%I', n.nspname, c.relname, a.attname)))
"""
# Only what is stronger than a lock to read conflicts with our locks. The server keeps the start of waits since 14. All
# sessions of a run have the same application_name, and no other session has it.
WAITED_FOR: Final = """
SELECT l.relation::regclass FROM pg_locks l
WHERE NOT l.granted AND l.mode = 'AccessExclusiveLock'
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (to_jsonb(l) ->> 'waitstart')::timestamptz < clock_timestamp() - make_interval(secs => %(seconds)s)
  AND EXISTS (
    SELECT FROM pg_stat_activity a WHERE a.pid = ANY(pg_blocking_pids(l.pid))
      AND a.datname = current_database() AND a.usename = session_user
      AND a.application_name = current_setting('application_name'))
LIMIT 1
"""
