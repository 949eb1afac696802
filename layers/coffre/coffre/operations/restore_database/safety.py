"""What of a database in use a restore overwrites, and whether a backup holds it (docs/adr/0021)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from coffre.model.database_target import DatabaseTarget
from coffre.model.kinds import TargetKind
from coffre.model.manifest import Manifest
from coffre.model.names import TableName, shown
from coffre.model.restore import Scope
from coffre.model.safety import Safety
from coffre.operations.runs.safety import (
    Lacking,
    SafetyRecords,
    decide,
    declined,
    impossible,
    not_needed,
    require,
)
from coffre.policy.patterns import restored_pattern, schema_pattern
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.connect import connect
from coffre.postgres.destination.content import is_empty
from coffre.postgres.destination.copy_in import translated
from coffre.postgres.destination.database_identity import DatabaseIdentity, identity_of, tables_with_rows


@dataclass(frozen=True)
class Stakes:
    """The database in use, and those of its tables whose rows a restore may change or put away.

    `is_empty`: nothing that was chosen exists.
    """

    identity: DatabaseIdentity
    tables: frozenset[TableName]
    is_empty: bool


def stakes_of(scope: Scope, connection: Connection, restored: Manifest) -> Stakes:
    """Look at the destination of a backup with this manifest; nothing is changed."""
    with translated(connection), connect(connection) as session:
        identity, tables = identity_of(session), tables_with_rows(session)
        if scope.is_whole:
            return Stakes(identity, frozenset(tables), is_empty(session))
    fits, held = _chosen(scope), _held(restored)
    schemas = {table.schema_name for table in restored.database.tables}
    families = {name: {name, *above} for name, above in tables.items() if name[0] in schemas}
    chosen = {name: family for name, family in families.items() if any(map(fits, family))}
    # Of others the restored backup has no rows: they stay as they are.
    touched = frozenset(name for name, family in chosen.items() if family & held)
    return Stakes(identity, touched, is_empty=not chosen)


def safety_of_database(
    scope: Scope,
    connection: Connection,
    restored: Callable[[], Manifest],
    target_of: Callable[[DatabaseIdentity], DatabaseTarget | None],
    records: SafetyRecords | None,
) -> Safety | None:
    """Say which backup holds what a restore overwrites; None when it overwrites nothing.

    Parameters
    ----------
    restored
        Returns the manifest of the backup that is restored.
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
    stakes = stakes_of(scope, connection, restored())
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

    return lambda manifest: tuple(shown(*name) for name in sorted(stakes.tables - _held(manifest)))


def _held(manifest: Manifest) -> set[TableName]:
    """Return the tables whose rows a backup has."""
    content = manifest.database
    if not (content.contents.has_schema and content.contents.has_rows):
        return set()
    return {(table.schema_name, table.table_name) for table in content.tables if not table.rows_excluded}


def _chosen(scope: Scope) -> Callable[[TableName], bool]:
    tables = [restored_pattern(pattern) for pattern in scope.tables]
    schemas = [schema_pattern(pattern) for pattern in scope.schemas]
    return lambda name: any(fits(*name) for fits in tables) or any(fits(name[0]) for fits in schemas)
