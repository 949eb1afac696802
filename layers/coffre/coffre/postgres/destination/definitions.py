"""Making the objects of an archive over sessions of our own: what the server refuses costs itself and what needs it.

Entries are sent many at a time, as one transaction. When the server refuses one of them, each is tried alone: as
`pg_dump` wrote it, then in the ways in which the refused object may still come whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import psycopg2
import psycopg2.extensions

from coffre.model.names import qualified, quoted
from coffre.postgres.archive.entry_sql import (
    access_method_of,
    default_access_method,
    definition_of,
    encoded,
    owner_of,
    without_validation,
)
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.archive.unknown_options import INVALID_OPTION, refused_option, without_option
from coffre.postgres.connection.connect import one_line
from coffre.postgres.destination import marks
from coffre.postgres.destination.ledger import Ledger, Refusal
from coffre.postgres.destination.making import Making
from coffre.postgres.destination.reduced_tables import LackingPart, ReducedTable, reduced_table
from coffre.postgres.destination.unit_of_work import is_fatal, unit

# What sets a session up stands in the archive as entries.
SESSION: Final = ("ENCODING", "STDSTRINGS", "SEARCHPATH")
_SETTINGS: Final = """
SET synchronous_commit = off; SET check_function_bodies = false; SET xmloption = content;
SET client_min_messages = error; SET row_security = off; SET lock_timeout = 0;
"""
_BATCH_ENTRIES: Final = 100
_BATCH_BYTES: Final = 256 * 1024
# Another session of ours was in the way: the same statement alone has no such problem.
_IN_THE_WAY: Final = frozenset({"40P01", "40001", "55P03", "55006", "XX000"})
# A name that the empty search_path does not find: of a function, relation, type or operator, schema, column.
_NOT_FOUND: Final = frozenset({"42883", "42P01", "42704", "42703", "3F000", "42725"})
_PERMISSION: Final = "42501"
_VIOLATED: Final = frozenset({"23503", "23514"})


class Definitions:
    """Makes definitions over one session, which it sets up like `pg_restore` does."""

    def __init__(self, session: psycopg2.extensions.connection, ledger: Ledger, how: Making) -> None:
        self._session = session
        self._cursor = session.cursor()
        self._ledger = ledger
        self._how = how
        self._access_method: str | None = None
        own = "".join(entry.definition for entry in how.by_id.values() if entry.description in SESSION)
        with self._unit():
            self._cursor.execute(_SETTINGS + "SELECT pg_catalog.set_config('search_path', '', false);" + own)

    def make(self, entries: Iterable[TocEntry]) -> None:
        """Make the objects of entries, in this order."""
        for batch in _batches(entries):
            wanted = [entry for entry in batch if not self._is_left(entry)]
            if wanted and not self._make_at_once(wanted):
                for entry in wanted:
                    if not self._is_left(entry):
                        self._make_alone(entry)

    def execute(self, statements: Sequence[tuple[bytes, Callable[[str, str | None], None]]]) -> None:
        """Execute statements that do not depend on each other; each one's callback hears why it was refused."""
        try:
            with self._unit():
                self._cursor.execute(b"\n".join(statement for statement, _ in statements))
        except psycopg2.Error as error:
            self._raise_fatal(error)
        else:
            return
        for statement, refused in statements:
            try:
                with self._unit():
                    self._cursor.execute(statement)
            except psycopg2.Error as error:
                self._raise_fatal(error)
                refused(one_line(error), error.pgcode)

    def restore_session(self) -> None:
        """Give a session that is used further the settings that sessions of a restore have."""
        with self._unit():
            self._cursor.execute(
                "RESET check_function_bodies; RESET client_min_messages; RESET default_table_access_method;"
                "SELECT pg_catalog.set_config('search_path', 'pg_catalog', false),"
                " pg_catalog.set_config('client_encoding', %s, false)",
                (self._session.encoding,),
            )

    def _is_left(self, entry: TocEntry) -> bool:
        return self._ledger.is_lost(entry) or (self._how.in_parallel and self._ledger.is_postponed(entry))

    def _make_at_once(self, entries: Sequence[TocEntry]) -> bool:
        method = self._access_method
        text = b"".join(self._selected(entry) + self._definition(entry) + self._owner(entry) for entry in entries)
        if not text:
            return True
        if self._how.is_marked:
            text += marks.adding(marks.MADE, {str(entry.dump_id): {} for entry in entries}, self._how.marks_schema)
        try:
            with self._unit():
                self._cursor.execute(text)
        except psycopg2.Error as error:
            self._raise_fatal(error)
            self._access_method = method
            return False
        self._ledger.made.update(entry.dump_id for entry in entries)
        return True

    def _make_alone(self, entry: TocEntry) -> None:
        if (selected := self._selected(entry)) and self._refused(selected) is not None:
            self._ledger.access_methods.add(entry.table_access_method or "")  # the table gets the server's default
        if (text := self._definition(entry)) and (error := self._refused(text + self._mark(entry))) is not None:
            if self._how.in_parallel and error.pgcode in _IN_THE_WAY:
                self._ledger.postpone(entry)
                return
            if not self._make_otherwise(entry, error):
                self._refuse(entry, error)
                return
        self._ledger.made.add(entry.dump_id)
        self._give(entry)

    def take_up(self, entry: TocEntry, said: Mapping[str, Any]) -> None:
        """Know of an entry that an earlier attempt has made how it was made, and give it to its owner."""
        self._ledger.made.add(entry.dump_id)
        if path := said.get("path"):
            self._ledger.other_paths.append((entry, path))
        if refusal := said.get("not_valid"):
            self._ledger.not_valid.append(Refusal(entry, *refusal))
        self._ledger.options += [(entry, option) for option in said.get("options", ())]
        self._ledger.add_lacking(entry, [LackingPart(entry, *one) for one in said.get("lacking", ())])
        if said.get("is_alone"):
            self._give(entry)

    def _mark(self, entry: TocEntry, **how: object) -> bytes:
        """Return the statement that marks an entry as made: how, and that its owner is still to be set."""
        if not self._how.is_marked:
            return b""
        said = {str(entry.dump_id): {"is_alone": True, **how}}
        return marks.adding(marks.MADE, said, self._how.marks_schema)

    def _give(self, entry: TocEntry) -> None:
        if (owner := self._owner(entry)) and (error := self._refused(owner)) is not None:
            if entry.schema is not None and error.pgcode == _PERMISSION:
                self._ledger.lack_create.add((entry.schema, entry.owner))
                if self._refused(self._owner(entry)) is None:
                    return
                self._ledger.lack_create.discard((entry.schema, entry.owner))
            self._ledger.owners_refused.append(Refusal(entry, one_line(error), error.pgcode))

    def _refuse(self, entry: TocEntry, error: psycopg2.Error) -> None:
        """Leave an entry out. A view that does not get its query goes too, with what refers to it."""
        by_id = self._how.by_id
        view = next(
            (by_id[one] for one in entry.dependencies if one in by_id and by_id[one].description == "VIEW"), None
        )
        if self._ledger.lose_with_needed(entry):
            return
        if entry.description != "RULE" or not entry.tag.endswith(" _RETURN") or view is None:
            self._ledger.refuse(entry, one_line(error), error.pgcode)
            return
        name = encoded(qualified(view.schema or "", view.tag), self._how.encoding)
        self._refused(b"DROP VIEW " + name + b" CASCADE")
        self._ledger.refuse(view, one_line(error), error.pgcode)
        for other in by_id.values():
            if other.dump_id in self._ledger.made or other is entry:
                self._ledger.is_lost(other)

    def _without_options(self, entry: TocEntry, error: psycopg2.Error) -> tuple[bytes, psycopg2.Error | None]:
        """Make an entry without the options that the server does not know; return its text, and why that failed too."""
        text = definition_of(entry, self._how.by_id)
        left: list[str] = []
        while error.pgcode in INVALID_OPTION and (option := refused_option(text, str(error))) is not None:
            text = without_option(text, option) or ""
            left.append(option)
            again = self._refused(self._encoded(text, entry) + self._mark(entry, options=left))
            if again is None:
                self._ledger.options += [(entry, option) for option in left]
                return b"", None
            error = again
        return self._encoded(text, entry), error

    def _make_otherwise(self, entry: TocEntry, first: psycopg2.Error) -> bool:
        """Try the ways in which a refused object may still come, and say whether one of them was taken."""
        text, error = self._without_options(entry, first)
        if error is None:
            return True
        if error.pgcode in _NOT_FOUND:
            for path in self._how.paths(entry):
                if self._refused(text + self._mark(entry, path=path), path) is None:
                    self._ledger.other_paths.append((entry, path))
                    return True
        elsewhere = without_validation(entry) if error.pgcode in _VIOLATED else None
        mark = self._mark(entry, not_valid=[one_line(error), error.pgcode])
        if elsewhere is not None and self._refused(elsewhere.encode("utf-8", "surrogateescape") + mark) is None:
            self._ledger.not_valid.append(Refusal(entry, one_line(error), error.pgcode))
            return True
        return self._how.reduces_tables and entry.description == "TABLE" and self._make_reduced(entry)

    def _make_reduced(self, entry: TocEntry) -> bool:
        """Make a table without the parts that the server refuses, with the path that costs the fewest of them."""
        definition = definition_of(entry, self._how.by_id)
        best: tuple[ReducedTable, str | None] | None = None
        for path in (None, *self._how.paths(entry)[:1]):
            found = reduced_table(
                entry,
                definition,
                self._how.encoding,
                lambda text: self._refused(text.encode("utf-8", "surrogateescape"), path),  # noqa: B023 - called here
            )
            if found is not None and (best is None or len(found.lacking) < len(best[0].lacking)):
                best = found, path
        if best is None:
            return False
        lacking = [[part.what, part.reason, part.sql, part.sqlstate] for part in best[0].lacking]
        text = self._encoded(best[0].definition, entry) + self._mark(entry, path=best[1], lacking=lacking)
        if self._refused(text, best[1]) is not None:
            return False
        if best[1] is not None:
            self._ledger.other_paths.append((entry, best[1]))
        self._ledger.add_lacking(entry, best[0].lacking)
        return True

    def _refused(self, text: bytes, path: str | None = None) -> psycopg2.Error | None:
        """Execute statements as one unit, in one message, and return why they were refused."""
        if path is not None:
            begin = self._cursor.mogrify("SELECT pg_catalog.set_config('search_path', %s, true);\n", (path,))
            text = begin + text + b"\n;SELECT pg_catalog.set_config('search_path', '', true)"
        try:
            with self._unit():
                self._cursor.execute(text)
        except psycopg2.Error as error:
            self._raise_fatal(error)
            return error
        return None

    def _selected(self, entry: TocEntry) -> bytes:
        method = default_access_method(entry)
        if method is None or method == self._access_method:
            return b""
        self._access_method = method
        return encoded(f"SET default_table_access_method = {quoted(method)};\n", self._how.encoding)

    def _definition(self, entry: TocEntry) -> bytes:
        return self._encoded(definition_of(entry, self._how.by_id), entry)

    def _encoded(self, definition: str, entry: TocEntry) -> bytes:
        text = definition.encode("utf-8", "surrogateescape")
        return text + encoded(access_method_of(entry), self._how.encoding)

    def _owner(self, entry: TocEntry) -> bytes:
        """Return the statements that give an entry to its owner, who has to be allowed to create it meanwhile."""
        text = owner_of(entry) if self._how.may_give(entry.owner) else ""
        if text and entry.schema is not None and (entry.schema, entry.owner) in self._ledger.lack_create:
            where, whom = f"CREATE ON SCHEMA {quoted(entry.schema)}", quoted(entry.owner)
            text = f"GRANT {where} TO {whom};\n{text}REVOKE {where} FROM {whom};\n"
        return encoded(text, self._how.encoding)

    def _raise_fatal(self, error: psycopg2.Error) -> None:
        if self._session.closed or is_fatal(error):
            raise error

    def _unit(self) -> AbstractContextManager[None]:
        return unit(self._session, is_nested=self._how.is_nested)


def _batches(entries: Iterable[TocEntry]) -> Iterator[list[TocEntry]]:
    """Yield entries some at a time: a transaction's locks have to fit into the server's memory."""
    batch: list[TocEntry] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += len(entry.definition)
        if len(batch) >= _BATCH_ENTRIES or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
