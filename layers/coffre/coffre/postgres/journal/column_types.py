"""What the restored database knows of its columns' types, by their names as `Column.type_name` has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import psycopg2.extensions

from coffre.postgres.journal.definitions import Table

EQUAL: Final = "OPERATOR(pg_catalog.=)"


class ColumnTypes(NamedTuple):
    """What statements need to know of types.

    Parameters
    ----------
    arrays
        Those of which `unnest` makes a column of an array.
    operators
        By which values are equal, of those whose operator is not `pg_catalog`'s: such as `OPERATOR(public.=)` of
        `citext`.
    """

    arrays: frozenset[str] = frozenset()
    operators: Mapping[str, str] = MappingProxyType({})

    def equal(self, type_name: str) -> str:
        """Return the operator by which an index finds values of a type, whatever the `search_path`."""
        return self.operators.get(type_name, EQUAL)


NOTHING_KNOWN: Final = ColumnTypes()


def read_column_types(session: psycopg2.extensions.connection, tables: Iterable[Table]) -> ColumnTypes:
    """Look at the types of all columns of some tables."""
    names = list({column.type_name for table in tables for column in table.columns})
    with session, session.cursor() as cursor:
        cursor.execute(_ARRAYS, (names,))
        arrays = frozenset(name for (name,) in cursor)
        cursor.execute(_OPERATORS, (names,))
        return ColumnTypes(arrays, dict(cursor.fetchall()))


# An array of composite values would become a column for each of their fields.
# Not by to_regtype: the role may lack USAGE on a schema.
_ARRAYS: Final = """
SELECT format('%%I.%%I', n.nspname, t.typname) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE format('%%I.%%I', n.nspname, t.typname) = ANY(%s) AND t.typarray <> 0 AND t.typdelim = ','
  AND t.typtype IN ('b', 'e', 'r', 'm')
"""
# As the server chooses it for a key: of the type's default class of operators, for a domain of the type below it.
_OPERATORS: Final = """
WITH RECURSIVE types AS (
    SELECT format('%%I.%%I', n.nspname, t.typname) AS name, t.oid, t.typtype, t.typbasetype
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE format('%%I.%%I', n.nspname, t.typname) = ANY(%s)
    UNION ALL
    SELECT types.name, t.oid, t.typtype, t.typbasetype
    FROM types JOIN pg_type t ON types.typtype = 'd' AND t.oid = types.typbasetype
)
SELECT DISTINCT ON (types.name) types.name, format('OPERATOR(%%I.%%s)', n.nspname, o.oprname)
FROM types
JOIN pg_opclass c ON c.opcintype = types.oid AND c.opcdefault
JOIN pg_am a ON a.oid = c.opcmethod AND a.amname IN ('btree', 'hash')
JOIN pg_amop p ON p.amopfamily = c.opcfamily AND p.amoplefttype = c.opcintype AND p.amoprighttype = c.opcintype
  AND p.amopstrategy = CASE a.amname WHEN 'btree' THEN 3 ELSE 1 END
JOIN pg_operator o ON o.oid = p.amopopr
JOIN pg_namespace n ON n.oid = o.oprnamespace
WHERE n.nspname <> 'pg_catalog'
ORDER BY types.name, a.amname
"""
