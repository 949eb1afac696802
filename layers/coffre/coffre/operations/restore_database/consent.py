"""What a restore would overwrite, whether a person has confirmed that, and whether it is still so when it changes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import psycopg2.extensions

from coffre.model.confirmation import Act, Facts, Overwritten, Plan, Request, Seen
from coffre.model.errors import ConfirmationError
from coffre.model.names import TableName
from coffre.model.restore_state import DatabaseState
from coffre.operations.restore_database.job import Confirmed, RestoreJob, Source, is_marked
from coffre.operations.restore_database.sessions import loading_session
from coffre.operations.restore_database.tables_plan import choose_tables
from coffre.postgres.destination.destination import exists
from coffre.postgres.destination.fingerprint import DATABASE, existing, measure, read_facts
from coffre.postgres.destination.staging_schema import shortened
from coffre.vault.object_restores import read_database_state, write_database_state

_NOTHING_CHANGED: Final = "Nothing in use was changed."


def restored_name(database: str, restore_id: str) -> str:
    """Return the name of the database that a restore builds alongside the one in use."""
    return shortened(database, f"_restored_{restore_id.lower()}")


def old_name(name: str, restore_id: str) -> str:
    """Return the name under which a database or schema in use is kept when a restored one takes its place."""
    return shortened(name, f"_before_{restore_id.lower()}")


def confirmed(job: RestoreJob, source: Source) -> tuple[RestoreJob, Plan | None]:
    """Return the job with what was confirmed, and the plan of a dry run. What overwrites nothing needs neither.

    Raises
    ------
    ConfirmationError
        The job would overwrite something, and its `consent` refuses that.
    """
    if not job.scope.overwrites:
        return job, None
    if job.continues:
        state = read_database_state(job.vault, job.restore_id)
        if state.destination not in (None, _destination(job)):
            raise ConfirmationError(
                f"The restore {job.restore_id} was confirmed for {state.destination}, not for {_destination(job)}.",
                code="CONFIRMATION_MISMATCH",
                hint=f"{_NOTHING_CHANGED} Its secret has another address or role now: start the restore again.",
            )
        tables = tuple(state.tables) if state.tables is not None else None
        return replace(job, confirmed=Confirmed(state.facts, tables), safety=state.safety), None
    request = Request.of(Act.RESTORE, job.backup.target, job.backup.id, job.backup.manifest_sha256, job.scope)
    facts, tables, lost = _look(job, source)
    seen = Seen(
        destination=_destination(job),
        name=job.connection.database,
        facts=facts,
        overwrites=lost,
    )
    plan = Plan(request=request, seen=seen)
    if job.scope.dry_run:
        return job, plan
    job.consent(plan)
    has_invocations = job.is_resumable and job.remaining_seconds() < math.inf
    if has_invocations and (is_marked(job, source) or not job.scope.is_whole):
        state = DatabaseState(facts=facts, tables=tables, safety=job.safety, destination=_destination(job))
        write_database_state(job.vault, job.restore_id, state)
    return replace(job, confirmed=Confirmed(facts, tables)), None


def _destination(job: RestoreJob) -> str:
    return f"{job.connection} as {job.connection.user}"


def _look(job: RestoreJob, source: Source) -> tuple[Facts, tuple[TableName, ...] | None, Overwritten]:
    if job.scope.restart and not exists(job.connection):
        return Facts(exact={DATABASE: "does not exist"}), None, Overwritten()
    with loading_session(job) as session:
        tables = None
        if not job.scope.is_whole:
            tables = tuple(existing(session, [table.name for table in choose_tables(source, job.scope)]))
        return read_facts(session, tables, kept=_kept(job)), tables, measure(session, tables)


def _kept(job: RestoreJob) -> str | None:
    return restored_name(job.connection.database, job.scope.swap) if job.scope.swap else None


def changes_since(job: RestoreJob, session: psycopg2.extensions.connection) -> list[str]:
    """Return how the destination differs from what was confirmed, apart from sizes: they grow by the restore itself.

    Raises
    ------
    ConfirmationError
        Nothing was confirmed.
    """
    if job.confirmed is None:
        raise ConfirmationError(f"It is not confirmed that {job.connection} is overwritten.", hint=_NOTHING_CHANGED)
    now = read_facts(session, job.confirmed.tables, kept=_kept(job))
    return job.confirmed.facts.exact_changes(now)


def refuse_changed(job: RestoreJob, session: psycopg2.extensions.connection) -> None:
    """Refuse the change if the destination is not what was confirmed, in the session and transaction of the change.

    Raises
    ------
    ConfirmationError
        `DESTINATION_CHANGED`
    """
    if changes := changes_since(job, session):
        raise ConfirmationError(
            f"{job.connection} is not as it was when the restore was confirmed: {'; '.join(changes)}.",
            code="DESTINATION_CHANGED",
            hint=f"{_NOTHING_CHANGED} Look at what changed, and run the restore again.",
        )
