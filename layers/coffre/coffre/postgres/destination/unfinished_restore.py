"""What an unfinished restore has left in a database that was empty before it: noted while it works, removed on request.

A schema marks the beginning. Everything that a restore creates has a higher oid than it. It also has the marks of what
is done (`marks.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import batched
from typing import Final

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from coffre.postgres.destination import marks

MARK: Final = marks.SCHEMA
_BATCH: Final = 50
# The second is of PostgreSQL 17 and newer, and stops those too that are enabled ALWAYS.
_WITHOUT_TRIGGERS: Final = ("session_replication_role = replica", "event_triggers = off")
# How `pg_identify_object` names kinds, where a statement names them otherwise.
_KINDS: Final = {"statistics object": "STATISTICS", "foreign-data wrapper": "FOREIGN DATA WRAPPER"}


@dataclass(frozen=True)
class Unfinished:
    """A restore that began to fill a database and did not end: its id, and the oid of the schema that marks it.

    `created` says that the restore had created the database.
    """

    restore_id: str
    oid: int
    had_large_objects: bool
    created: bool = False


def begin(session: psycopg2.extensions.connection, restore_id: str, *, created: bool = False) -> bool:
    """Mark a database as being filled; False where this role may create no schema. The session is in autocommit."""
    try:
        with session.cursor() as cursor:
            cursor.execute("SELECT EXISTS (SELECT FROM pg_largeobject_metadata)")
            ((had,),) = cursor.fetchall()
            where = "in a new database" if created else "in an empty database"
            note = sql.Literal(f"{restore_id} {'with' if had else 'without'} large objects {where}")
            # One message is one transaction: a process that dies leaves all of it, or nothing.
            cursor.execute(
                sql.SQL("CREATE SCHEMA {0}; COMMENT ON SCHEMA {0} IS {1}; {2}").format(
                    sql.Identifier(MARK), note, marks.creation()
                )
            )
    except psycopg2.errors.InsufficientPrivilege:
        return False
    return True


def end(session: psycopg2.extensions.connection) -> None:
    """Remove the mark. The session is in autocommit.

    Event triggers that were restored by now could refuse that; only a role that creates some can keep them from firing.
    """
    with session.cursor() as cursor:
        for setting in _WITHOUT_TRIGGERS:
            with contextlib.suppress(psycopg2.errors.InsufficientPrivilege, psycopg2.errors.UndefinedObject):
                cursor.execute(f"SET {setting}")
        cursor.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(MARK, "marks")))
        cursor.execute(sql.SQL("DROP SCHEMA IF EXISTS {}").format(sql.Identifier(MARK)))
        for setting in _WITHOUT_TRIGGERS:
            with contextlib.suppress(psycopg2.errors.InsufficientPrivilege, psycopg2.errors.UndefinedObject):
                cursor.execute(f"RESET {setting.partition(' ')[0]}")


def find(session: psycopg2.extensions.connection) -> Unfinished | None:
    """Return the unfinished restore that a database is marked with."""
    with session.cursor() as cursor:
        cursor.execute(
            "SELECT oid::bigint, obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = %s", (MARK,)
        )
        found = cursor.fetchone()
    if found is None or not found[1]:
        return None
    restore_id, _, rest = str(found[1]).partition(" ")
    with_objects, created = rest.startswith("with "), rest.endswith(" in a new database")
    return Unfinished(restore_id, int(found[0]), with_objects, created)


def leftovers(session: psycopg2.extensions.connection, unfinished: Unfinished) -> list[tuple[str, str]]:
    """Return the kind and name of everything that was created since the mark, what others need last."""
    with session.cursor() as cursor:
        cursor.execute(_LEFTOVERS, {"oid": unfinished.oid})
        return [(str(kind), str(name)) for kind, name in cursor.fetchall()]


def clear(session: psycopg2.extensions.connection, unfinished: Unfinished) -> None:
    """Remove everything that was created since the mark, and the mark. The session is in autocommit."""
    while found := leftovers(session, unfinished):
        for batch in batched(found, _BATCH, strict=False):
            with session.cursor() as cursor:
                cursor.execute("; ".join(_drops(batch)))
    if not unfinished.had_large_objects:
        remove_large_objects(session)
    end(session)


def remove_large_objects(session: psycopg2.extensions.connection) -> None:
    """Remove all large objects, some at a time. The session is in autocommit."""
    with session.cursor() as cursor:
        while True:
            cursor.execute("SELECT lo_unlink(oid) FROM (SELECT oid FROM pg_largeobject_metadata LIMIT 1000) AS found")
            if not cursor.fetchall():
                break


def _drops(batch: tuple[tuple[str, str], ...]) -> Iterator[str]:
    """Yield the statements; names come quoted from the server."""
    for kind, name in batch:
        yield f"DROP {_KINDS.get(kind, kind)} IF EXISTS {name} CASCADE"


# Event triggers first, which would fire; then what is in no schema or is one; then what is in schemas that existed.
_LEFTOVERS: Final = """
SELECT found.type, found.identity FROM (
    SELECT 1, 'pg_event_trigger'::regclass, oid FROM pg_event_trigger
    UNION ALL SELECT 2, 'pg_publication'::regclass, oid FROM pg_publication
    UNION ALL SELECT 3, 'pg_namespace'::regclass, oid FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp)'
    UNION ALL SELECT 4, 'pg_extension'::regclass, oid FROM pg_extension
    UNION ALL SELECT 5, 'pg_foreign_server'::regclass, oid FROM pg_foreign_server
    UNION ALL SELECT 6, 'pg_foreign_data_wrapper'::regclass, oid FROM pg_foreign_data_wrapper
    UNION ALL SELECT 7, 'pg_cast'::regclass, oid FROM pg_cast
    UNION ALL SELECT 8, d.classid, d.objid FROM pg_depend d JOIN pg_namespace n ON n.oid = d.refobjid
        WHERE d.refclassid = 'pg_namespace'::regclass AND d.deptype = 'n' AND n.oid < %(oid)s
          AND n.nspname <> 'pg_catalog' AND n.nspname !~ '^pg_(toast|temp)'
    UNION ALL SELECT 9, 'pg_language'::regclass, oid FROM pg_language
    UNION ALL SELECT 10, 'pg_am'::regclass, oid FROM pg_am
) AS object(turn, class, oid) CROSS JOIN LATERAL pg_identify_object(object.class, object.oid, 0) AS found
WHERE object.oid > %(oid)s AND found.identity IS NOT NULL AND NOT EXISTS (
    SELECT FROM pg_depend e WHERE e.classid = object.class AND e.objid = object.oid AND e.deptype IN ('e', 'i'))
ORDER BY object.turn, object.oid DESC
"""
