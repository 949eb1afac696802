"""The roles of a scratch server: who restores, who asks the owner's questions, and those that a backup names."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import psycopg2.extensions
from psycopg2 import sql

from coffre.postgres.connection.connect import connect
from coffre.postgres.scratch.server import ScratchServer

_MAINTENANCE: Final = "postgres"
_ENCODING: Final = "UTF8"  # of the maintenance database


@dataclass(frozen=True)
class ScratchRoles:
    """`restorer` owns the databases that it makes, `reader` reads all and writes nothing; neither is a superuser."""

    restorer: str
    reader: str


def make_roles(server: ScratchServer, named: Iterable[str], encoding: str) -> ScratchRoles:
    """Make the two roles that a drill works with, and those that a backup names, without any rights of their own.

    The restorer is a member of all that it makes, so that owners and privileges are set as in a restore by the role
    that docs/restore.md advises. It is no superuser, and a member of none: the server's superuser has a random name.
    Names of roles are bytes for a server: they are made in a database of the backup's `encoding`.
    """
    suffix = secrets.token_hex(4)
    roles = ScratchRoles(restorer=f"drill_{suffix}", reader=f"check_{suffix}")
    with _session_in(server, encoding) as session, session.cursor() as cursor:
        for name, options in ((roles.restorer, "CREATEDB"), (roles.reader, "")):
            cursor.execute(
                sql.SQL("CREATE ROLE {} LOGIN BYPASSRLS {} PASSWORD {}").format(
                    sql.Identifier(name), sql.SQL(options), sql.Literal(server.password)
                )
            )
        # Tables of extensions belong to the superuser, and have rows to be loaded.
        cursor.execute(
            sql.SQL("GRANT pg_read_all_data, pg_write_all_data TO {}").format(sql.Identifier(roles.restorer))
        )
        cursor.execute(sql.SQL("GRANT pg_read_all_data TO {}").format(sql.Identifier(roles.reader)))
        cursor.execute("SELECT rolname, rolsuper FROM pg_roles")
        existing: dict[str, bool] = dict(cursor.fetchall())
        for name in sorted({name for name in named if not name.startswith("pg_")}):
            if name not in existing:
                cursor.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(name)))
                # At the source they could read what their views read, as superusers maybe; here none is one.
                cursor.execute(sql.SQL("GRANT pg_read_all_data TO {}").format(sql.Identifier(name)))
            if not existing.get(name):
                cursor.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(name), sql.Identifier(roles.restorer)))
        session.commit()
    return roles


@contextmanager
def _session_in(server: ScratchServer, encoding: str) -> Iterator[psycopg2.extensions.connection]:
    """Open a session in a database of an encoding, which goes afterwards if it was made for this."""
    name = _MAINTENANCE
    if encoding != _ENCODING:
        name = f"roles_{secrets.token_hex(4)}"
        with connect(server.connection(_MAINTENANCE)) as session:
            session.autocommit = True
            with session.cursor() as cursor:
                statement = "CREATE DATABASE {} ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
                cursor.execute(sql.SQL(statement).format(sql.Identifier(name), sql.Literal(encoding)))
    with connect(server.connection(name)) as session:
        yield session
    if name != _MAINTENANCE:
        drop_database(server, name)


def drop_database(server: ScratchServer, name: str) -> None:
    """Drop a database, even if sessions are connected to it."""
    with connect(server.connection(_MAINTENANCE)) as session:
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
