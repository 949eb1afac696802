"""The table of contents of a `pg_dump` archive: what is in it, and what a destination cannot take."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

# "215; 1259 16386 TABLE public orders alice": dump id; catalog oid, object oid, description, schema, name, owner.
# Schema, name and owner are not quoted and may hold blanks: only what stands before them is read.
_LINE: Final = re.compile(r"^(\d+); (\d+) (\d+) (.*)$")
_DESCRIPTIONS: Final[tuple[str, ...]] = (
    "COMMENT", "SECURITY LABEL", "EVENT TRIGGER", "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA", "PUBLICATION",
    "SUBSCRIPTION TABLE", "SUBSCRIPTION", "DEFAULT ACL", "ACL LANGUAGE", "ACL", "EXTENSION", "FOREIGN TABLE",
    "TABLE ATTACH", "TABLE DATA", "TABLE", "MATERIALIZED VIEW DATA", "MATERIALIZED VIEW", "SEQUENCE OWNED BY",
    "SEQUENCE SET", "SEQUENCE", "POLICY", "ROW SECURITY", "FOREIGN DATA WRAPPER", "SERVER", "USER MAPPING",
)  # fmt: skip
# These begin like the description of a table, a view or a sequence whose schema has an odd name: `TABLE DATA t` is a
# table in the schema "DATA". Only these have no row of their own in a catalog.
_WITHOUT_CATALOG: Final = frozenset(
    {"TABLE ATTACH", "TABLE DATA", "MATERIALIZED VIEW DATA", "SEQUENCE OWNED BY", "SEQUENCE SET"}
)


@dataclass(frozen=True)
class TocEntry:
    """One line of `pg_restore --list`. `rest` is schema, name and owner as printed."""

    dump_id: int
    catalog_oid: int
    oid: int
    description: str
    rest: str
    line: str


@dataclass(frozen=True)
class Capabilities:
    """What the restoring role can do at the destination."""

    is_superuser: bool
    role: str


@dataclass(frozen=True)
class LeftOut:
    """A line that is not restored, and why."""

    entry: TocEntry
    reason: str


def parse_toc(listing: str) -> Iterator[TocEntry]:
    """Yield the entries of `pg_restore --list`, in order."""
    for line in listing.split("\n"):  # not splitlines: a name can hold what Unicode takes for the end of a line
        if found := _LINE.match(line):
            has_catalog = found[2] != "0"
            description = next(
                (
                    text
                    for text in _DESCRIPTIONS
                    if found[4].startswith(text + " ") and not (has_catalog and text in _WITHOUT_CATALOG)
                ),
                found[4].split(" ", 1)[0],
            )
            rest = found[4][len(description) + 1 :]
            yield TocEntry(int(found[1]), int(found[2]), int(found[3]), description, rest, line)


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


def is_event_trigger(entry: TocEntry) -> bool:
    """Whether a line makes an event trigger or says something about one: these come last, or they fire meanwhile."""
    if entry.description in ("COMMENT", "SECURITY LABEL"):
        return entry.rest.startswith("- EVENT TRIGGER ")
    return entry.description == "EVENT TRIGGER"


def _obstacle(entry: TocEntry, capabilities: Capabilities) -> str | None:
    if capabilities.is_superuser:
        return None
    if entry.description == "COMMENT" and entry.rest.startswith("- EXTENSION "):
        return "only an extension's owner can comment on it"
    if is_event_trigger(entry):
        return "only a superuser can create event triggers"
    if entry.description == "SECURITY LABEL":
        return "security labels need their provider and a superuser"
    if entry.description == "DEFAULT ACL" and not entry.rest.endswith(f" {capabilities.role}"):
        return "default privileges of another role can only be set by a member of it"
    return None
