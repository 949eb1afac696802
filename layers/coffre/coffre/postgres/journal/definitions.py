"""The definitions of the tables that a journal follows, and which of their changes it cannot follow.

A change stream has rows alone. Definitions are read at each drain and compared: whatever has changed in between is a
barrier, because nothing shows that the rows before and after it fit the same definitions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import psycopg2.extensions

from coffre.model.names import TableName

BY_INDEX: Final = "i"
"""The replica identity of a table that an index was chosen for."""
_FULL: Final = "f"
_ALWAYS: Final = "a"
_PARTITIONED: Final = "p"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Parameters
    ----------
    type_name
        Quoted for a statement, as `pg_catalog.bpchar`: without the length that the name `character` implies.
    identity, generated
        `pg_attribute`'s letters; empty for an ordinary column.
    version
        The transaction that last defined it.
    """

    number: int
    name: str
    type_name: str
    modifier: int
    identity: str
    generated: str
    version: int

    @property
    def is_always_identity(self) -> bool:
        """Whether no UPDATE can set it, and an INSERT only if it overrides it."""
        return self.identity == _ALWAYS


@dataclass(frozen=True)
class Table:
    """A table whose changes are in the stream.

    Parameters
    ----------
    kind
        `r`, or `p` for a partitioned one, which has no rows of its own.
    file
        Its `relfilenode`: another one after the table was emptied or rewritten.
    version
        The transaction that last changed its entry in `pg_class`.
    replica_identity
        `pg_class.relreplident`: `d`, `i`, `f` or `n`.
    key
        The columns that find a row by what the stream has of it; empty if there are none. With the identity `f` those
        of the primary key.
    has_further_keys
        Whether another unique index or an exclusion constraint exists: then the order of updates matters.
    toast
        Its TOAST table: another one after it was rewritten, and the same after it was emptied; 0: it has none.
    command
        The command within the transaction `version` that last changed its entry in `pg_class`, from 0 on.
    indexes
        How many it has.
    """

    oid: int
    name: TableName
    kind: str
    file: int
    version: int
    replica_identity: str
    key: tuple[str, ...]
    has_further_keys: bool
    columns: tuple[Column, ...]
    # Not of its shape: what is a hash of that was written by versions without these.
    toast: int = field(default=0, repr=False)
    command: int = field(default=0, repr=False)
    indexes: int = field(default=0, repr=False)

    @property
    def is_partitioned(self) -> bool:
        """Whether its rows are those of its partitions."""
        return self.kind == _PARTITIONED

    @property
    def is_full(self) -> bool:
        """Whether the stream has whole rows as their identity."""
        return self.replica_identity == _FULL

    @property
    def has_identity(self) -> bool:
        """Whether the stream says which row an UPDATE or a DELETE has changed."""
        return self.is_full or bool(self.key)


class UserType(NamedTuple):
    """A type of the users': an enum with its labels, a composite type with its fields, a domain or a range.

    `version` is the transaction that last defined it.
    """

    oid: int
    version: int
    labels: tuple[str, ...] | None
    fields: tuple[str, ...] | None


@dataclass(frozen=True)
class Definitions:
    """What a stream can have rows of, and the users' own types.

    `views` are materialized views: the stream has rows of theirs, which a restore computes instead. `names` have a text
    for each schema (its name, and nothing) and each enum's labels, which is another one after they were renamed, also
    if they have their names again.
    """

    tables: dict[TableName, Table]
    views: frozenset[TableName]
    types: dict[TableName, UserType]
    names: dict[TableName, str] = field(default_factory=dict)

    def without_identity(self) -> list[TableName]:
        """Return the tables of which no UPDATE or DELETE can be followed, sorted by name."""
        tables = self.tables.values()
        return sorted(table.name for table in tables if not (table.is_partitioned or table.has_identity))


def read_definitions(session: psycopg2.extensions.connection) -> Definitions:
    """Read the definitions as the session's transaction sees them."""
    with session.cursor() as cursor:
        cursor.execute(_COLUMNS)
        columns: dict[int, list[Column]] = {}
        for oid, *column in cursor.fetchall():
            columns.setdefault(oid, []).append(Column(*column))
        cursor.execute(_TABLES)
        tables = dict[TableName, Table]()
        for (
            oid,
            schema,
            name,
            kind,
            file,
            version,
            identity,
            key,
            has_further_keys,
            toast,
            command,
            indexes,
        ) in cursor.fetchall():
            tables[schema, name] = Table(
                oid,
                (schema, name),
                kind,
                file,
                version,
                identity,
                tuple(key),
                has_further_keys,
                tuple(columns.get(oid, ())),
                toast,
                command,
                indexes,
            )
        cursor.execute(_VIEWS)
        views = frozenset((schema, name) for schema, name in cursor.fetchall())
        cursor.execute(_TYPES)
        types = {
            (schema, name): UserType(oid, version, _texts(labels), _texts(fields))
            for oid, schema, name, version, labels, fields in cursor
        }
        cursor.execute(_NAMES)
        names = {(schema, name): version for schema, name, version in cursor}
    return Definitions(tables, views, types, names)


def _texts(found: list[str] | None) -> tuple[str, ...] | None:
    return None if found is None else tuple(found)


_OURS: Final = """
n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp_|toast_temp_)'
"""
_IDENTIFYING: Final = """
i.indisvalid AND i.indimmediate AND (
    (c.relreplident IN ('d', 'f') AND i.indisprimary) OR (c.relreplident = 'i' AND i.indisreplident)
)
"""
_TABLES: Final = f"""
SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text,
       coalesce(pg_catalog.pg_relation_filenode(c.oid), 0)::bigint, c.xmin::text::bigint, c.relreplident::text,
       coalesce((
           SELECT array_agg(a.attname::text ORDER BY k.place)
           FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (number, place)
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
           WHERE i.indrelid = c.oid AND k.place <= i.indnkeyatts AND {_IDENTIFYING}
       ), '{{}}'),
       EXISTS (
           SELECT FROM pg_index i
           WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion) AND NOT ({_IDENTIFYING})
       ),
       c.reltoastrelid::bigint, c.cmin::text::bigint, (SELECT count(*) FROM pg_index i WHERE i.indrelid = c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND {_OURS}
"""  # noqa: S608 - constants
_COLUMNS: Final = f"""
SELECT c.oid::bigint, a.attnum, a.attname::text,
       pg_catalog.format('%I.%I', tn.nspname, t.typname), a.atttypmod, a.attidentity::text, a.attgenerated::text,
       a.xmin::text::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace tn ON tn.oid = t.typnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND {_OURS}
ORDER BY a.attnum
"""  # noqa: S608
_VIEWS: Final = f"""
SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND {_OURS}
"""  # noqa: S608
# A table's own row type is its columns.
_TYPES: Final = f"""
SELECT t.oid::bigint, n.nspname::text, t.typname::text, t.xmin::text::bigint,
       (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
       (SELECT array_agg(a.attname || ' ' || a.atttypid || ' ' || a.atttypmod ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE t.typtype IN ('c', 'd', 'e', 'r') AND coalesce(c.relkind = 'c', true) AND {_OURS}
"""  # noqa: S608
_NAMES: Final = f"""
SELECT n.nspname::text, '', n.xmin::text FROM pg_namespace n WHERE {_OURS}
UNION ALL
SELECT n.nspname::text, t.typname::text,
       hashtextextended(string_agg(e.oid || ' ' || e.xmin, ',' ORDER BY e.oid), 0)::text
FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE {_OURS} GROUP BY 1, 2
"""  # noqa: S608
