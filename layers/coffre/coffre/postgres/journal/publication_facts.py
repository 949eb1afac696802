"""Facts about the publication of a journal, for `coffre doctor`."""

from __future__ import annotations

from typing import Final

from coffre.model.errors import JournalError
from coffre.model.journal_options import PUBLICATION
from coffre.policy.checks.publication import JournalPublication
from coffre.postgres.inspection.sessions import Query
from coffre.postgres.journal.publication import read_publication


def read_journal_publication(query: Query) -> JournalPublication:
    """Return what the publication has that the plugin `pgoutput` needs."""
    ((exists,),) = query(_EXISTS, {"name": PUBLICATION})
    tables = [(str(name), bool(finds), bool(has)) for name, finds, has in query(_PUBLISHED, {"name": PUBLICATION})]
    why = None
    try:
        read_publication(query)
    except JournalError as error:
        why = error.message
    return JournalPublication(
        name=PUBLICATION,
        exists=bool(exists),
        why=why,
        lacking=tuple(name for name, finds, has in tables if finds and not has),
        keyless=tuple(name for name, finds, has in tables if not finds and not has),
        failing=tuple(name for name, finds, has in tables if not finds and has),
        all_tables=tuple(name for name, finds, _ in tables if finds),
    )


_EXISTS: Final = "SELECT EXISTS (SELECT FROM pg_publication WHERE pubname = %(name)s)"
# A partition is published with its parent, if that can be. A deferrable key identifies no row; nor does, since
# PostgreSQL 18, a whole row with a generated column, which a publication does not have.
_PUBLISHED: Final = """
WITH ours AS (
    SELECT c.oid, n.nspname, c.relname, c.relkind, CASE WHEN c.relispartition THEN pg_partition_root(c.oid) END AS root,
           CASE WHEN k.indexrelid IS NULL THEN c.relreplident = 'f' AND c.relkind = 'r'
           ELSE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY (k.indkey)
                            AND a.attgenerated <> '') END
           AND NOT (c.relreplident = 'f' AND current_setting('server_version_num')::int >= 180000
                    AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped
                                AND a.attgenerated <> '')) AS finds
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_index k ON k.indrelid = c.oid AND k.indisvalid AND k.indimmediate
          AND CASE c.relreplident WHEN 'i' THEN k.indisreplident WHEN 'n' THEN false ELSE k.indisprimary END
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND n.nspname !~ '^pg_'
      AND n.nspname <> 'information_schema'
)
SELECT format('%%I.%%I', o.nspname, o.relname), o.finds,
       CASE o.relkind WHEN 'p' THEN NOT EXISTS (SELECT FROM ours leaf WHERE leaf.root = o.oid AND leaf.relkind = 'r'
            AND NOT EXISTS (SELECT FROM pg_publication_tables t WHERE t.pubname = %(name)s
                            AND (t.schemaname, t.tablename) = (leaf.nspname, leaf.relname)))
       ELSE EXISTS (SELECT FROM pg_publication_tables t WHERE t.pubname = %(name)s
                    AND (t.schemaname, t.tablename) = (o.nspname, o.relname)) END
FROM ours o LEFT JOIN ours r ON r.oid = o.root
WHERE NOT coalesce(r.finds, false) AND NOT (o.relkind = 'p' AND (o.root IS NOT NULL OR NOT o.finds))
ORDER BY 1
"""
