"""What is in a database before a restore: whatever a person could miss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import psycopg2.extensions

from coffre.model.errors import DestinationError
from coffre.model.names import shown
from coffre.policy.profiles import Profile
from coffre.postgres.connection.address import Connection
from coffre.postgres.destination.unfinished_restore import Unfinished


def is_empty(session: psycopg2.extensions.connection) -> bool:
    """Return whether a database has no relations but those of the server and of extensions."""
    with session.cursor() as cursor:
        cursor.execute(_USER_RELATIONS)
        return cursor.fetchone() is None


def content_of(session: psycopg2.extensions.connection, profile: Profile) -> list[str]:
    """Return the relations that a person could miss: no others than `is_empty`, without the provider's own."""
    with session.cursor() as cursor:
        cursor.execute(_USER_RELATIONS)
        return [shown(schema, name) for schema, name in cursor.fetchall() if not profile.is_known(schema)]


def first_of(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def refuse_content(
    connection: Connection,
    session: psycopg2.extensions.connection,
    profile: Profile,
    found_unfinished: Unfinished | None,
) -> None:
    """Refuse a database with anything that a person could miss, or that an unfinished restore has left.

    Raises
    ------
    DestinationError
        `DESTINATION_UNFINISHED`, `DESTINATION_NOT_EMPTY`
    """
    found = content_of(session, profile)
    if found and found_unfinished is not None:
        raise DestinationError(
            f"The destination {connection} holds a part of the backup: the restore {found_unfinished.restore_id} did "
            "not end.",
            code="DESTINATION_UNFINISHED",
            hint="Nothing was changed. With --restart everything that was created since then is removed, and the "
            "restore begins again; --restart --dry-run lists it.",
        )
    if found:
        raise DestinationError(
            f"The destination {connection} is not empty: it has {first_of(found)}.",
            code="DESTINATION_NOT_EMPTY",
            hint="Nothing was changed. Restore into a new database (give a name that does not exist yet), look at it, "
            "and then switch your application over or copy back what you need.",
        )


# Anything a person could miss: relations that are neither the system's nor an extension's.
_USER_RELATIONS: Final = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND n.nspname <> 'coffre_unfinished_restore'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND n.nspname NOT LIKE 'pg\\_toast%' AND n.nspname NOT LIKE 'pg\\_temp\\_%'
  AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
  AND NOT EXISTS (
    SELECT FROM pg_depend o JOIN pg_depend d ON d.classid = o.refclassid AND d.objid = o.refobjid AND d.deptype = 'e'
    WHERE o.classid = 'pg_class'::regclass AND o.objid = c.oid AND o.refclassid = 'pg_class'::regclass
      AND o.deptype IN ('a', 'i'))
ORDER BY c.relkind <> 'r', 1, 2
"""
