"""What a standby cannot give: the rows of unlogged tables, which exist on the primary only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from coffre.model.errors import DumpError
from coffre.model.names import shown
from coffre.postgres.connection.address import Connection

type Query = Callable[..., list[tuple[Any, ...]]]

_NAMES_SHOWN: Final = 10


def refuse_unlogged(query: Query, connection: Connection, tables: Sequence[int]) -> None:
    """Refuse to read unlogged tables, by their oids, from a standby. `COPY` finds a missing file there, or no rows.

    Raises
    ------
    DumpError
        `STANDBY_UNLOGGED`, with the names of the tables.
    """
    names = [shown(schema, name) for schema, name in query(_UNLOGGED, {"tables": list(tables)})]
    if names:
        more = ", ..." if len(names) > _NAMES_SHOWN else ""
        raise DumpError(
            f"{connection} is a standby, and a standby has no rows of unlogged tables: "
            f"{', '.join(names[:_NAMES_SHOWN])}{more}.",
            code="STANDBY_UNLOGGED",
            hint=f"Put the primary server's own address into {connection.place}. If these rows can be lost, name the "
            "tables in tables.exclude_data of the target.",
        )


_UNLOGGED: Final = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE pg_catalog.pg_is_in_recovery() AND c.relpersistence = 'u' AND c.oid = ANY(%(tables)s::bigint[]::oid[])
ORDER BY 1, 2
"""
