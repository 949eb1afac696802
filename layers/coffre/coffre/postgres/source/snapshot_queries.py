"""What the holder of the snapshot asks the catalogs."""

from __future__ import annotations

from typing import Final

from coffre.postgres.source.table_sizes import SIZES

_COLUMNS: Final = """
ARRAY(SELECT a.attname::text FROM pg_attribute a
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum)
"""

# A query on a table looks into the expressions of its indexes and statistics. A function in SQL that names things
# without their schema fails there (earthdistance before PostgreSQL 16), as our search path is empty, and so does one
# that is called through another or an operator. A plain COPY asks for no plan.
_EXPRESSIONS: Final = """
(EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL))
 OR EXISTS (SELECT FROM pg_statistic_ext s WHERE s.stxrelid = c.oid AND to_jsonb(s) ->> 'stxexprs' IS NOT NULL))
"""

TABLES: Final = f"""
SELECT c.oid::bigint, n.nspname, c.relname, {_COLUMNS}, NULL, false, {_EXPRESSIONS}
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY(%(tables)s::bigint[]::oid[]) AND c.relkind = 'r'
"""  # noqa: S608 - the parts are constants

NAMES: Final = """
SELECT c.oid::bigint, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY(%(tables)s::bigint[]::oid[])
"""

EXTENSION_TABLES: Final = f"""
SELECT c.oid::bigint, n.nspname, c.relname, {_COLUMNS}, NULLIF(x.condition, ''), true, {_EXPRESSIONS}
FROM pg_extension e
CROSS JOIN LATERAL unnest(e.extconfig, e.extcondition) AS x(relation, condition)
JOIN pg_class c ON c.oid = x.relation JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE e.oid = ANY(%(extensions)s::bigint[]::oid[]) AND c.relkind = 'r'
"""  # noqa: S608 - the parts are constants

SIZES_OF: Final = f"""
SELECT c.oid::bigint, {SIZES} FROM pg_class c WHERE c.oid = ANY(%(tables)s::bigint[]::oid[])
"""  # noqa: S608 - the part is a constant

# Keys between configuration tables, which exist before their rows.
EXTENSION_KEYS: Final = """
SELECT k.conrelid::bigint, array_agg(DISTINCT k.confrelid::bigint ORDER BY k.confrelid::bigint)
FROM pg_constraint k
WHERE k.contype = 'f' AND k.conrelid <> k.confrelid
  AND ARRAY[k.conrelid, k.confrelid] <@ ARRAY(
    SELECT unnest(e.extconfig) FROM pg_extension e WHERE e.oid = ANY(%(extensions)s::bigint[]::oid[]))
GROUP BY k.conrelid
"""

SEQUENCES: Final = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND (c.oid = ANY(%(sequences)s::bigint[]::oid[]) OR c.oid IN (
    SELECT unnest(extconfig) FROM pg_extension WHERE oid = ANY(%(extensions)s::bigint[]::oid[])))
ORDER BY 1, 2
"""

EXTENSION_SEQUENCES: Final = """
SELECT unnest(extconfig)::bigint FROM pg_extension WHERE oid = ANY(%(extensions)s::bigint[]::oid[])
"""

OWNED_SEQUENCES: Final = """
SELECT c.oid::bigint FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
  AND d.refobjid = ANY(%(tables)s::bigint[]::oid[])
"""

MATERIALIZED_VIEWS: Final = """
SELECT c.oid::bigint, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY(%(views)s::bigint[]::oid[]) AND c.relkind = 'm' AND c.relispopulated ORDER BY 1
"""

# What each view's rule reads, directly or through plain views; the same walk as pg_dump's.
MATERIALIZED_VIEW_NEEDS: Final = """
WITH RECURSIVE reads(view, relation) AS (
    SELECT r.ev_class, d.refobjid FROM pg_rewrite r
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
    WHERE r.ev_class = ANY(%(views)s::bigint[]::oid[]) AND d.refobjid <> r.ev_class
  UNION
    SELECT reads.view, d.refobjid FROM reads
    JOIN pg_class c ON c.oid = reads.relation AND c.relkind = 'v'
    JOIN pg_rewrite r ON r.ev_class = c.oid
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
    WHERE d.refobjid <> r.ev_class)
SELECT DISTINCT view::bigint, relation::bigint FROM reads
"""
