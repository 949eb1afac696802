"""Loading the rows of a table again that were refused or are damaged: all of them, or without its damaged slices."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import psycopg2.extensions

from coffre.model.manifest import Entry
from coffre.model.names import TableName
from coffre.operations.restore_database.load_transactions import LoadTally, Unit, table_of
from coffre.operations.restore_database.refused_rows import DamagedSlices
from coffre.operations.restore_database.table_rows import TableRows


class Reload:
    """Tables that are loaded again, with all their `slices`."""

    def __init__(self, rows: TableRows, tally: LoadTally, slices: Iterable[Entry]) -> None:
        self._rows = rows
        self._tally = tally
        self._slices: dict[TableName, list[Entry]] = {}
        self._given_up: dict[TableName, list[str]] = {}  # the names of their damaged slices
        for entry in slices:
            self._slices.setdefault(table_of(entry), []).append(entry)

    def load(
        self,
        session: psycopg2.extensions.connection,
        name: TableName,
        before: Callable[[psycopg2.extensions.cursor], None],
        after: Callable[[psycopg2.extensions.cursor], None],
    ) -> None:
        """Load all rows of a table in one transaction, with steps before and after its rows."""
        with self._rows.transaction(session), session.cursor() as cursor:
            if self._rows.units[name] is not Unit.SHARED:
                self._rows.empty(session, name, self._tally.rows_of(name))
            before(cursor)
            slices = self._slices.get(name, ())
            done = [self._rows.fill(session, entry, self._rows.chunks(entry), again=True) for entry in slices]
            after(cursor)
            self._rows.unmark(cursor, slices)
            self._rows.mark(session, done, self._given_up.get(name, ()))
        self._tally.forget(name)
        for loaded in done:
            self._tally.add(loaded)

    def clear(self, session: psycopg2.extensions.connection, name: TableName) -> None:
        """Empty a table of the slices that were loaded."""
        if rows := self._tally.rows_of(name):
            with self._rows.transaction(session), session.cursor() as cursor:
                self._rows.empty(session, name, rows)
                self._rows.unmark(cursor, self._slices.get(name, ()))
        self._tally.forget(name)

    def leave_damage_out(self, name: TableName) -> DamagedSlices | None:
        """Give up the damaged slices of a table, so that the others can be loaded; None when none is intact."""
        slices = self._slices.get(name, [])
        damaged = [entry for entry in slices if not self._rows.is_intact(entry)]
        if len(damaged) == len(slices):
            return None
        self._slices[name] = [entry for entry in slices if entry not in damaged]
        self._given_up[name] = [entry.name for entry in damaged]
        return DamagedSlices(damaged, len(slices))
