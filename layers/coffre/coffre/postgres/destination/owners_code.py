"""The owner's own code in sessions of ours: triggers, defaults, checks, domains, expressions of indexes and policies.

Our sessions look for names in `pg_catalog` alone. Code that names things without their schema was written for the path
that every session of the role has in this database, and fails in ours. So what can fire such code is executed under
the database's own path, and nothing else is. A role that may create objects in a schema of that path can catch names
that another role writes without a schema (CVE-2018-1058). Therefore every name in our own statements that run under it
has its schema: tables, functions, types and operators too (`OPERATOR(pg_catalog.=)`); a statement of ours says the same
under any path. What the owner's code does under its own path it does in each session of the application as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg2.extensions

# For a whole session, in which only qualified statements follow. What a fresh session would have: the server's, the
# database's or the role's own, whichever counts.
OWNERS_PATH: Final = "SET search_path TO DEFAULT"
# What code also goes by: a date out of a moment, a text out of a date.
_SETTINGS_TOO: Final = (
    "SET LOCAL TimeZone TO DEFAULT; SET LOCAL DateStyle TO DEFAULT; SET LOCAL IntervalStyle TO DEFAULT"
)
OWNERS_PATH_LOCAL: Final = "SET LOCAL search_path TO DEFAULT"
OURS_AGAIN: Final = """
SET LOCAL search_path = pg_catalog; SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD';
SET LOCAL IntervalStyle = 'postgres'
"""


@contextmanager
def owners_path(cursor: psycopg2.extensions.cursor) -> Iterator[None]:
    """Execute the statements of the block, in which every name has its schema, under the database's own path.

    After an error the path goes with the transaction, or back to its savepoint.
    """
    cursor.execute(OWNERS_PATH_LOCAL)
    yield
    cursor.execute(OURS_AGAIN)


@contextmanager
def as_the_owner_has_it(cursor: psycopg2.extensions.cursor) -> Iterator[None]:
    """Execute the statements of the block as `owners_path` does, also under the database's own time zone and styles.

    For changes of rows, at which triggers look: no text of ours is read in the block.
    """
    with owners_path(cursor):
        cursor.execute(_SETTINGS_TOO)
        yield


@contextmanager
def our_path(cursor: psycopg2.extensions.cursor) -> Iterator[None]:
    """Execute the statements of the block under our own path again, in a session that may have the database's."""
    cursor.execute("SELECT pg_catalog.current_setting('search_path')")
    ((before,),) = cursor.fetchall()
    cursor.execute("SET LOCAL search_path = pg_catalog")
    yield
    cursor.execute("SELECT pg_catalog.set_config('search_path', %s, true)", (before,))


def default_path(cursor: psycopg2.extensions.cursor) -> str:
    """Return the path that a fresh session of the role has in this database."""
    cursor.execute("SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'search_path'")
    ((path,),) = cursor.fetchall()
    return str(path)
