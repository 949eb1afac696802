"""Replacing a whole database: restored beside the one in use, checked, then put in its place by renaming."""

from __future__ import annotations

from dataclasses import replace

from coffre.model.backup import Kept
from coffre.model.errors import DestinationError
from coffre.model.names import quoted, shown
from coffre.model.restore import Scope
from coffre.model.target import Contents
from coffre.operations.restore_load import loading_session
from coffre.operations.restore_outcome import Outcome
from coffre.operations.restore_plan import Job, Source
from coffre.operations.restore_schemas import replace_schemas
from coffre.operations.restore_whole import restore_whole
from coffre.postgres.live import user_tables
from coffre.postgres.load import translated
from coffre.postgres.side import shortened
from coffre.postgres.swap import swap_databases, what_stays_behind, why_no_swap


def replace_database(job: Job, source: Source, outcome: Outcome) -> None:
    """Put the backup in the place of the database in use, which is kept under another name.

    Where this role cannot create or rename databases, schemas are replaced inside the database, in one transaction.

    Raises
    ------
    CoffreError
        The database in use is unchanged then.
    """
    _refuse_parts(job, source)
    with translated(job.connection):
        reason = why_no_swap(job.connection)
    if reason is not None:
        outcome.steps.append(f"Replace schema by schema inside {job.connection}, because {reason}.")
        replace_schemas(job, source, outcome)
        return
    name, run = job.connection.database, job.restore_id.lower()
    restored, old = shortened(name, f"_restored_{run}"), shortened(name, f"_before_{run}")
    beside = replace(job, connection=job.connection.to_database(restored), scope=Scope(dry_run=job.scope.dry_run))
    with translated(job.connection):
        outcome.exceptions += what_stays_behind(job.connection)
    outcome.exceptions += _only_in_use(job, source)
    restore_whole(beside, source, outcome)
    outcome.steps.append(
        f"Disconnect everyone from {job.connection}, rename it to {old}, and rename {restored} to {name}."
    )
    if not job.scope.dry_run:
        with outcome.phase("swap"), translated(job.connection):
            swap_databases(job.connection, restored, old)
        outcome.kept.append(Kept(what=f"the old database, as {old}", remove=f"DROP DATABASE {quoted(old)}"))


def _refuse_parts(job: Job, source: Source) -> None:
    if source.content.contents is not Contents.FULL:
        what = "definitions" if source.content.contents.has_schema else "rows"
        raise DestinationError(
            f"The backup {job.backup.id} holds {what} only: nothing can be replaced by it.",
            code="REPLACE_IMPOSSIBLE",
            hint="Choose a backup of the whole target, or restore into another database (--to).",
        )


def _only_in_use(job: Job, source: Source) -> list[str]:
    """Say which tables of the database in use the backup does not have: they will be in the old database only."""
    known = {(entry.schema or "", entry.tag) for entry in source.toc}
    known |= {(table.schema_name, table.table_name) for table in source.content.tables}
    with loading_session(job) as session:
        names = [shown(*name) for name in user_tables(session) if name not in known]
    if not names:
        return []
    more = f" and {len(names) - 10:,} more" if len(names) > 10 else ""
    return [f"Not in the backup, and so in the old database only: {', '.join(names[:10])}{more}."]
