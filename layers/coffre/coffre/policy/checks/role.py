"""Checks of the role that reads: what it may not read, what it need not be allowed to do, and its settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from coffre.model.checkup import Severity
from coffre.model.names import quoted
from coffre.policy.checks.check import Finding, check, names

_READ_ALL_SINCE: Final = 140000  # pg_read_all_data
_GRANT_LARGE_OBJECTS: Final = (
    "As their owner or a superuser: DO $coffre$ DECLARE o oid; BEGIN FOR o IN SELECT oid FROM pg_largeobject_metadata "
    "LOOP EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO %I', o, {role}); END LOOP; END $coffre$;"
)


@dataclass(frozen=True)
class Role:
    """The role of the backup. `strengths` are what it may do beyond reading: `SUPERUSER`, `CREATEROLE`."""

    name: str
    version_number: int
    strengths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unreadable:
    """What of the target the role cannot read, as `schema.name`, sorted.

    `hidden_rows` are tables of which row level security hides rows from the role. `large_objects` are the ids of the
    first ones, of `large_object_count`.
    """

    tables: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ()
    hidden_rows: tuple[str, ...] = ()
    large_objects: tuple[int, ...] = ()
    large_object_count: int = 0


@dataclass(frozen=True)
class Settings:
    """Settings in a backup's session: `wrong` are those that are not as it set them, as (name, wanted, found).

    `configured` are settings of the role or the database that would limit a session: (where, setting).
    """

    wrong: tuple[tuple[str, str, str], ...] = ()
    configured: tuple[tuple[str, str], ...] = ()


def _grant(role: Role, specific: str) -> str:
    name = quoted(role.name)
    return f"GRANT pg_read_all_data TO {name};" if role.version_number >= _READ_ALL_SINCE else specific


@check(
    "ROLE_CANNOT_READ",
    Severity.BLOCKER,
    Role,
    Unreadable,
    fine="The role can read every table that belongs to the target.",
    cure="Grant pg_read_all_data to the role.",
)
def role_cannot_read(role: Role, unreadable: Unreadable) -> Iterator[Finding]:
    """Find tables that the role may not read."""
    if unreadable.tables:
        name = quoted(role.name)
        each = f"GRANT USAGE ON SCHEMA ... TO {name}; GRANT SELECT ON ALL TABLES IN SCHEMA ... TO {name};"
        yield Finding(
            f'The role "{role.name}" may not read {len(unreadable.tables):,} tables: the backup fails.',
            evidence=names(unreadable.tables),
            cure=f"{_grant(role, each)} Or leave the tables out: tables.exclude of the target.",
        )


@check(
    "ROLE_NO_BYPASSRLS",
    Severity.BLOCKER,
    Role,
    Unreadable,
    fine="Row level security hides nothing from the role.",
    cure="Give the role BYPASSRLS.",
)
def role_no_bypassrls(role: Role, unreadable: Unreadable) -> Iterator[Finding]:
    """Find tables of which row level security hides rows from the role."""
    if unreadable.hidden_rows:
        yield Finding(
            f"Row level security hides rows of {len(unreadable.hidden_rows):,} tables from the role "
            f'"{role.name}": the backup fails rather than lack them.',
            evidence=names(unreadable.hidden_rows),
            cure=f"ALTER ROLE {quoted(role.name)} BYPASSRLS;",
        )


@check(
    "SEQUENCES_UNREADABLE",
    Severity.BLOCKER,
    Role,
    Unreadable,
    fine="The role can read every sequence.",
    cure="Grant pg_read_all_data to the role.",
)
def sequences_unreadable(role: Role, unreadable: Unreadable) -> Iterator[Finding]:
    """Find sequences that the role may not read."""
    if unreadable.sequences:
        each = f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA ... TO {quoted(role.name)};"
        yield Finding(
            f'The role "{role.name}" may not read {len(unreadable.sequences):,} sequences: the backup fails.',
            evidence=names(unreadable.sequences),
            cure=_grant(role, each),
        )


@check(
    "LARGE_OBJECTS_UNREADABLE",
    Severity.BLOCKER,
    Role,
    Unreadable,
    fine="The role can read every large object.",
    cure="Grant SELECT on the large objects to the role; pg_read_all_data does not cover them.",
)
def large_objects_unreadable(role: Role, unreadable: Unreadable) -> Iterator[Finding]:
    """Find large objects that the role may not read; `pg_read_all_data` does not cover them."""
    if unreadable.large_object_count:
        yield Finding(
            f'The role "{role.name}" may not read {unreadable.large_object_count:,} large objects: the backup fails.',
            evidence=names(map(str, unreadable.large_objects), unreadable.large_object_count),
            cure=_GRANT_LARGE_OBJECTS.format(role=_literal(role.name)),
        )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@check(
    "ROLE_TOO_STRONG",
    Severity.NOTE,
    Role,
    fine="The role can do little more than read.",
    cure="Create a role that can only read, and store it in the target's secret: docs/roles.md.",
)
def role_too_strong(role: Role) -> Iterator[Finding]:
    """Find a role that may write: its password could destroy what is backed up."""
    if role.strengths:
        yield Finding(
            f'The role "{role.name}" may do more than read: with the secret, anybody can destroy the database.',
            evidence=", ".join(role.strengths),
        )


@check(
    "ROLE_SETTINGS",
    Severity.NOTE,
    Settings,
    fine="No setting of the role, the database or a pooler limits a backup's sessions.",
    cure="Nothing has to be done, as backups set their own. To remove it: ALTER ROLE ... RESET setting;",
)
def role_settings(settings: Settings) -> Iterator[Finding]:
    """Find settings that would limit a session, and such that do not become what a backup sets."""
    if settings.wrong:
        yield Finding(
            "Settings that a backup sets do not take effect: its sessions can be cut or see other data.",
            evidence=", ".join(f"{name} is {found}, not {wanted}" for name, wanted, found in settings.wrong),
            cure="Use the direct address of the server, or a pooler in session mode that passes SET on.",
            severity=Severity.WARNING,
        )
    if settings.configured:
        yield Finding(
            "Settings limit the role's sessions. Backups and pg_dump set their own values; other programs do not.",
            evidence="; ".join(f"{where}: {setting}" for where, setting in settings.configured),
        )
