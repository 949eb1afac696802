"""Changes of one table that wait to be applied together.

Changes of different keys can change places: what waits is applied as deletes, then updates, then inserts, each as one
statement of many rows. A second change of a key that waits already closes what was before it.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Final, NamedTuple

from coffre.postgres.journal import statements
from coffre.postgres.journal.changes import Delete, Insert, Row, RowChange, Unchanged, Update, Value
from coffre.postgres.journal.definitions import Table
from coffre.postgres.journal.statements import Statement, not_identified

# A statement with more rows gains nothing, and its text takes memory here and at the server.
_MOST_ROWS: Final = 1000
_MOST_CHARACTERS: Final = 1024 * 1024

type _Values = tuple[Value, ...]


class _Form(NamedTuple):
    """Of rows with the same columns: where those are that can be written, and those of the key."""

    names: tuple[str, ...]
    places: tuple[int, ...]
    key_places: tuple[int, ...]


class Pending:
    """The changes of one table, in the order in which they were made."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._generated = {column.name for column in table.columns if column.generated}
        self._always = {column.name for column in table.columns if column.is_always_identity}
        self._forms: dict[tuple[str, ...], _Form] = {}
        self._closed: list[Statement] = []
        self._deletes: list[_Values] = []
        self._updates: dict[tuple[str, ...], list[tuple[_Values, _Values]]] = {}
        self._inserts: dict[tuple[str, ...], list[_Values]] = {}
        self._keys: set[_Values] = set()
        self._rows = 0
        self._characters = 0

    @property
    def table(self) -> Table:
        """The table whose changes wait here."""
        return self._table

    def add(self, change: RowChange) -> None:
        """Add a change.

        Raises
        ------
        JournalError
            `JOURNAL_NO_IDENTITY`: nothing says which row was changed.
        """
        if isinstance(change, Insert):
            self._insert(change.new)
        elif isinstance(change, Update):
            self._update(change)
        else:
            self._delete(change)
        if self._rows >= _MOST_ROWS or self._characters >= _MOST_CHARACTERS:
            self._close()

    def take(self) -> list[Statement]:
        """Return the statements of all changes since the last call."""
        self._close()
        taken, self._closed = self._closed, []
        return taken

    def _insert(self, new: Row) -> None:
        form = self._form(new.names)
        if self._table.key:
            self._touch(tuple(new.values[place] for place in form.key_places))
        values = tuple(new.values[place] for place in form.places)
        self._inserts.setdefault(form.names, []).append(values)
        self._count(values)

    def _update(self, change: Update) -> None:
        new = change.new
        if new is None or not self._table.has_identity:
            raise not_identified(self._table.name, "an UPDATE")
        form = self._form(new.names)
        key = tuple(new.values[place] for place in form.key_places)
        if not self._table.key or self._is_moved(change.old, form, new):
            self._close()
            self._closed.append(statements.update_one(self._table, change.old or Row(self._table.key, key), new))
            return
        left_out = {*self._table.key, *self._always}
        places = [
            (name, place)
            for name, place in zip(form.names, form.places, strict=True)
            if name not in left_out and new.values[place] is not Unchanged.TOAST
        ]
        if not places:  # every column that it sets is as it was
            return
        self._touch(key)
        values = tuple(new.values[place] for _, place in places)
        self._updates.setdefault(tuple(map(itemgetter(0), places)), []).append((values, key))
        self._count(values)

    def _is_moved(self, old: Row | None, form: _Form, new: Row) -> bool:
        """Whether the row has another key then, or a column that no UPDATE can set may have another value."""
        if not self._always <= set(self._table.key):
            return True
        if old is None:
            return False
        known = dict(zip(old.names, old.values, strict=True))
        return any(new.values[place] != known.get(new.names[place]) for place in form.key_places)

    def _delete(self, change: Delete) -> None:
        old = change.old
        if old is None or not self._table.has_identity:
            raise not_identified(self._table.name, "a DELETE")
        if not self._table.key:
            self._close()
            self._closed.append(statements.delete_one(self._table, old))
            return
        form = self._form(old.names)
        key = tuple(old.values[place] for place in form.key_places)
        self._touch(key)
        self._deletes.append(key)
        self._count(key)

    def _touch(self, key: _Values) -> None:
        if key in self._keys:
            self._close()
        self._keys.add(key)

    def _count(self, values: _Values) -> None:
        self._rows += 1
        self._characters += sum(len(value) for value in values if isinstance(value, str))

    def _close(self) -> None:
        if self._deletes:
            self._closed.append(statements.delete(self._table, self._deletes))
        for names, rows in self._updates.items():
            # Where another column is unique too, one row may take the value that the row before it has left.
            parts = [[row] for row in rows] if self._table.has_further_keys else [rows]
            self._closed += [statements.update(self._table, names, part) for part in parts]
        for names, values in self._inserts.items():
            self._closed += statements.insert(self._table, names, values)
        self._deletes, self._updates, self._inserts = [], {}, {}
        self._keys.clear()
        self._rows = self._characters = 0

    def _form(self, names: tuple[str, ...]) -> _Form:
        form = self._forms.get(names)
        if form is None:
            places = tuple(place for place, name in enumerate(names) if name not in self._generated)
            keys = tuple(names.index(name) for name in self._table.key if name in names)
            form = self._forms[names] = _Form(tuple(names[place] for place in places), places, keys)
        return form
