"""How far transactions fit definitions, where one of them has changed those and nothing says which."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from coffre.model.names import shown
from coffre.postgres.journal.changes import Begin, Change, Commit, Delete, Lines, Row, Truncate, Update
from coffre.postgres.journal.definitions import Definitions, Table
from coffre.postgres.journal.test_decoding import decode
from coffre.postgres.journal.transactions import BaseSnapshot, Transaction

_MOST_WITHOUT_ROWS: Final = 5


class Fit(NamedTuple):
    """The transactions up to `lsn` have no row that does not fit.

    Parameters
    ----------
    last
        The last of them; None: there is none.
    misfit
        The first that does not fit, with `why`; None: all fit.
    without_rows
        Those of them that changed no row, the newest five: statements that change definitions are such, as a rule.
    """

    lsn: int
    last: Transaction | None
    misfit: Transaction | None
    why: str
    without_rows: tuple[Transaction, ...]


def fit(lines: Lines, definitions: Definitions, after_lsn: int, base: BaseSnapshot | None = None) -> Fit:
    """Return how far the transactions of a segment fit definitions.

    Parameters
    ----------
    after_lsn
        What was committed up to there is known to fit.
    base
        What has seen transactions that are not applied then, and need not fit.

    Raises
    ------
    JournalError
        `JOURNAL_UNREADABLE`
    """
    last, without_rows = None, list[Transaction]()
    for transaction, has_rows, why in _transactions(lines, definitions):
        if transaction.commit_lsn <= after_lsn:
            continue
        if why is not None and base is not None and base.has(transaction):
            why = None  # noqa: PLW2901
        if why is not None:
            lsn = last.commit_lsn if last is not None else after_lsn
            return Fit(lsn, last, transaction, why, tuple(without_rows))
        if not has_rows:
            without_rows = [*without_rows, transaction][-_MOST_WITHOUT_ROWS:]
        last = transaction
    return Fit(last.commit_lsn if last is not None else after_lsn, last, None, "", tuple(without_rows))


def _transactions(lines: Lines, definitions: Definitions) -> Iterator[tuple[Transaction, bool, str | None]]:
    """Yield transactions, each with whether it has rows, and why one of them does not fit."""
    begun, has_rows, why = Begin(0, 0), False, None
    for change in decode(lines()):
        if isinstance(change, Begin):
            begun, has_rows, why = change, False, None
        elif isinstance(change, Commit):
            yield Transaction(change.xid, begun.lsn, change.lsn, change.time), has_rows, why
        else:
            has_rows, why = True, why or misfit(change, definitions)


def misfit(change: Change, definitions: Definitions) -> str | None:
    """Say why a change does not fit definitions; None: it does, as far as names show."""
    if isinstance(change, Begin | Commit):
        return None
    for name in change.tables if isinstance(change, Truncate) else (change.table,):
        if name not in definitions.tables and name not in definitions.views:
            return f"the table {shown(*name)} did not exist"
    if isinstance(change, Truncate) or change.table not in definitions.tables:
        return None
    table = definitions.tables[change.table]
    if isinstance(change, Update | Delete) and not table.has_identity:
        return f"nothing identified the rows of {shown(*table.name)}"
    if isinstance(change, Delete):
        return _misfit_of_old(change.old, table)
    if change.new is None:
        return f"a row of {shown(*table.name)} was not logged"
    wrong = _misfit_of_new(change.new, table)
    if wrong is not None or not isinstance(change, Update) or (change.old is None and table.key):
        return wrong  # a row whose key has not changed is identified by it
    return _misfit_of_old(change.old, table)


def _misfit_of_new(row: Row, table: Table) -> str | None:
    columns = {column.name for column in table.columns}
    if further := sorted(set(row.names) - columns):
        return f"{shown(*table.name)} had no column {further[0]!r}"
    if lacking := sorted({column.name for column in table.columns if not column.generated} - set(row.names)):
        return f"{shown(*table.name)} had the column {lacking[0]!r} as well"
    return None


def _misfit_of_old(row: Row | None, table: Table) -> str | None:
    if row is None:
        return f"nothing identified a row of {shown(*table.name)}"
    columns = {column.name for column in table.columns} if table.is_full else set(table.key)
    if other := sorted(set(row.names) - columns):
        return f"{other[0]!r} did not identify the rows of {shown(*table.name)}"
    if lacking := [] if table.is_full else sorted(columns - set(row.names)):  # of a whole row, NULLs are left out
        return f"{lacking[0]!r} identified the rows of {shown(*table.name)} as well"
    return None
