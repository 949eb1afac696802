"""An archive as SQL for `psql`, in the order and the words of `pg_restore`.

Left out are `\\restrict`, which older `psql` do not know, `transaction_timeout`, which older servers do not know (field
notes 7 and 8), and tablespaces, which belong to one machine's disks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from coffre.model.names import quoted
from coffre.postgres.archive.entry_sql import ACL, access_method_of, default_access_method, definition_of, owner_of
from coffre.postgres.archive.reader import Archive, TocEntry
from coffre.postgres.archive.toc import is_event_trigger, is_of_database
from coffre.postgres.archive.writer import LargeObject

# What sets the session up stands in the archive as entries.
SESSION: Final = ("ENCODING", "STDSTRINGS", "SEARCHPATH")
_SETTINGS: Final = """\
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
"""
_MORE_SETTINGS: Final = """\
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

"""
_LINE_BREAKS: Final = re.compile(r"[\r\n]")


def in_order(entries: Iterable[TocEntry]) -> list[TocEntry]:
    """Return what a script restores, in its order: rights after all objects, event triggers and refreshes last.

    A view sees what its owner may see, and an event trigger would fire at what follows it.
    """

    def turn(entry: TocEntry) -> int:
        if entry.description in ACL:
            return 1
        return 2 if is_event_trigger(entry) or entry.description == "MATERIALIZED VIEW DATA" else 0

    wanted = [
        entry for entry in entries if entry.description not in (*SESSION, "DATABASE") and not is_of_database(entry)
    ]
    return sorted(wanted, key=turn)


class PlainWriter:
    """Yields the statements of entries; it knows what the script has set so far.

    Parameters
    ----------
    with_owners
        Whether owners and rights are set.
    """

    def __init__(self, archive: Archive, *, with_owners: bool = True) -> None:
        self._archive = archive
        self._with_owners = with_owners
        self._by_id = {entry.dump_id: entry for entry in archive.entries}
        self._access_method: str | None = None

    def header(self, title: str) -> str:
        """Return the beginning of the script."""
        found = {entry.description: entry.definition for entry in self._archive.entries}
        session = "".join(found.get(kind, "") for kind in SESSION)
        versions = (
            f"-- Dumped from database version {_line(self._archive.server_version)}\n"
            f"-- Dumped by pg_dump version {_line(self._archive.client_version)}\n"
        )
        return f"--\n-- {_line(title)}\n--\n\n{versions}\n{_SETTINGS}{session}{_MORE_SETTINGS}"

    def statements(self, entry: TocEntry) -> str:
        """Return an entry's statements, but for its data."""
        if not self._with_owners and entry.description in ACL:
            return ""
        selected = self._select(entry)
        kind = _line(entry.description)
        name = f"Name: {_line(entry.tag)}; Type: {kind}; Schema: {_line(entry.schema or '-')}"
        comment = f"--\n-- {'Data for ' * entry.has_data}{name}; Owner: {_line(entry.owner or '-')}\n--\n\n"
        owner = owner_of(entry) if self._with_owners else ""
        return selected + comment + definition_of(entry, self._by_id) + owner + access_method_of(entry)

    def _select(self, entry: TocEntry) -> str:
        method = default_access_method(entry)
        if method is None or method == self._access_method:
            return ""
        self._access_method = method
        return f"SET default_table_access_method = {quoted(method)};\n\n"


def large_objects(objects: Iterable[LargeObject]) -> Iterator[bytes]:
    """Yield the statements that fill large objects, which are created already."""
    yield b"BEGIN;\n\n"
    for item in objects:
        yield f"SELECT pg_catalog.lo_open('{item.oid}', 131072);\n".encode()
        for chunk in item.chunks:
            yield b"SELECT pg_catalog.lowrite(0, '\\x" + chunk.hex().encode() + b"');\n"
        yield b"SELECT pg_catalog.lo_close(0);\n\n"
    yield b"COMMIT;\n\n"


def _line(text: str) -> str:
    """What stands in a comment must not end it."""
    return _LINE_BREAKS.sub(" ", text)
