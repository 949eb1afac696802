"""What makes a snapshot the same one, wherever a session imports it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

type Query = Callable[[str], list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Identity:
    """The server (`system` is None where the role may not ask), the database, and what is visible in a snapshot."""

    system: str | None
    database: str
    visible: str
    is_standby: bool = False


def read_identity(query: Query) -> Identity:
    """Return what the transaction of a session sees."""
    [(is_standby, database, may_ask)] = query(_SERVER)
    [(system,)] = query(_SYSTEM) if may_ask else [(None,)]
    # A standby assigns no numbers of transactions.
    [(visible,)] = [("",)] if is_standby else query(_VISIBLE)
    return Identity(system, database, visible, is_standby)


_SERVER: Final = """
SELECT pg_catalog.pg_is_in_recovery(), current_database()::text,
       has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')
"""
_SYSTEM: Final = "SELECT system_identifier::text FROM pg_catalog.pg_control_system()"
# All versions have it; its text is that of pg_current_snapshot.
_VISIBLE: Final = "SELECT pg_catalog.txid_current_snapshot()::text"
