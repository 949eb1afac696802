"""Checks of extensions and collations: what a backup lacks of them, and what a drill's server does not have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from coffre.model.checkup import Severity
from coffre.policy.checks.check import Finding, check, names

DRILL_EXTENSIONS: Final = frozenset(
    [
        "amcheck",
        "autoinc",
        "bloom",
        "btree_gin",
        "btree_gist",
        "citext",
        "cube",
        "dblink",
        "dict_int",
        "dict_xsyn",
        "earthdistance",
        "file_fdw",
        "fuzzystrmatch",
        "hstore",
        "insert_username",
        "intagg",
        "intarray",
        "isn",
        "lo",
        "ltree",
        "moddatetime",
        "pageinspect",
        "pg_buffercache",
        "pg_freespacemap",
        "pg_logicalinspect",
        "pg_prewarm",
        "pg_stat_statements",
        "pg_surgery",
        "pg_trgm",
        "pg_visibility",
        "pg_walinspect",
        "pgcrypto",
        "pgrowlocks",
        "pgstattuple",
        "plpgsql",
        "postgres_fdw",
        "refint",
        "seg",
        "tablefunc",
        "tcn",
        "tsm_system_rows",
        "tsm_system_time",
        "unaccent",
        "uuid-ossp",
        "vector",
    ]
)
"""The extensions of the scratch server of drills (layers/postgres_server)."""


@dataclass(frozen=True)
class Extensions:
    """The extensions of the database: (name, version).

    `unstored_members` are tables of extensions with rows that `pg_dump` leaves out, as (extension, `schema.name`).
    """

    installed: tuple[tuple[str, str], ...] = ()
    unstored_members: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Collations:
    """Collations in use: `changed` have another version than when their indexes were made, as (name, then, now).

    `not_in_drill` are the owner's own that a drill's server cannot make: it has no ICU, and no locale but C.
    """

    database: str
    changed: tuple[tuple[str, str, str], ...] = ()
    not_in_drill: tuple[str, ...] = ()


@check(
    "EXTENSION_NOT_IN_DRILL",
    Severity.NOTE,
    Extensions,
    fine="The drill's server has every extension of the database.",
    cure="Once a quarter, restore into a server of the same provider: coffre restore database latest --to URL.",
)
def extension_not_in_drill(extensions: Extensions) -> Iterator[Finding]:
    """Find extensions that the scratch server of drills lacks."""
    missing = sorted({name for name, _ in extensions.installed} - DRILL_EXTENSIONS)
    if missing:
        yield Finding(
            "A drill cannot restore what depends on these extensions: its server does not have them. Backups have it "
            "all the same.",
            evidence=names(missing),
        )


@check(
    "EXTENSION_CONFIG_TABLES",
    Severity.WARNING,
    Extensions,
    fine="No table of an extension has rows that a backup lacks.",
    cure="Name the tables in the target's tables.include_members.",
)
def extension_config_tables(extensions: Extensions) -> Iterator[Finding]:
    """Find tables of extensions whose rows `pg_dump` leaves out."""
    if extensions.unstored_members:
        tables = [table for _, table in extensions.unstored_members]
        yield Finding(
            f"{len(tables):,} tables are members of extensions, and pg_dump leaves their rows out.",
            evidence=names(f"{table} ({extension})" for extension, table in extensions.unstored_members),
            cure=f"In the target's configuration: tables.include_members: {', '.join(tables[:10])}.",
        )


@check(
    "TIMESCALE",
    Severity.WARNING,
    Extensions,
    fine="The database does not use TimescaleDB.",
    cure="Try a restore into a server with the same version of TimescaleDB: coffre restore database latest --to URL.",
)
def timescale(extensions: Extensions) -> Iterator[Finding]:
    """Find TimescaleDB, whose own catalog a restore has to meet."""
    versions = dict(extensions.installed)
    if "timescaledb" in versions:
        yield Finding(
            "TimescaleDB keeps a catalog of its own: a restore needs the same version of it, and "
            "timescaledb_pre_restore() before and timescaledb_post_restore() after. Drills cannot try it.",
            evidence=f"timescaledb {versions['timescaledb']}",
        )


@check(
    "COLLATION_VERSION_MISMATCH",
    Severity.WARNING,
    Collations,
    fine="No collation in use has changed since its indexes were made.",
    cure="REINDEX the indexes on text; then refresh the collation's version.",
)
def collation_version_mismatch(collations: Collations) -> Iterator[Finding]:
    """Find collations that sort differently than when their indexes were made: unique indexes may hold duplicates."""
    if collations.changed:
        yield Finding(
            "The system's collations have changed since indexes were made: indexes on text may be corrupt, and a "
            "restore may refuse duplicates that a unique index no longer sees.",
            evidence=names(f"{name}: {then}, now {now}" for name, then, now in collations.changed),
            cure=f'REINDEX DATABASE "{collations.database}"; then ALTER COLLATION ... REFRESH VERSION; for the default '
            f'collation: ALTER DATABASE "{collations.database}" REFRESH COLLATION VERSION;',
        )


@check(
    "COLLATION_NOT_IN_DRILL",
    Severity.NOTE,
    Collations,
    fine="The drill's server can make every collation of the database.",
    cure="Once a quarter, restore into a server of the same provider: coffre restore database latest --to URL.",
)
def collation_not_in_drill(collations: Collations) -> Iterator[Finding]:
    """Find collations of the owner's that the scratch server of drills cannot make."""
    if collations.not_in_drill:
        yield Finding(
            "A drill leaves out what depends on these collations: its server has no ICU and no locale but C.",
            evidence=names(collations.not_in_drill),
        )
