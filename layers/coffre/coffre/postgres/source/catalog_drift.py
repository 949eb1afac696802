"""Has the catalog changed since a snapshot? `pg_dump` and `COPY` read parts of it as they are now.

`pg_get_viewdef` and its like, names of types and functions, labels of enums: what the server prints of them is the
state of this moment, whatever snapshot the transaction has. A function that was dropped meanwhile is dumped as half a
statement with exit status 0, and no server takes it back. So the catalog is compared with the snapshot's after the
schema was dumped, and what rows are printed with once more after the last row.
"""

from __future__ import annotations

from typing import Final

# Each query returns one number for every object that a snapshot shows; new objects do not matter. The number changes
# with every change of the object. Temporary tables do not matter.
_OBJECT: Final = "SELECT hashtextextended('{0} ' || o.oid || ' ' || o.xmin, 0) FROM {0} o WHERE o.oid >= 16384"
_OF_RELATION: Final = """
SELECT hashtextextended('{0} ' || o.ctid || ' ' || o.xmin, 0) FROM {0} o JOIN pg_class c ON c.oid = o.{1}
WHERE c.oid >= 16384 AND c.relpersistence <> 't'
"""
_RELATION_NAMES: Final = """
SELECT hashtextextended(format('pg_class %s %s %s', c.oid, c.relnamespace, c.relname), 0) FROM pg_class c
WHERE c.oid >= 16384 AND c.relpersistence <> 't' AND c.relkind <> 't'
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
# What the text of rows depends on: names of tables' schemas, labels of enums, fields of composite types.
OF_ROWS: Final = " UNION ALL ".join(_NAMES)
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
