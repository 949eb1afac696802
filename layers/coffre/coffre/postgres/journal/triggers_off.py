"""Triggers, foreign keys and rules: at the source they have done their work, and must not do it again."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import psycopg2.errors
import psycopg2.extensions

from coffre.model.errors import JournalError
from coffre.model.names import TableName, shown

_MOST_SHOWN: Final = 3


def require_nothing_fires(session: psycopg2.extensions.connection, names: Collection[TableName]) -> None:
    """Let the session's changes of some tables fire as little as its role allows, and refuse if something would still.

    A role that may set `session_replication_role` keeps everything quiet but what is enabled `ALWAYS` or `REPLICA`.
    Another one needs a base without triggers, foreign keys and rules, which a restore makes after the rows.

    Raises
    ------
    JournalError
        `JOURNAL_TRIGGERS`
    """
    fires = "R"
    with session, session.cursor() as cursor:
        cursor.execute("SAVEPOINT before_role")
        try:
            cursor.execute("SET session_replication_role = replica")
        except psycopg2.errors.InsufficientPrivilege:
            cursor.execute("ROLLBACK TO SAVEPOINT before_role")
            fires = "O"
        tables = {"schemas": [schema for schema, _ in names], "names": [name for _, name in names]}
        cursor.execute(_FIRING, {**tables, "fires": ["A", fires]})
        found = cursor.fetchall()
    if not found:
        return
    named = ", ".join(f"{name} of {shown(schema, table)}" for schema, table, name in found[:_MOST_SHOWN])
    more = f" and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    how = "is not a superuser" if fires == "O" else "cannot silence those that are enabled ALWAYS or REPLICA"
    raise JournalError(
        f"Triggers, foreign keys or rules would answer to the journal's changes: {named}{more}.",
        code="JOURNAL_TRIGGERS",
        hint=f"The destination's role {how}. Apply the journal before they are created, or disable them meanwhile"
        " (ALTER TABLE ... DISABLE TRIGGER).",
    )


# What checks a deferrable unique key again changes nothing.
_FIRING: Final = """
WITH tables AS (
    SELECT c.oid, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE (n.nspname::text, c.relname::text) IN (SELECT * FROM unnest(%(schemas)s::text[], %(names)s::text[]))
)
SELECT nspname::text, relname::text, tgname::text FROM tables JOIN pg_trigger ON tgrelid = tables.oid
WHERE tgenabled::text = ANY(%(fires)s) AND tgfoid <> 'pg_catalog.unique_key_recheck'::regproc
UNION ALL
SELECT nspname::text, relname::text, rulename::text FROM tables JOIN pg_rewrite ON ev_class = tables.oid
WHERE ev_enabled::text = ANY(%(fires)s)
ORDER BY 1, 2, 3
"""
