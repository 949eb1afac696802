"""Checks of what is in the database: objects whose rows are elsewhere, lost, or not restored as one expects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from coffre.model.checkup import Severity
from coffre.model.names import quoted
from coffre.model.words import counted
from coffre.policy.checks.check import Finding, check, names

_DROPS_SHOWN: Final = 5


@dataclass(frozen=True)
class Contents:
    """Relations and triggers of the target, as `schema.name`, sorted.

    `without_key` are tables with neither a primary key nor a unique index on columns that are never NULL.
    `matviews` are materialized views together with the functions that they call, where a function has no search_path of
    its own: (view, function). `left_schemas` and `left_databases` are what earlier restores have kept.
    """

    tables: int = 0
    without_key: tuple[str, ...] = ()
    unlogged: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    matviews: tuple[tuple[str, str], ...] = ()
    event_triggers: tuple[str, ...] = ()
    left_schemas: tuple[str, ...] = ()
    left_databases: tuple[str, ...] = ()


@check(
    "TABLES_WITHOUT_KEY",
    Severity.NOTE,
    Contents,
    fine="Every table has a key.",
    cure="ALTER TABLE ... ADD PRIMARY KEY (...);",
)
def tables_without_key(contents: Contents) -> Iterator[Finding]:
    """Find tables in which a single row cannot be named."""
    if contents.without_key:
        yield Finding(
            f"{len(contents.without_key):,} tables have no key. They are backed up; single rows of them cannot be "
            "restored into the table in use (`coffre restore rows`).",
            evidence=names(contents.without_key),
        )


@check(
    "UNLOGGED",
    Severity.NOTE,
    Contents,
    fine="No table is unlogged.",
    cure="ALTER TABLE ... SET LOGGED; if its rows matter.",
)
def unlogged(contents: Contents) -> Iterator[Finding]:
    """Find tables that the server empties after a crash."""
    if contents.unlogged:
        yield Finding(
            f"{len(contents.unlogged):,} tables are unlogged: after a crash of the server they are empty, and so are "
            "they in the backups that follow.",
            evidence=names(contents.unlogged),
        )


@check(
    "FOREIGN_TABLES",
    Severity.NOTE,
    Contents,
    fine="No table is foreign.",
    cure="Back up the other server as a target of its own, if its rows matter.",
)
def foreign_tables(contents: Contents) -> Iterator[Finding]:
    """Find tables whose rows are on another server."""
    if contents.foreign:
        yield Finding(
            f"The rows of {len(contents.foreign):,} foreign tables are on other servers, and not in the backup.",
            evidence=names(contents.foreign),
        )


@check(
    "MATVIEW_UNQUALIFIED",
    Severity.NOTE,
    Contents,
    fine="No materialized view calls a function that depends on the search_path.",
    cure="ALTER FUNCTION ... SET search_path = public, pg_catalog;",
)
def matview_unqualified(contents: Contents) -> Iterator[Finding]:
    """Find materialized views that a restore may not be able to fill: it refreshes them with an empty search_path."""
    if contents.matviews:
        yield Finding(
            f"{len(contents.matviews):,} materialized views call functions without a search_path of their own. If such "
            "a function names a table without its schema, a restore cannot fill the view.",
            evidence=names(f"{view} calls {function}" for view, function in contents.matviews),
            cure=f"ALTER FUNCTION {contents.matviews[0][1]} SET search_path = public, pg_catalog;",
        )


@check(
    "EVENT_TRIGGERS",
    Severity.NOTE,
    Contents,
    fine="The database has no event triggers.",
    cure="Restore as a superuser (or the provider's administrator), or create the triggers again afterwards.",
)
def event_triggers(contents: Contents) -> Iterator[Finding]:
    """Find event triggers, which only a superuser can create."""
    if contents.event_triggers:
        yield Finding(
            f"{len(contents.event_triggers):,} event triggers are in the backup; only a superuser can create them "
            "when it is restored.",
            evidence=names(contents.event_triggers),
        )


@check(
    "LEFT_BY_RESTORES",
    Severity.NOTE,
    Contents,
    fine="No restore has left a schema or a database.",
    cure="DROP SCHEMA restored_... CASCADE; or DROP DATABASE ...; when it is not needed any more.",
)
def left_by_restores(contents: Contents) -> Iterator[Finding]:
    """Find what restores have kept until a person looks at it: it takes space, and its schemas are backed up too."""
    schemas, databases = contents.left_schemas, contents.left_databases
    if schemas or databases:
        drops = [f"DROP SCHEMA {quoted(name)} CASCADE;" for name in schemas]
        drops += [f"DROP DATABASE {quoted(name)};" for name in databases]
        kinds = ((schemas, "schema"), (databases, "database"))
        left = " and ".join(counted(len(found), noun) for found, noun in kinds if found)
        yield Finding(
            f"Earlier restores have left {left}. Such schemas are backed up like all others, and such databases take "
            "space on the server. Drop what is not needed any more.",
            evidence=names((*schemas, *databases)),
            cure=" ".join(drops[:_DROPS_SHOWN]),
        )
