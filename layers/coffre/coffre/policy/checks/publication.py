"""The check of the publication that the plugin pgoutput needs (docs/point-in-time.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from coffre.model.checkup import Severity
from coffre.policy.checks.check import Finding, check, names


@dataclass(frozen=True)
class JournalPublication:
    """What a journal with the plugin `pgoutput` can be made from. Tables are `schema.name`, quoted, and sorted.

    Parameters
    ----------
    why
        Why it cannot be used, as a sentence; None: it can.
    lacking, keyless
        Tables that it does not have: those whose rows can be identified, and those whose rows cannot.
    failing
        Tables that it has though nothing identifies their rows: the server refuses to change these.
    all_tables
        Those that it can have.
    """

    name: str
    exists: bool
    why: str | None
    lacking: tuple[str, ...] = ()
    keyless: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()
    all_tables: tuple[str, ...] = ()


@check(
    "JOURNAL_PUBLICATION",
    Severity.WARNING,
    JournalPublication,
    fine="The publication of the journal has every table.",
    cure="Run the statement as the owner of the tables.",
)
def journal_publication(found: JournalPublication) -> Iterator[Finding]:
    """Find a publication that is missing, has a part of what changes, or makes statements of the application fail."""
    create = f"CREATE PUBLICATION {found.name} FOR TABLE {', '.join(found.all_tables)};"
    if not found.all_tables:
        create = "Give the tables primary keys first: none of them can be in a publication."
    if found.why is not None:
        drop = f"DROP PUBLICATION {found.name}; " if found.exists else ""
        yield Finding(f"The journal stores nothing. {found.why}", cure=f"{drop}{create}", subject=found.name)
    elif found.lacking:
        yield Finding(
            f"{len(found.lacking):,} tables are not in the publication: a restore to a moment has them as in the "
            "backup before.",
            evidence=names(found.lacking),
            cure=f"ALTER PUBLICATION {found.name} ADD TABLE {', '.join(found.lacking)}; The journal begins again then.",
            subject="tables",
        )
    if found.keyless:
        yield Finding(
            "Tables without a key, or with one that is generated or deferrable, cannot be in the publication, nor, "
            "since PostgreSQL 18, those with REPLICA IDENTITY FULL and a generated column: a restore to a moment has "
            "them as in the backup before.",
            evidence=names(found.keyless),
            cure="Give them primary keys (and REPLICA IDENTITY DEFAULT), then add them to the publication.",
            subject="keys",
            severity=Severity.NOTE,
        )
    if found.failing:
        yield Finding(
            "An UPDATE or DELETE fails in the application: the publication has tables whose rows nothing identifies.",
            evidence=names(found.failing),
            cure=f"ALTER PUBLICATION {found.name} DROP TABLE {', '.join(found.failing)};",
            subject="failing",
        )
