"""Replacing a whole database: restored beside the one in use, checked, then put in its place by renaming."""

from __future__ import annotations

from dataclasses import replace

from coffre.model.backup import Kept
from coffre.model.names import quoted
from coffre.model.restore import Scope
from coffre.operations.restore_outcome import Outcome
from coffre.operations.restore_plan import Job, Source
from coffre.operations.restore_schemas import replace_schemas
from coffre.operations.restore_whole import restore_whole
from coffre.postgres.side import shortened
from coffre.postgres.swap import swap_databases, why_no_swap


def replace_database(job: Job, source: Source, outcome: Outcome) -> None:
    """Put the backup in the place of the database in use, which is kept under another name.

    Where this role cannot create or rename databases, schemas are replaced inside the database, in one transaction.

    Raises
    ------
    CoffreError
        The database in use is unchanged then.
    """
    reason = why_no_swap(job.connection)
    if reason is not None:
        outcome.steps.append(f"Replace schema by schema inside {job.connection}, because {reason}.")
        replace_schemas(job, source, outcome)
        return
    name, run = job.connection.database, job.restore_id.lower()
    restored, old = shortened(name, f"_restored_{run}"), shortened(name, f"_before_{run}")
    beside = replace(job, connection=job.connection.to_database(restored), scope=Scope(dry_run=job.scope.dry_run))
    restore_whole(beside, source, outcome)
    outcome.steps.append(
        f"Disconnect everyone from {job.connection}, rename it to {old}, and rename {restored} to {name}."
    )
    if not job.scope.dry_run:
        with outcome.phase("swap"):
            swap_databases(job.connection, restored, old)
        outcome.kept.append(Kept(what=f"the old database, as {old}", remove=f"DROP DATABASE {quoted(old)}"))
