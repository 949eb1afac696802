"""Partitioned tables in use whose rows may belong into other partitions than at the source: compared as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import psycopg2.extensions

from coffre.model.manifest import TableContent
from coffre.model.names import TableName
from coffre.operations.restore_database.job import Source
from coffre.operations.restore_database.staging import Staging
from coffre.postgres.archive.dependencies import with_partitions
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.connection.partition_routes import leaves_below, roots_for_loading


def with_roots(
    session: psycopg2.extensions.connection, source: Source, chosen: Mapping[TableName, TocEntry], beside: Staging
) -> Staging:
    """Put partitions together whose root was chosen, where both the backup and the database have the same partitions.

    Others are compared each by itself: rows of a partition that only one of the two has are no extra rows of the table.
    """
    roots = roots_for_loading(session, beside.contents, source.content.encoding)
    partitions = {}
    for root in chosen.keys() & beside.live.keys() & set(roots.values()):
        backed_up = {(entry.schema or "", entry.tag) for entry in with_partitions(source.toc, [chosen[root]])}
        ours = {name: it for name, it in beside.contents.items() if name in backed_up and roots.get(name) == root}
        is_whole = leaves_below(session, root) == ours.keys() == backed_up & _leaves(source)
        if is_whole and (beside.live[root].key or not any(beside.live[name].key for name in ours)):
            partitions[root] = ours
    together = {name for parts in partitions.values() for name in parts}
    contents = {name: it for name, it in beside.contents.items() if name not in together}
    wholes = {root: _whole(root, parts) for root, parts in partitions.items()}
    return replace(beside, contents=contents | wholes, partitions=partitions)


def _leaves(source: Source) -> set[TableName]:
    return {(table.schema_name, table.table_name) for table in source.content.tables}


def _whole(root: TableName, parts: Mapping[TableName, TableContent]) -> TableContent:
    first, *_ = parts.values()
    return first.model_copy(
        update={
            "schema_name": root[0],
            "table_name": root[1],
            "rows": sum(table.rows for table in parts.values()),
            "size": sum(table.size for table in parts.values()),
            "through": None,
        }
    )
