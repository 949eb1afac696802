"""Tables whose rows were refused or are damaged, and why."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import psycopg2
import psycopg2.errors
import psycopg2.extensions

from coffre.model.errors import CoffreError, IntegrityError
from coffre.model.manifest import Entry
from coffre.model.names import TableName
from coffre.postgres.connection.connect import one_line
from coffre.postgres.destination.copy_in import is_refusal

type RowsError = CoffreError | psycopg2.Error


_SLICES_SHOWN: Final = 10


@dataclass
class Refused:
    """The tables of one load whose rows could not be loaded so far, and why. Thread-safe."""

    _errors: dict[TableName, RowsError] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: TableName, error: RowsError) -> None:
        """Remember a table; the first reason counts."""
        with self._lock:
            self._errors.setdefault(name, error)

    def __contains__(self, name: TableName) -> bool:
        return name in self._errors

    def tables(self) -> dict[TableName, RowsError]:
        """Return the tables with their reasons."""
        with self._lock:
            return dict(self._errors)


@dataclass(frozen=True)
class DamagedSlices:
    """The damaged slices of a table that has `total` of them; the others are intact."""

    damaged: Sequence[Entry]
    total: int

    @property
    def rows(self) -> int:
        """The number of rows that they had."""
        return sum(entry.rows or 0 for entry in self.damaged)

    def __str__(self) -> str:
        names = ", ".join(entry.name for entry in self.damaged[:_SLICES_SHOWN])
        more = f" and {len(self.damaged) - _SLICES_SHOWN:,} more" if len(self.damaged) > _SLICES_SHOWN else ""
        return f"{len(self.damaged):,} of {self.total:,} slices: {names}{more}"


def may_be_left_out(error: RowsError) -> bool:
    """Whether an error is about one table, its rows or its bytes, and not about the whole restore."""
    if isinstance(error, CoffreError):
        cause = error.__cause__
        is_refused = error.code == "COPY_FAILED" and isinstance(cause, psycopg2.Error) and is_refusal(cause)
        return isinstance(error, IntegrityError) or is_refused
    return is_refusal(error)


def why_refused(error: RowsError) -> str:
    return (
        f"{'they are damaged' if isinstance(error, IntegrityError) else 'the server refused them'} ({words_of(error)})"
    )


def words_of(error: RowsError) -> str:
    return one_line(error) if isinstance(error, psycopg2.Error) else error.detail or error.message.rstrip(".")


def state_of(error: RowsError) -> str | None:
    """Return the SQLSTATE with which the server refused; None of damaged bytes."""
    cause = error if isinstance(error, psycopg2.Error) else error.__cause__
    return cause.pgcode if isinstance(cause, psycopg2.Error) else None
