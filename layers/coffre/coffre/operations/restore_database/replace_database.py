"""Replacing a whole database: restored alongside the one in use, checked, then put in its place by renaming."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from coffre.model.errors import CoffreError, ConnectError, DestinationError
from coffre.model.kinds import Contents
from coffre.model.names import quoted, shown
from coffre.model.restore import Scope
from coffre.model.restore_report import Kept, RestoreReport
from coffre.operations.restore_database.consent import changes_since, old_name, restored_name
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.load_plan import refuse_too_large
from coffre.operations.restore_database.replace_schemas import kept_schema, replace_schemas
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.resume import how_to_put_in_place, is_kept
from coffre.operations.restore_database.sessions import loading_session
from coffre.operations.restore_database.whole_database import restore_whole
from coffre.operations.runs.progress import Meter
from coffre.postgres.destination import unfinished_restore
from coffre.postgres.destination.content import is_empty
from coffre.postgres.destination.copy_in import translated
from coffre.postgres.destination.database_swap import (
    database_exists,
    differing_properties,
    swap_databases,
    what_stays_behind,
    why_no_swap,
)
from coffre.postgres.destination.destination import exists, profile_of
from coffre.postgres.destination.fingerprint import DATABASE
from coffre.postgres.destination.live_tables import user_tables

# How a report begins to name a database that was restored, and did not replace the one in use.
NOT_IN_PLACE: Final = "the restored database, as "


def replace_database(job: RestoreJob, source: Source, report: ReportBuilder) -> None:
    """Put the backup in the place of the database in use, which is kept under another name.

    Where this role cannot create or rename databases, schemas are replaced inside the database, in one transaction.

    Raises
    ------
    CoffreError
        The database in use is unchanged then.
    """
    _refuse_parts(job, source)
    _refuse_provider(job)
    if job.scope.swap is not None:
        _swap_kept(job, job.scope.swap, report)
        return
    with translated(job.connection):
        reason = why_no_swap(job.connection)
    if reason is not None:
        _replace_inside(job, source, report, reason)
        return
    name = job.connection.database
    restored, old = restored_name(name, job.restore_id), old_name(name, job.restore_id)
    alongside = replace(job, connection=job.connection.to_database(restored), scope=_whole(job.scope))
    with translated(job.connection):
        report.exceptions += what_stays_behind(job.connection)
    report.exceptions += _only_in_use(job, source)
    if job.continues and _is_whole(alongside):
        _keep(job, restored, report, "the function ended before it could be put in place")
        return
    try:
        restore_whole(alongside, source, report)
    except CoffreError as error:
        if is_kept(error):
            error.add_note(how_to_put_in_place(job.backup.id, job.restore_id))
        raise
    _put_in_place(job, restored, old, report)


def report_if_replaced(job: RestoreJob, source: Source) -> RestoreReport | None:
    """Return the report of a restore that has replaced the database before it was cut off; None when it continues.

    What was renamed has the restore's id in its name, and is renamed in the transaction that puts the new in place.
    """
    kept = _kept_databases(job) or _kept_schemas(job, source)
    if not kept:
        return None
    report = ReportBuilder(Meter())
    report.kept += kept
    report.exceptions.append(
        f"{job.connection} was replaced before the interruption, which came before that was recorded: what could not "
        "be restored is not known any more."
    )
    return report.build(job)


def _kept_databases(job: RestoreJob) -> list[Kept]:
    old = old_name(job.connection.database, job.restore_id)
    try:
        with translated(job.connection):
            return [_kept_database(old)] if database_exists(job.connection, old) else []
    except (ConnectError, DestinationError):  # no other database can be used: this one was not renamed
        return []


def _kept_schemas(job: RestoreJob, source: Source) -> list[Kept]:
    names = {old_name(entry.schema, job.restore_id) for entry in source.toc if entry.schema}
    with loading_session(job) as session, session.cursor() as cursor:
        cursor.execute("SELECT nspname::text FROM pg_namespace WHERE nspname = ANY(%s) ORDER BY 1", (list(names),))
        return [kept_schema(name) for (name,) in cursor.fetchall()]


def _replace_inside(job: RestoreJob, source: Source, report: ReportBuilder, reason: str) -> None:
    """Replace schema by schema, in one transaction."""
    if job.scope.at is not None:
        raise DestinationError(
            f"A moment cannot replace {job.connection}, because {reason}.",
            code="REPLACE_IMPOSSIBLE",
            hint="Nothing was changed. Restore it into a new database (--to), and change over to that, or copy tables.",
        )
    report.steps.append(f"Replace schema by schema inside {job.connection}, because {reason}.")
    size_bytes = sum(table.size for table in source.content.tables)
    refuse_too_large(job, size_bytes, f"The rows of the schemas, which are replaced because {reason},")
    replace_schemas(replace(job, is_resumable=False), source, report)


def _put_in_place(job: RestoreJob, restored: str, old: str, report: ReportBuilder) -> None:
    """Swap the names, unless the restored database lacks something, or the one in use has changed meanwhile."""
    name = job.connection.database
    report.steps.append(
        f"Disconnect everyone from {job.connection}, rename it to {old}, and rename {restored} to {name}."
    )
    if job.scope.dry_run:
        return
    if report.left_out and not job.scope.accept_exceptions:
        _keep(job, restored, report, "the restored database lacks what is named here")
        return
    with loading_session(job) as session:
        changes = changes_since(job, session)
    if changes:
        _keep(job, restored, report, f"since the restore was confirmed, {', and '.join(changes)}")
        return
    _swap(job, restored, old, report)


def _is_whole(alongside: RestoreJob) -> bool:
    """Whether an earlier attempt has built the database: its mark is removed at the end."""
    if not exists(alongside.connection):
        return False
    with loading_session(alongside) as session:
        return unfinished_restore.find(session) is None and not is_empty(session)


def _keep(job: RestoreJob, restored: str, report: ReportBuilder, why: str) -> None:
    """Report that what was restored is not put in place, and is kept for a second call."""
    report.exceptions.append(
        f"{job.connection} was NOT replaced and is unchanged, because {why}. It is kept as {restored}. "
        f"To put it in place as it is: coffre restore database {job.backup.id} --replace --swap {job.restore_id}"
    )
    report.kept.append(Kept(what=f"{NOT_IN_PLACE}{restored}", remove=f"DROP DATABASE {quoted(restored)}"))


def _whole(scope: Scope) -> Scope:
    return Scope(at=scope.at, dry_run=scope.dry_run, strict=scope.strict, analyze=scope.analyze)


def _swap_kept(job: RestoreJob, restore_id: str, report: ReportBuilder) -> None:
    """Put a database in place that an earlier restore has built and kept."""
    name = job.connection.database
    restored, old = restored_name(name, restore_id), old_name(name, job.restore_id)
    with translated(job.connection):
        exists = database_exists(job.connection, restored)
    if not exists:
        raise DestinationError(
            f"The database {restored} does not exist on the server of {job.connection}.",
            code="SWAP_FAILED",
            hint="Nothing was changed. --swap takes the id of a restore with --replace that kept what it had built "
            "(coffre show ID). Leave --swap out to restore again.",
        )
    report.steps.append(
        f"Disconnect everyone from {job.connection}, rename it to {old}, and rename {restored} to {name}."
    )
    if not job.scope.dry_run:
        _swap(job, restored, old, report)


def _swap(job: RestoreJob, restored: str, old: str, report: ReportBuilder) -> None:
    with report.phase("swap"), translated(job.connection):
        if differing := differing_properties(job.connection, restored):
            report.notes.append(
                f"The settings and privileges of {job.connection} itself are the backup's. The old database had "
                f"others: {', '.join(differing)}."
            )
        swap_databases(job.connection, restored, old, oid=job.confirmed.facts.exact[DATABASE] if job.confirmed else "")
    report.kept.append(_kept_database(old))


def _kept_database(old: str) -> Kept:
    return Kept(what=f"the old database, as {old}", remove=f"DROP DATABASE {quoted(old)}")


def _refuse_parts(job: RestoreJob, source: Source) -> None:
    if source.content.contents is not Contents.FULL:
        what = "definitions" if source.content.contents.has_schema else "rows"
        raise DestinationError(
            f"The backup {job.backup.id} holds {what} only: nothing can be replaced by it.",
            code="REPLACE_IMPOSSIBLE",
            hint="Choose a backup of the whole target, or restore into another database (--to).",
        )


def _refuse_provider(job: RestoreJob) -> None:
    """Refuse to replace a database in which the provider keeps schemas of its own, which a new one would lack."""
    with loading_session(job) as session, session.cursor() as cursor:
        profile = profile_of(job.connection, session, job.provider)
        cursor.execute("SELECT nspname FROM pg_namespace ORDER BY 1")
        managed = [schema for (schema,) in cursor.fetchall() if profile.is_managed(schema)]
    if managed:
        raise DestinationError(
            f"{profile.title} keeps schemas of its own in {job.connection} ({', '.join(managed[:3])}, ...): the "
            "database cannot be replaced as a whole.",
            code="REPLACE_IMPOSSIBLE",
            hint=f"Nothing was changed. Restore tables or schemas (coffre restore tables), or into a fresh project: "
            f"{profile.docs}.",
        )


def _only_in_use(job: RestoreJob, source: Source) -> list[str]:
    """Say which tables of the database in use the backup does not have: they will be in the old database only."""
    known = {(entry.schema or "", entry.tag) for entry in source.toc}
    known |= {(table.schema_name, table.table_name) for table in source.content.tables}
    with loading_session(job) as session:
        names = [shown(*name) for name in user_tables(session) if name not in known]
    if not names:
        return []
    more = f" and {len(names) - 10:,} more" if len(names) > 10 else ""
    return [f"Not in the backup, and so in the old database only: {', '.join(names[:10])}{more}."]
