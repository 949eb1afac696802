"""The publication that the plugin `pgoutput` needs: the owner of the tables makes it, and it has to have whole tables.

What it leaves out is in no stream, and nothing in the stream says so. So it is read with each look: before a slot is
made, and as it was then ever after. Another one needs a new slot, because a slot that exists has transactions open that
began under the old one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg2.extensions

from coffre.model.errors import JournalError
from coffre.model.journal_options import PUBLICATION
from coffre.model.names import TableName, shown
from coffre.postgres.journal.definitions import Definitions

_HAS_SCHEMAS: Final = 150000
_MOST_NAMES: Final = 20


@dataclass(frozen=True)
class Publication:
    """A publication that has all changes of its tables, and one text for all that it says: another one after a change.

    `tables` are those that have rows: partitions and not their parents.
    """

    tables: frozenset[TableName]
    sha256: str


type Ask = Callable[[str, dict[str, object]], list[tuple[Any, ...]]]
"""Asks the server in one transaction: a statement and its parameters."""


def asking(session: psycopg2.extensions.connection) -> Ask:
    """Return what asks in the session's transaction."""

    def ask(statement: str, parameters: dict[str, object]) -> list[tuple[Any, ...]]:
        with session.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall()

    return ask


def read_publication(ask: Ask) -> Publication:
    """Read the publication.

    Raises
    ------
    JournalError
        `JOURNAL_PUBLICATION`: it does not exist, or has only a part of what changes.
    """
    found = ask(_PUBLICATION, {"name": PUBLICATION})
    if not found:
        raise unusable("does not exist")
    ((major, oid, version, is_of_all, is_by_root, has_all_changes, members, partial),) = found
    if major >= _HAS_SCHEMAS:
        members = [*members, *(member for (member,) in ask(_SCHEMAS, {"oid": oid}))]
    tables = frozenset((schema, name) for schema, name in ask(_TABLES, {"name": PUBLICATION}))
    if is_of_all:
        raise unusable("is for all tables: an UPDATE or DELETE in one without a primary key fails in the application")
    if not has_all_changes:
        raise unusable("does not publish insert, update, delete and truncate")
    if is_by_root:
        raise unusable("publishes partitions under the names of their parents (publish_via_partition_root)")
    if partial:
        listed = ", ".join(partial[:_MOST_NAMES])
        raise unusable(f"has only some rows or columns of {listed}")
    digest = hashlib.sha256(repr((oid, version, members)).encode())
    return Publication(tables, digest.hexdigest())


def followed(definitions: Definitions, publication: Publication) -> Definitions:
    """Return the definitions of what the publication has: other tables are as a base has them.

    Raises
    ------
    JournalError
        `JOURNAL_PUBLICATION`: `pgoutput` leaves out the columns that identify rows of a table.
    """
    tables = {
        name: table
        for name, table in definitions.tables.items()
        if table.is_partitioned or table.name in publication.tables
    }
    for name, table in tables.items():
        if {column.name for column in table.columns if column.generated}.intersection(table.key):
            raise unusable(f"has the table {shown(*name)}, whose key is generated: the server does not send it")
    return replace(definitions, tables=tables)


def left_out(all_of_them: Definitions, followed: Definitions) -> tuple[str, ...]:
    """Return the tables that are not followed, as people read them, sorted."""
    return tuple(sorted(shown(*name) for name in all_of_them.tables.keys() - followed.tables.keys()))


def unusable(why: str) -> JournalError:
    """Return the error of a publication that a journal cannot be made from."""
    return JournalError(
        f'The publication "{PUBLICATION}", which the plugin pgoutput needs, {why}.',
        code="JOURNAL_PUBLICATION",
        hint="The owner of the tables makes it: coffre doctor TARGET prints the statement. The journal begins again"
        " with the next drain then.",
    )


# prqual and prattrs since PostgreSQL 15. Members that were taken out and put back have other numbers.
_PUBLICATION: Final = """
SELECT current_setting('server_version_num')::int, p.oid::bigint, p.xmin::text, p.puballtables, p.pubviaroot,
       p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate,
       coalesce((SELECT array_agg(format('%%s %%s %%s', r.oid, r.xmin, r.prrelid) ORDER BY r.oid)
                 FROM pg_publication_rel r WHERE r.prpubid = p.oid), '{}'),
       coalesce((SELECT array_agg(format('%%I.%%I', n.nspname, c.relname) ORDER BY n.nspname, c.relname)
                 FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid
                 JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE r.prpubid = p.oid AND (to_jsonb(r) ->> 'prqual' IS NOT NULL
                                              OR to_jsonb(r) ->> 'prattrs' IS NOT NULL)), '{}')
FROM pg_publication p WHERE p.pubname = %(name)s
"""
_SCHEMAS: Final = """
SELECT format('%%s %%s %%s', n.oid, n.xmin, n.pnnspid) FROM pg_publication_namespace n WHERE n.pnpubid = %(oid)s
ORDER BY n.oid
"""
_TABLES: Final = "SELECT schemaname::text, tablename::text FROM pg_publication_tables WHERE pubname = %(name)s"
