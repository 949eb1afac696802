"""Checks of what a provider manages inside the database: schemas of its own, and secrets that only it can decrypt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from coffre.model.checkup import Severity
from coffre.policy.checks.check import Finding, check, names


@dataclass(frozen=True)
class Managed:
    """Schemas that the provider's own roles own, with tables in them.

    `left_out` of them are not in the backups, because the target's configuration leaves them out. `attached` are
    triggers and policies of the owner's on tables there: (object, table, whether the table's schema is left out).
    """

    left_out: tuple[str, ...] = ()
    attached: tuple[tuple[str, str, bool], ...] = ()


@dataclass(frozen=True)
class Sealed:
    """Tables with values that are encrypted with a key that is outside of the database, and that have rows."""

    tables: tuple[str, ...] = ()


@check(
    "MANAGED_SCHEMA_LEFT_OUT",
    Severity.NOTE,
    Managed,
    fine="No schema of the provider's with tables is left out of the backups.",
    cure="Take the schemas out of the target's schemas.exclude, if their rows (users, files) are yours to restore.",
)
def managed_schema_left_out(managed: Managed) -> Iterator[Finding]:
    """Find schemas of the provider's that are not in the backups."""
    if managed.left_out:
        yield Finding(
            f"{len(managed.left_out):,} schemas that the provider manages are not in the backups.",
            evidence=names(managed.left_out),
        )


@check(
    "USER_OBJECTS_ON_MANAGED_TABLES",
    Severity.NOTE,
    Managed,
    fine="No trigger or policy of yours is attached to a table that the provider manages.",
    cure="Nothing to do: a restore into a new project makes them on its tables (docs/providers).",
)
def user_objects_on_managed_tables(managed: Managed) -> Iterator[Finding]:
    """Find triggers and policies on tables that a new project brings along without them."""
    lost = [f"{one} on {table}" for one, table, is_left_out in managed.attached if is_left_out]
    kept = [f"{one} on {table}" for one, table, is_left_out in managed.attached if not is_left_out]
    if lost:
        yield Finding(
            f"{len(lost):,} triggers and policies are on tables that are not in the backups: they are lost with the "
            "project.",
            evidence=names(lost),
            cure="Keep their statements with your migrations, or take the schemas out of schemas.exclude.",
            subject="not in the backups",
            severity=Severity.WARNING,
        )
    if kept:
        yield Finding(
            f"{len(kept):,} triggers and policies are on tables that the provider manages: a restore into a new "
            "project makes them on the tables that exist there.",
            evidence=names(kept),
        )


@check(
    "VAULT_SECRETS_UNREADABLE_ELSEWHERE",
    Severity.WARNING,
    Sealed,
    fine="No rows are encrypted with a key that only the provider has.",
    cure="Keep the secrets in another place too (AWS Secrets Manager), and store them again after a restore.",
)
def vault_secrets_unreadable_elsewhere(sealed: Sealed) -> Iterator[Finding]:
    """Find secrets of Supabase's Vault: their key belongs to the project and is in no backup."""
    if sealed.tables:
        yield Finding(
            "Rows are encrypted with a key that belongs to the project: no other project can decrypt them.",
            evidence=names(sealed.tables),
        )
