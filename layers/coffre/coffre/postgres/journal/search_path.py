"""The `search_path` under which changes are applied: ours, unless the owner's code needs another one.

A generated column, a check or a domain can call a function that names things without their schema. Such code fails
under our path, and is tried under those that it may have been written for. All names in our own statements have their
schemas, operators too: no schema of such a path can catch one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg2
import psycopg2.errors
import psycopg2.extensions

from coffre.model.names import TableName


class AnotherPath(Exception):  # noqa: N818 - no error: what is not committed is done again
    """The changes of a table were refused, and another path is left to try."""


@dataclass
class Paths:
    """Which path each table's changes are applied under.

    Parameters
    ----------
    known
        Returns those that a table's code may have been written for, the likeliest first.
    """

    known: Callable[[TableName], Sequence[str]] = lambda _: ()
    _tried: dict[TableName, int] = field(default_factory=dict)
    _refusals: dict[TableName, psycopg2.Error] = field(default_factory=dict)

    @property
    def taken(self) -> dict[TableName, str]:
        """The tables whose changes were refused under our path, and the path that they are applied under instead."""
        return {table: path for table in self._tried if (path := self.of(table)) is not None}

    def of(self, table: TableName) -> str | None:
        """Return the path for a table; None: ours."""
        tried = self._tried.get(table)
        return None if tried is None else next(iter(self.known(table)[tried - 1 :]), None)

    def refused(self, table: TableName, error: psycopg2.Error) -> psycopg2.Error:
        """Take the next path for a table; if none is left, return what was said under the first one.

        Raises
        ------
        AnotherPath
        """
        if not _may_be_of_path(error):
            return error
        first = self._refusals.setdefault(table, error)
        self._tried[table] = self._tried.get(table, 0) + 1
        if self.of(table) is not None:
            raise AnotherPath
        del self._tried[table]
        return first

    @contextmanager
    def under(self, cursor: psycopg2.extensions.cursor, table: TableName) -> Iterator[None]:
        """Execute the block, in an open transaction, under the path for a table."""
        path = self.of(table) if self._tried else None
        if path is None:
            yield
            return
        cursor.execute("SELECT pg_catalog.set_config('search_path', %s, true)", (path,))
        yield
        cursor.execute("SET LOCAL search_path = pg_catalog")
        self._refusals.pop(table, None)  # what is refused later is another row


def _may_be_of_path(error: psycopg2.Error) -> bool:
    """Whether a refusal can be due to a name that was not found: a function may answer that with anything."""
    if isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
        return False
    return not isinstance(error, psycopg2.IntegrityError) or isinstance(error, psycopg2.errors.CheckViolation)
