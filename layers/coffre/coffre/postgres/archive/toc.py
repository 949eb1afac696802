"""The table of contents of a `pg_dump` archive: names as text, and entries that are restored in a way of their own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import psycopg2.extensions

from coffre.postgres.archive import sql_ascii
from coffre.postgres.archive.reader import TocEntry


@dataclass(frozen=True)
class Capabilities:
    """What the restoring role can do at the destination."""

    is_superuser: bool
    role: str


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
