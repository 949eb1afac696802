"""What comes after chosen tables: keys, views, functions, policies. What is refused is named."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from coffre.model.names import TableName
from coffre.operations.restore_database.archive_phases import phases_of
from coffre.operations.restore_database.definitions import DefinitionRestore
from coffre.operations.restore_database.dropped_dependents import DroppedDependents
from coffre.operations.restore_database.materialized_views import refresh_views
from coffre.operations.restore_database.unsupported_objects import leave_out_known
from coffre.postgres.archive.dependencies import parts_of
from coffre.postgres.archive.reader import TocEntry


def followers_of(making: DefinitionRestore, dropped: DroppedDependents) -> list[TocEntry]:
    """Return the entries that restore dropped dependents with their parts, except what the destination cannot have."""
    wanted = {part.dump_id for part in parts_of(making.source.toc, dropped.back)}
    return leave_out_known(making.ledger, making.source, making.destination, wanted, making.fates)


def create_followers(
    making: DefinitionRestore,
    made: Sequence[TocEntry],
    followers: Sequence[TocEntry],
    without_rows: Collection[TableName],
) -> None:
    """Create what follows restored tables, and fill the materialized views of both but those of `without_rows`.

    What the server refuses is left out, with what needs it, and named with its SQL.
    """
    outcome = making.report
    if followers:
        wanted = {entry.dump_id for entry in followers}
        phases = phases_of(entry for entry in making.source.toc if entry.dump_id in wanted)
        with outcome.phase("what follows"):
            making.make_marked(phases.before_rows)
            making.make_marked(phases.after_rows, lasts=True)
            making.grant(phases.privileges)
    views = {(entry.schema, entry.tag) for entry in (*made, *followers) if entry.description == "MATERIALIZED VIEW"}
    if views:
        with outcome.phase("materialized views"):
            refresh_views(making, without_rows, views)
