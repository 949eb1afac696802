"""The materialized views of a backup, in an order in which they can be refreshed."""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

from coffre.model.manifest import RelationName
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.source.snapshot_queries import MATERIALIZED_VIEW_NEEDS, MATERIALIZED_VIEWS
from coffre.postgres.source.unstored import Query


def in_order_of_refresh(query: Query, toc: Sequence[TocEntry]) -> tuple[RelationName, ...]:
    """Return the populated materialized views, each after those that it reads."""
    oids = [entry.oid for entry in toc if entry.description == "MATERIALIZED VIEW"]
    names = {oid: (schema, name) for oid, schema, name in query(MATERIALIZED_VIEWS, {"views": oids})}
    needs: dict[int, set[int]] = {oid: set() for oid in names}
    for view, needed in query(MATERIALIZED_VIEW_NEEDS, {"views": list(names)}):
        if needed in names and needed != view:
            needs[view].add(needed)
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError:  # through functions only; PostgreSQL itself cannot order them either
        order = sorted(names)
    return tuple(RelationName(schema_name=names[oid][0], relation_name=names[oid][1]) for oid in order)
