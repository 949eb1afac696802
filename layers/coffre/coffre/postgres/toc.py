"""The table of contents of a `pg_dump` archive: what a destination can take of it, and what it cannot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import psycopg2.extensions

from coffre.postgres import sql_ascii
from coffre.postgres.archive import TocEntry


@dataclass(frozen=True)
class Capabilities:
    """What the restoring role can do at the destination."""

    is_superuser: bool
    role: str


@dataclass(frozen=True)
class LeftOut:
    """An entry that is not restored, and why."""

    entry: TocEntry
    reason: str


def split_toc(entries: Iterable[TocEntry], capabilities: Capabilities) -> tuple[list[TocEntry], list[LeftOut]]:
    """Divide a table of contents into what can be restored and what cannot, each with its reason (field note 18)."""
    kept: list[TocEntry] = []
    left_out: list[LeftOut] = []
    for entry in entries:
        reason = _obstacle(entry, capabilities)
        if reason is None:
            kept.append(entry)
        else:
            left_out.append(LeftOut(entry, reason))
    return kept, left_out


def in_unicode(entries: Iterable[TocEntry], encoding: str) -> tuple[TocEntry, ...]:
    """Return entries whose names (tag, schema, owner) are text; definitions stay as they are.

    An archive has names in the source's encoding, of which nothing but UTF-8 was readable.
    """
    codec = psycopg2.extensions.encodings.get(encoding, "utf_8")
    if encoding == "UTF8" or (codec == "utf_8" and encoding != sql_ascii.ENCODING):
        return tuple(entries)

    def text(name: str) -> str:
        data = name.encode("utf-8", "surrogateescape")
        return sql_ascii.text_of(data) if encoding == sql_ascii.ENCODING else data.decode(codec, "surrogateescape")

    return tuple(
        replace(entry, tag=text(entry.tag), schema=entry.schema and text(entry.schema), owner=text(entry.owner))
        for entry in entries
    )


def is_event_trigger(entry: TocEntry) -> bool:
    """Whether an entry makes an event trigger or says something about one: these come last, or they fire meanwhile."""
    if entry.description in ("COMMENT", "SECURITY LABEL"):
        return entry.tag.startswith("EVENT TRIGGER ")
    return entry.description == "EVENT TRIGGER"


def is_of_database(entry: TocEntry) -> bool:
    """Whether an entry is about the database itself: its settings, its comment, its rights, its label."""
    if entry.description in ("COMMENT", "SECURITY LABEL", "ACL"):
        return entry.tag.startswith("DATABASE ")
    return entry.description == "DATABASE PROPERTIES"


def _obstacle(entry: TocEntry, capabilities: Capabilities) -> str | None:
    if capabilities.is_superuser:
        return None
    if entry.description == "COMMENT" and entry.tag.startswith("EXTENSION "):
        return "only an extension's owner can comment on it"
    if is_event_trigger(entry):
        return "only a superuser can create event triggers"
    if entry.description == "SECURITY LABEL":
        return "security labels need their provider and a superuser"
    if entry.description == "DEFAULT ACL" and entry.owner != capabilities.role:
        return "default privileges of another role can only be set by a member of it"
    return None
