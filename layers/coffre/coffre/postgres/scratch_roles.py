"""The roles of a scratch server: who restores, who asks the owner's questions, and those that a backup names."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from psycopg2 import sql

from coffre.postgres.connect import connect
from coffre.postgres.scratch import ScratchServer

_MAINTENANCE: Final = "postgres"


@dataclass(frozen=True)
class ScratchRoles:
    """`restorer` owns the databases that it makes, `reader` reads all and writes nothing; neither is a superuser."""

    restorer: str
    reader: str


def make_roles(server: ScratchServer, named: Iterable[str]) -> ScratchRoles:
    """Make the two roles that a drill works with, and without any rights those that a backup names.

    Policies and user mappings name roles; owners and rights are not restored, for nobody here may act for others.
    """
    suffix = secrets.token_hex(4)
    roles = ScratchRoles(restorer=f"drill_{suffix}", reader=f"check_{suffix}")
    with connect(server.connection(_MAINTENANCE)) as session, session.cursor() as cursor:
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
        cursor.execute("SELECT rolname FROM pg_roles")
        there = {name for (name,) in cursor.fetchall()}
        for name in sorted(set(named) - there):
            if not name.startswith("pg_"):
                cursor.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(name)))
        session.commit()
    return roles


def drop_database(server: ScratchServer, name: str) -> None:
    """Drop a database, whoever is connected to it."""
    with connect(server.connection(_MAINTENANCE)) as session:
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
