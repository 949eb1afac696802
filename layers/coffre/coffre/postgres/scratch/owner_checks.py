"""The owner's questions to a restored database: asked by a role that can only read, one row with one value each."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, Final

import psycopg2

from coffre.model.drill_options import DrillCheck
from coffre.model.drill_report import CheckProof
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.connect import connect, one_line

# A number of JSON that every reader takes, as a floating point number at least.
_MOST_DIGITS: Final = 300

type Value = bool | int | float | str | None


def ask(
    checks: Iterable[DrillCheck], connection: Connection, children: Children, *, timeout_seconds: int
) -> Iterator[CheckProof]:
    """Yield the answer to each check. One that fails stops no other."""
    for check in checks:
        children.check()
        began = time.monotonic()
        found: Value = None
        try:
            found, error = _answer(check, connection, children, timeout_seconds), None
        except _WrongShapeError as wrong:
            error = str(wrong)
        except psycopg2.Error as refused:
            children.check()
            error = one_line(refused)
        except ValueError as unreadable:  # the driver's, of a date after the year 9999, or bytes that are no text
            error = f"Its value cannot be read: {unreadable}. Compare inside the query."
        yield CheckProof(
            name=check.name,
            query=check.query,
            expected=check.expect,
            found=found,
            passed=error is None and _is_same(found, check.expect),
            error=error,
            duration_ms=int((time.monotonic() - began) * 1000),
        )


class _WrongShapeError(Exception):
    pass


def _answer(check: DrillCheck, connection: Connection, children: Children, timeout_seconds: int) -> Value:
    # A session of its own for each: whatever a query does to its session, the next one does not see.
    with connect(connection) as session, children.cancelling(session):
        session.set_session(readonly=True)
        with session.cursor() as cursor:
            cursor.execute("RESET search_path")
            cursor.execute("SELECT set_config('statement_timeout', %s, false)", (f"{timeout_seconds}s",))
        # Of a cursor at the server no more than two rows come here, however many there are.
        with session.cursor("check_of_the_owner") as cursor:
            cursor.execute(check.query)
            rows = cursor.fetchmany(2)
            columns = len(cursor.description or ())
        if len(rows) != 1 or columns != 1:
            found = "more than one row" if len(rows) > 1 else f"{len(rows)} rows"
            raise _WrongShapeError(f"A check has to give one row with one value; this one gave {found} of {columns}.")
        return _json(rows[0][0])


def _json(value: Any) -> Value:
    if isinstance(value, Decimal | float) and (not math.isfinite(value) or Decimal(value).adjusted() > _MOST_DIGITS):
        return str(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)


def _is_same(found: Value, expected: Value) -> bool:
    # True is 1 in Python, and a count is no yes.
    return isinstance(found, bool) == isinstance(expected, bool) and found == expected
