"""Find the databases of a server: what is new gets a target, what is gone is marked, and both are reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from coffre.catalog.catalog import Catalog
from coffre.model.database_target import DatabaseTarget, Patterns
from coffre.model.errors import CatalogError, ConfigurationError
from coffre.model.server import SeenDatabase, usable
from coffre.policy.server_databases import chosen_databases, hashed_name, listed, plain_name
from coffre.postgres.connection.address import Connection
from coffre.postgres.source.databases import ServerDatabases, databases_of


@dataclass(frozen=True)
class FindJob:
    """What finding the databases of a server needs. `taken` are the names of the targets in the document."""

    server: DatabaseTarget
    connection: Connection
    catalog: Catalog
    taken: frozenset[str]
    now: Callable[[], datetime]


@dataclass(frozen=True)
class FoundDatabases:
    """What a server has now.

    `present` are backed up. Of these `new` were not known, or were gone. `dropped` exist no more since the last time;
    `left_out` exist, and are not backed up any more. `unreadable` cannot be backed up: their names are no UTF-8.
    """

    present: tuple[SeenDatabase, ...]
    new: tuple[SeenDatabase, ...]
    dropped: tuple[SeenDatabase, ...]
    left_out: tuple[SeenDatabase, ...]
    unreadable: tuple[str, ...]


def find_databases(job: FindJob) -> FoundDatabases:
    """Find the databases of a server that are backed up, and record what changed.

    Raises
    ------
    ConnectError, ConnectTransientError
        The server cannot be reached: nothing is recorded.
    ConfigurationError
        `NO_DATABASE_FITS`: nothing is recorded.
    EventError
        `PATTERN_INVALID`
    CatalogError
        What was recorded until then stays.
    """
    on_server = databases_of(job.connection)
    chosen = _chosen(job, on_server)
    known = usable(job.catalog.servers.seen(), job.server.name, job.taken)
    new = [_add(job, name) for name in chosen if name not in known]
    present = [known[name] for name in chosen if name in known]
    returned = [one for one in present if one.gone_since is not None and job.catalog.servers.mark(one, None)]
    now, wanted = job.now(), set(chosen)
    left = [one for one in known.values() if one.gone_since is None and one.database not in wanted]
    gone = [replace(one, gone_since=now) for one in left if job.catalog.servers.mark(one, now)]
    existing = {*on_server.usable, *on_server.others}
    return FoundDatabases(
        present=tuple(sorted((replace(one, gone_since=None) for one in (*present, *new)), key=lambda one: one.name)),
        new=(*new, *returned),
        dropped=tuple(one for one in gone if one.database not in existing),
        left_out=tuple(one for one in gone if one.database in existing),
        unreadable=on_server.unreadable,
    )


def _chosen(job: FindJob, on_server: ServerDatabases) -> list[str]:
    patterns = job.server.databases or Patterns()
    chosen = chosen_databases(on_server.usable, patterns)
    if not chosen:
        raise ConfigurationError(
            f'No database of the server "{job.server.name}" ({job.connection.host}) fits its `databases`.',
            code="NO_DATABASE_FITS",
            detail=f"The server has {listed(on_server.usable) or 'no database that takes connections'}.",
            hint='Correct include and exclude of this target; "all" means every database (docs/configuration.md).',
        )
    return chosen


def _add(job: FindJob, database: str) -> SeenDatabase:
    """Record a new database under its plain name, or under one with a hash when that is taken."""
    server = job.server.name
    plain, hashed = plain_name(server, database), hashed_name(server, database)
    for name in (plain, hashed):
        if name is None or name in job.taken:
            continue
        added = job.catalog.servers.add(SeenDatabase(name, server, database, job.now()))
        if (added.server, added.database) == (server, database):
            return added
    raise CatalogError(
        f"The database {listed([database])} of {server} got no name: {hashed} is another target's.",
        code="TARGET_NAME_TAKEN",
        hint="Rename the target of this name in the configuration document.",
    )
