"""Has the catalog changed since a snapshot? `pg_dump` and `COPY` read parts of it as they are now.

`pg_get_viewdef` and its like, names of types and functions, labels of enums: what the server prints of them is the
state of this moment, whatever snapshot the transaction has. A function that was dropped meanwhile is dumped as half a
statement with exit status 0, and no server takes it back. So the catalog is compared with the snapshot's after the
schema was dumped; of each table, its storage, its columns and what its rows are printed with are compared again under
the lock in which it is read (ADR 50).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

# Each query returns one number for every object that a snapshot shows; new objects do not matter. The number changes
# with every change of the object. Temporary tables do not matter, nor tables of large values (pg_toast): to refresh a
# materialized view makes those again.
_OBJECT: Final = "SELECT hashtextextended('{0} ' || o.oid || ' ' || o.xmin, 0) FROM {0} o WHERE o.oid >= 16384"
_OF_RELATION: Final = """
SELECT hashtextextended('{0} ' || o.ctid || ' ' || o.xmin, 0) FROM {0} o JOIN pg_class c ON c.oid = o.{1}
WHERE c.oid >= 16384 AND c.relpersistence <> 't' AND c.relnamespace <> 'pg_toast'::regnamespace
"""
_RELATION_NAMES: Final = """
SELECT hashtextextended(format('pg_class %s %s %s', c.oid, c.relnamespace, c.relname), 0) FROM pg_class c
WHERE c.oid >= 16384 AND c.relpersistence <> 't' AND c.relnamespace <> 'pg_toast'::regnamespace
"""
_ATTRIBUTES: Final = """
SELECT hashtextextended(string_agg(format('pg_attribute %s %s %s %s %s %s',
    a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attisdropped), ',' ORDER BY a.attnum), 0)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE a.attnum > 0 AND c.oid >= 16384 AND c.relpersistence <> 't' AND c.relkind {0} GROUP BY a.attrelid
"""
_NAMES: Final = (
    _OBJECT.format("pg_namespace"),
    _OBJECT.format("pg_enum"),
    _RELATION_NAMES,
    _ATTRIBUTES.format("= 'c'"),
)
_NOT_OF_A_TABLE: Final = """
AND NOT EXISTS (SELECT FROM pg_class c WHERE c.reltype = o.oid)
AND NOT EXISTS (SELECT FROM pg_type e JOIN pg_class c ON c.reltype = e.oid WHERE e.typarray = o.oid)
"""
OF_SCHEMA: Final = " UNION ALL ".join(
    (
        *_NAMES,
        _ATTRIBUTES.format("IN ('v', 'm', 'f')"),
        *(_OBJECT.format(catalog) for catalog in ("pg_proc", "pg_operator", "pg_collation", "pg_event_trigger")),
        _OBJECT.format("pg_type") + _NOT_OF_A_TABLE,
        *(
            _OF_RELATION.format(*catalog)
            for catalog in (
                ("pg_rewrite", "ev_class"),
                ("pg_constraint", "conrelid"),
                ("pg_index", "indrelid"),
                ("pg_trigger", "tgrelid"),
                ("pg_attrdef", "adrelid"),
                ("pg_policy", "polrelid"),
                ("pg_statistic_ext", "stxrelid"),
            )
        ),
        _OBJECT.format("pg_constraint") + " AND o.contypid <> 0",
    )
)

type Fact = tuple[int, int, int]
"""A table's oid, the number of its columns, and a hash of all that must stay; both are 0 where no table has changed."""

# Built-in types whose text has names in it: regclass and its like, privileges.
_NAMES_THINGS: Final = "t.oid < 16384 AND t.typname ~ '^(reg|aclitem)'"
_OF_TABLES: Final = f"""
WITH RECURSIVE wanted(oid, width) AS ({{0}}),
reached(oid) AS (
    SELECT DISTINCT t.oid FROM wanted w
    JOIN pg_attribute a ON a.attrelid = w.oid AND a.attnum BETWEEN 1 AND w.width AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid WHERE t.oid >= 16384 OR t.typname ~ '^_?(reg|aclitem)'
  UNION
    SELECT inner_type.oid FROM reached JOIN pg_type t ON t.oid = reached.oid CROSS JOIN LATERAL (
        SELECT t.typbasetype WHERE t.typtype = 'd'
      UNION ALL
        SELECT t.typelem WHERE t.typelem <> 0
      UNION ALL
        SELECT a.atttypid FROM pg_attribute a
        WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
      UNION ALL
        SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid OR (to_jsonb(r) ->> 'rngmultitypid')::oid = t.oid
    ) AS inner_type(oid)),
naming AS (SELECT FROM reached JOIN pg_type t ON t.oid = reached.oid WHERE {_NAMES_THINGS} LIMIT 1)
SELECT c.oid::bigint, w.width::bigint, hashtextextended(concat_ws(' ', c.relfilenode, c.relkind, c.relname, n.oid,
    n.nspname, n.xmin, (
        SELECT string_agg(format('%s %s %s', a.attnum, a.attname, a.atttypid), ',' ORDER BY a.attnum)
        FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum BETWEEN 1 AND w.width AND NOT a.attisdropped)), 0)
FROM wanted w JOIN pg_class c ON c.oid = w.oid JOIN pg_namespace n ON n.oid = c.relnamespace
UNION ALL
SELECT 0, 0, hashtextextended(format('pg_enum %s %s', e.oid, e.xmin), 0)
FROM reached JOIN pg_enum e ON e.enumtypid = reached.oid
UNION ALL
SELECT 0, 0, hashtextextended(string_agg(format('pg_attribute %s %s %s %s %s %s',
    a.attrelid, a.attnum, a.attname, a.atttypid, a.attisdropped, a.xmin), ',' ORDER BY a.attnum), 0)
FROM reached JOIN pg_type t ON t.oid = reached.oid AND t.typtype = 'c'
JOIN pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0 GROUP BY a.attrelid
UNION ALL
SELECT 0, 0, hashtextextended(concat_ws(' ', 'name', name.class, name.oid, name.space, name.name), 0)
FROM naming CROSS JOIN LATERAL (
    SELECT 'class', oid, relnamespace, relname FROM pg_class WHERE relpersistence <> 't' AND relkind <> 't'
  UNION ALL SELECT 'space', oid, 0::oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_'
  UNION ALL SELECT 'function', oid, pronamespace, proname FROM pg_proc
  UNION ALL SELECT 'operator', oid, oprnamespace, oprname FROM pg_operator
  UNION ALL SELECT 'type', t.oid, typnamespace, typname FROM pg_type t
    WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.relpersistence = 't' AND c.reltype IN (t.oid, t.typelem))
  UNION ALL SELECT 'collation', oid, collnamespace, collname FROM pg_collation
  UNION ALL SELECT 'config', oid, cfgnamespace, cfgname FROM pg_ts_config
  UNION ALL SELECT 'dictionary', oid, dictnamespace, dictname FROM pg_ts_dict
  UNION ALL SELECT 'role', oid, 0::oid, rolname FROM pg_roles
) AS name(class, oid, space, name) WHERE name.oid >= 16384
"""  # noqa: S608 - the parts are constants


def shown_of_tables(oids: Iterable[int]) -> str:
    """Return the query for the facts of tables as a snapshot shows them.

    Facts are what the text of their rows depends on, and what no snapshot keeps: the storage, which `TRUNCATE` and
    rewrites replace; the names by which `COPY` finds table and columns; the columns' types; labels of enums, fields of
    composite types and, where a column prints names (`regclass`), all names. Schemas, labels and fields count as
    changed with every change; nothing of tables does that was changed back.
    """
    numbers = ",".join(str(int(oid)) for oid in oids)
    wanted = f"SELECT oid, relnatts FROM pg_class WHERE oid = ANY('{{{numbers}}}'::oid[])"  # noqa: S608 - numbers
    return _OF_TABLES.format(wanted)


PRESENT_OF_TABLES: Final = _OF_TABLES.format("SELECT * FROM unnest($1, $2)")
"""The query for the same facts now, of tables (`oid[]`) as wide as a snapshot shows them (`int2[]`).

What was added since is not in it: columns, and labels and things with names that the snapshot does not show.
"""
