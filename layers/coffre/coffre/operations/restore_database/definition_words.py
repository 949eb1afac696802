"""What a restore says about definitions that were refused."""

from __future__ import annotations

from typing import Final

from coffre.model.errors import RestoreError
from coffre.operations.restore_database.job import RestoreJob
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.destination.ledger import Refusal

_NAMES_SHOWN: Final = 20


def is_extension_comment(entry: TocEntry) -> bool:
    return entry.description == "COMMENT" and entry.tag.startswith("EXTENSION ")


def refused_error(job: RestoreJob, refusal: Refusal) -> RestoreError:
    """Return the error for an entry that the server refused."""
    return RestoreError(
        f"The {spoken(refusal.entry)} could not be made in {job.connection}.",
        code="SCHEMA_FAILED",
        detail=refusal.reason,
        hint=_hint(refusal.sqlstate or ""),
    )


def spoken(entry: TocEntry) -> str:
    """Return an entry for a sentence: `view public.sales`."""
    kind = {"FK CONSTRAINT": "foreign key"}.get(entry.description, entry.description.lower())
    tag = entry.tag.removeprefix(f"{entry.description} ")
    name = f"{entry.schema}.{tag}" if entry.schema else tag
    return f"{kind} {name}".encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def reason_of(refusal: Refusal) -> str:
    if not refusal.needing:
        return refusal.reason
    names = [spoken(entry) for entry in refusal.needing if entry.description not in _FOLLOWING]
    if not names:
        return refusal.reason
    more = f", and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"{refusal.reason}. Not restored either, because it needs it: {', '.join(names[:_NAMES_SHOWN])}{more}"


# What everybody expects to go with an object.
_FOLLOWING: Final = frozenset({"ACL", "COMMENT", "SECURITY LABEL", "SEQUENCE OWNED BY", "INDEX ATTACH", "ROW SECURITY"})


def _hint(sqlstate: str) -> str:
    if sqlstate == "42501":
        return "Restore with a role that may do this (see the detail), or without --strict: everything else comes back."
    if sqlstate.startswith("42") or sqlstate == "3F000":
        return (
            "The definition names something that the destination does not have. Without --strict everything else comes."
        )
    if sqlstate.startswith("23"):
        return "The backup's own rows violate it. Without --strict the rows come back, and the constraint is named."
    return "The detail has the server's words. Without --strict everything else comes back, and this is named."
