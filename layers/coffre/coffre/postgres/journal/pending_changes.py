"""Changes of one table that wait to be applied together.

Changes of different keys can change places: what waits is applied as deletes, then updates, then inserts, each as one
statement of many rows. Changes of the same key become one, where nothing but the key has to be unique: what came
between was never seen by anyone. Elsewhere a second change of a key closes what was before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple

from coffre.postgres.journal import statements
from coffre.postgres.journal.changes import Delete, Insert, Row, RowChange, Unchanged, Update, Value
from coffre.postgres.journal.column_types import NOTHING_KNOWN, ColumnTypes
from coffre.postgres.journal.definitions import Table
from coffre.postgres.journal.statements import Statement, not_identified

# A statement with more rows gains nothing, and its text takes memory here and at the server.
_MOST_ROWS: Final = 8000
_MOST_CHARACTERS: Final = 1024 * 1024
# Rows with all columns as their identity are without those that are NULL.
_MOST_FORMS: Final = 4096

type _Values = tuple[Value, ...]
type _Given = tuple[tuple[str, ...], _Values]
type _Some = Callable[[_Values], _Values]


_names_of: Final = itemgetter(0)


class _Form(NamedTuple):
    """Of rows with the same columns: those that can be written, and the values of these, of the key, and of an UPDATE.

    `set_names` are the columns that an UPDATE sets when it finds the row by its key.
    """

    names: tuple[str, ...]
    written: _Some
    key: _Some
    set_names: tuple[str, ...]
    set_values: _Some


class Pending:
    """The changes of one table, in the order in which they were made.

    Parameters
    ----------
    types
        What the server knows of the columns' types.
    """

    def __init__(self, table: Table, types: ColumnTypes = NOTHING_KNOWN) -> None:
        self._table = table
        self._types = types
        self._generated = {column.name for column in table.columns if column.generated}
        self._always = {column.name for column in table.columns if column.is_always_identity}
        self._merges = not table.has_further_keys
        self._finds_by_key = self._always <= set(table.key)
        self._forms: dict[tuple[str, ...], _Form] = {}
        self._closed: list[Statement] = []
        # By key; rows of a table without one are never looked for.
        self._deletes: dict[_Values, None] = {}
        self._updates: dict[_Values, _Given] = {}
        self._inserts: dict[_Values, _Given] = {}
        self._rows = 0
        self._characters = 0

    @property
    def table(self) -> Table:
        """The table whose changes wait here."""
        return self._table

    def add(self, change: RowChange, size: int) -> None:
        """Add a change.

        Parameters
        ----------
        size
            How many characters its values have at most.

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
        self._rows += 1
        self._characters += size
        if self._rows >= _MOST_ROWS or self._characters >= _MOST_CHARACTERS:
            self._close()

    def take(self) -> list[Statement]:
        """Return the statements of all changes since the last call."""
        self._close()
        taken, self._closed = self._closed, []
        return taken

    def _insert(self, new: Row) -> None:
        form = self._forms.get(new.names) or self._form(new.names)
        key = form.key(new.values) if self._table.key else (str(len(self._inserts)),)
        if key in self._inserts or key in self._updates:  # cannot be: the server says so
            self._close()
        self._inserts[key] = (form.names, form.written(new.values))

    def _update(self, change: Update) -> None:
        new = change.new
        if new is None or not self._table.has_identity:
            raise not_identified(self._table.name, "an UPDATE")
        form = self._forms.get(new.names) or self._form(new.names)
        key = form.key(new.values)
        if not self._table.key or not self._finds_by_key or (change.old and self._is_moved(change.old, key)):
            self._close()
            self._closed.append(
                statements.update_one(self._table, change.old or Row(self._table.key, key), new, self._types)
            )
            return
        if key in self._inserts:
            if self._is_merged_with_insert(key, form.names, form.written(new.values)):
                return
            self._close()
        names, values = form.set_names, form.set_values(new.values)
        if Unchanged.TOAST in values:
            kept = [place for place, value in enumerate(values) if value is not Unchanged.TOAST]
            names, values = tuple(names[place] for place in kept), tuple(values[place] for place in kept)
        if not names:  # every column that it sets is as it was
            return
        if key in self._updates and not (self._merges and self._updates[key][0] == names):
            self._close()
        self._updates[key] = (names, values)

    def _is_merged_with_insert(self, key: _Values, names: tuple[str, ...], values: _Values) -> bool:
        """Let the row that waits have other values, if it can."""
        waiting, before = self._inserts[key]
        if not self._merges or waiting != names:
            return False
        if Unchanged.TOAST in values:
            pairs = zip(before, values, strict=True)
            values = tuple(old if value is Unchanged.TOAST else value for old, value in pairs)
        self._inserts[key] = (names, values)
        return True

    def _is_moved(self, old: Row, key: _Values) -> bool:
        """Whether the row has another key then."""
        known = dict(zip(old.names, old.values, strict=True))
        return tuple(map(known.get, self._table.key)) != key

    def _delete(self, change: Delete) -> None:
        old = change.old
        if old is None or not self._table.has_identity:
            raise not_identified(self._table.name, "a DELETE")
        if not self._table.key:
            self._close()
            self._closed.append(statements.delete_one(self._table, old, self._types))
            return
        form = self._forms.get(old.names) or self._form(old.names)
        key = form.key(old.values)
        if self._merges:
            if self._inserts.pop(key, None):
                return
            self._updates.pop(key, None)
        if key in self._inserts or key in self._updates or key in self._deletes:
            self._close()
        self._deletes[key] = None

    def _close(self) -> None:
        if self._deletes:
            self._closed.append(statements.delete(self._table, list(self._deletes), self._types))
        updates = ((names, (*values, *key)) for key, (names, values) in self._updates.items())
        for names, rows in self._by_columns(updates):
            self._closed.append(statements.update(self._table, names, rows, self._types))
        for names, rows in self._by_columns(self._inserts.values()):
            self._closed += statements.insert(self._table, names, rows)
        self._deletes, self._updates, self._inserts = {}, {}, {}
        self._rows = self._characters = 0

    def _by_columns(self, rows: Iterable[_Given]) -> Iterator[tuple[tuple[str, ...], list[_Values]]]:
        """Yield rows with the same columns together, as far as their order is of no importance."""
        if self._merges:
            rows = sorted(rows, key=_names_of)
        for names, found in groupby(rows, _names_of):
            yield names, [values for _, values in found]

    def _form(self, names: tuple[str, ...]) -> _Form:
        """Return a form that is not known yet."""
        if len(self._forms) >= _MOST_FORMS:
            self._forms.clear()
        written = [place for place, name in enumerate(names) if name not in self._generated]
        left_out = {*self._table.key, *self._always}
        sets = [place for place in written if names[place] not in left_out]
        form = self._forms[names] = _Form(
            tuple(names[place] for place in written),
            _chosen(written),
            _chosen([names.index(name) for name in self._table.key if name in names]),
            tuple(names[place] for place in sets),
            _chosen(sets),
        )
        return form


def _chosen(places: Sequence[int]) -> _Some:
    """Return what takes the values at these places of a row."""
    first, behind = (places[0], places[-1] + 1) if places else (0, 0)
    return itemgetter(slice(first, behind)) if [*range(first, behind)] == [*places] else itemgetter(*places)
