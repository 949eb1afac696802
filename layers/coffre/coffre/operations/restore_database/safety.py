"""What of a database in use a restore overwrites, and whether a backup holds it (docs/adr/0021)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from coffre.model.manifest import Manifest
from coffre.model.names import TableName, shown
from coffre.model.restore import Scope
from coffre.model.safety import Safety
from coffre.model.target import DatabaseTarget, TargetKind
from coffre.operations.runs.safety import (
    Lacking,
    SafetyRecords,
    decide,
    declined,
    impossible,
    not_needed,
    require,
)
from coffre.policy.patterns import schema_pattern, table_pattern
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.connect import connect
from coffre.postgres.destination.copy_in import translated
from coffre.postgres.destination.destination import is_empty
from coffre.postgres.destination.identity import DatabaseIdentity, identity_of, tables_with_rows


@dataclass(frozen=True)
class Stakes:
    """The database in use, and those of its tables whose rows a restore may change or put away."""

    identity: DatabaseIdentity
    tables: frozenset[TableName]
    is_empty: bool


def stakes_of(scope: Scope, connection: Connection) -> Stakes:
    """Look at the destination; nothing is changed."""
    with translated(connection), connect(connection) as session:
        tables = tables_with_rows(session)
        if not scope.is_whole:
            fits = _chosen(scope)
            tables = {name: above for name, above in tables.items() if any(map(fits, (name, *above)))}
        empty = is_empty(session) if scope.is_whole else not tables
        return Stakes(identity_of(session), frozenset(tables), empty)


def safety_of_database(
    scope: Scope,
    connection: Connection,
    target_of: Callable[[DatabaseIdentity], DatabaseTarget | None],
    records: SafetyRecords | None,
) -> Safety | None:
    """Say which backup holds what a restore overwrites; None when it overwrites nothing.

    Parameters
    ----------
    target_of
        Returns the configured target whose database this is.
    records
        None: there is no stack that could take a backup.

    Raises
    ------
    DestinationError
        `SAFETY_NEEDED` or `SAFETY_IMPOSSIBLE`; a dry run reports these as a state.
    """
    if not scope.touches:
        return None
    stakes = stakes_of(scope, connection)
    safety = _safety_of(scope, str(connection), stakes, target_of, records)
    if not scope.dry_run:
        require(safety, TargetKind.DATABASE)
    return safety


def _safety_of(
    scope: Scope,
    place: str,
    stakes: Stakes,
    target_of: Callable[[DatabaseIdentity], DatabaseTarget | None],
    records: SafetyRecords | None,
) -> Safety:
    if stakes.is_empty:
        return not_needed(place)
    if scope.no_safety:
        return declined(place)
    if records is None:
        return impossible(place, "without a stack no function can do that")
    target = target_of(stakes.identity)
    if target is None:
        return impossible(place, "it is no target of Coffre")
    if not (target.contents.has_schema and target.contents.has_rows):
        return impossible(place, f"backups of {target.name} hold its {target.contents.value} only")
    return decide(
        records, target, _lacking(stakes), place=place, is_essential=not scope.is_whole, is_trial=scope.dry_run
    )


def _lacking(stakes: Stakes) -> Lacking:
    """Return a function that names the tables whose rows a backup does not have."""

    def lacking(manifest: Manifest) -> tuple[str, ...]:
        content = manifest.database
        held = {(table.schema_name, table.table_name) for table in content.tables if not table.rows_excluded}
        if not (content.contents.has_schema and content.contents.has_rows):
            held = set()
        return tuple(shown(*name) for name in sorted(stakes.tables - held))

    return lacking


def _chosen(scope: Scope) -> Callable[[TableName], bool]:
    tables = [table_pattern(pattern) for pattern in scope.tables]
    schemas = [schema_pattern(pattern) for pattern in scope.schemas]
    return lambda name: any(fits(*name) for fits in tables) or any(fits(name[0]) for fits in schemas)
