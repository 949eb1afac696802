"""Where a drill restores to: a server of its own on this machine, or an empty one that a person gives."""

from __future__ import annotations

import math
from collections.abc import Iterable

from coffre.operations.drill.scratch_limits import free_bytes as free_disk
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.connection.client_tools import Children, PostgresTools
from coffre.postgres.connection.create_database import drop_database
from coffre.postgres.scratch import given_server, roles
from coffre.postgres.scratch.collations import impossible_collations, stand_in
from coffre.postgres.scratch.given_server import GivenServer
from coffre.postgres.scratch.roles import ScratchRoles, make_roles
from coffre.postgres.scratch.server import ScratchServer
from coffre.postgres.scratch.structure_checks import Findings, check_pages

type Server = ScratchServer | GivenServer


def database_of(server: Server) -> str:
    """Return the name of the database that the drill makes there."""
    return given_server.DATABASE if isinstance(server, GivenServer) else "drill"


def roles_for(server: Server, named: Iterable[str], encoding: str) -> ScratchRoles:
    """Make the roles that a drill works with, and those that a backup names, as far as they can be made."""
    return server.make_roles(named) if isinstance(server, GivenServer) else make_roles(server, named, encoding)


def stand_ins(server: Server, toc: Iterable[TocEntry]) -> tuple[list[str], list[TocEntry]]:
    """Return the collations of the system that others stand in for, and those of the backup that cannot be made.

    A given server shows that by itself: it refuses them, as it would in a restore.
    """
    if isinstance(server, GivenServer):
        return [], []
    entries = tuple(toc)
    return stand_in(server, entries), impossible_collations(server, entries)


def room_bytes(server: Server) -> float:
    """Return how much a group of tables may take; of a given server, that is found out by trying."""
    return math.inf if isinstance(server, GivenServer) else free_disk(server)


def drop(server: Server) -> None:
    """Drop the drill's database, even if sessions are connected to it."""
    name = database_of(server)
    if isinstance(server, GivenServer):
        drop_database(server.connection(name))
    else:
        roles.drop_database(server, name)


def pages_of(server: Server, tools: PostgresTools, children: Children, jobs: int) -> Findings:
    """Check every page and index, where that is possible: only a superuser may."""
    if isinstance(server, GivenServer):
        if not server.is_superuser:
            who = f'the role "{server.address.user}" is no superuser'
            return Findings(remarks=[f"Pages and indexes were not checked: {who}."])
        if not (tools.home / "bin" / "pg_amcheck").is_file():
            return Findings(remarks=["Pages and indexes were not checked: this machine has no pg_amcheck."])
    return check_pages(tools, children, server.connection(database_of(server)), jobs)
