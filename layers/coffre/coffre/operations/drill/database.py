"""A drill: a backup is restored into a scratch server, and what comes back is proven to be what was backed up."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from typing import Final

from coffre.model.drill_report import DrillReport, DrillState
from coffre.model.errors import (
    DeadlineError,
    DestinationError,
    DrillImpossibleError,
    IntegrityError,
    RestoreError,
    ScratchError,
)
from coffre.model.kinds import Contents
from coffre.model.manifest import TableContent
from coffre.model.names import shown
from coffre.model.restore import Scope
from coffre.operations.drill.compare import not_loaded
from coffre.operations.drill.findings import Found
from coffre.operations.drill.group import Invocation, drill_group
from coffre.operations.drill.job import DrillJob
from coffre.operations.drill.journal_pair import plan_proof
from coffre.operations.drill.journal_proof import prove_journal
from coffre.operations.drill.restorable_subset import (
    for_drill,
    keys_never_checked,
)
from coffre.operations.drill.scratch_limits import gauging, told_apart
from coffre.operations.drill.scratch_servers import Server, database_of, drop, roles_for, room_bytes, stand_ins
from coffre.operations.drill.table_groups import Course
from coffre.operations.restore_database.job import RestoreJob, Source, open_source
from coffre.operations.restore_database.report_builder import ReportBuilder as Restored
from coffre.operations.restore_database.sessions import loading_session
from coffre.operations.restore_database.whole_database import restore_whole
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.progress import Meter
from coffre.operations.stored_backup.open_backup import refuse_unrestorable
from coffre.operations.stored_backup.totals import refuse_forged_totals
from coffre.postgres.scratch.server import scratch_server
from coffre.postgres.scratch.structure_checks import unreadable_tables

# What speaks against the backup; anything else says that the drill could not be done.
_AGAINST: Final = (IntegrityError, RestoreError, DestinationError)
_WITHOUT_LIMIT: Final = (
    "Nothing is known against the backup. Drill it on a machine without a time limit: coffre verify --level drill ID "
    "--here, or into an empty server of yours: --scratch env:NAME (docs/here.md)."
)


def drill(job: DrillJob) -> DrillReport | DrillState:
    """Restore a backup and prove it. Whatever is found out about the backup, or about this place, is in the report.

    What this invocation has no time for is returned as the state from which another one continues.

    Raises
    ------
    BackupStateError
        The backup is not COMPLETED, or was deleted meanwhile.
    CoffreError
        Something else stopped the drill, which says nothing about the backup: a store or a catalog that fails.
    """
    refuse_unrestorable(job.backup)
    state = job.state or DrillState(id=job.id, backup_id=job.backup.id, target=job.backup.target, started_at=job.now())
    meter, course = Meter(), Course(state)
    found = Found(meter, invocations=state.invocation)
    watch = Watch(meter, beat=job.beat, remaining_seconds=job.remaining_seconds, stop=job.children.end_all)
    job.watched(watch)
    servers: list[Server] = []
    error: Exception | None = None
    try:
        if not watch.run(lambda: _prove(job, found, servers, course)):
            return course.left()
    except DeadlineError as late:
        if (left := course.after_deadline()) is not None:
            return left
        if not course.is_proving:
            late.hint = _WITHOUT_LIMIT
            error = late
    except (DrillImpossibleError, ScratchError) as impossible:
        error = impossible
    except _AGAINST as against:
        refuse_unrestorable(job.look_again())  # a rotation can have taken its packs away meanwhile
        error = against
    finally:
        if watch.has_left:
            for server in servers:
                server.kill()
    return found.report(
        job.backup,
        drill_id=state.id,
        started_at=state.started_at,
        now=job.now(),
        error=error,
        is_possible=error is None or isinstance(error, _AGAINST),
        limit_minutes=job.settings.rto_minutes,
        request_id=job.request_id,
    )


def _prove(job: DrillJob, found: Found, servers: list[Server], course: Course) -> bool:
    """Prove as much as there is time for, and return whether that was everything."""
    with job.children.ending(), ExitStack() as stack:
        with found.phase("scratch server"):
            found_server = job.given or stack.enter_context(scratch_server(job.tools))
            server: Server = replace(found_server, sessions=job.children.sessions)
            servers.append(server)
        stack.enter_context(told_apart(server))
        restore = _restore_job(job, server)
        with found.restoring(), found.phase("read"):
            source = open_source(restore)
        _refuse_rows_alone(source)
        refuse_forged_totals(job.backup, source.manifest, job.vault.entries(source.manifest))
        found.source_version = source.content.server_version
        named = chain(source.content.roles, *source.content.policy_roles.values())
        roles = roles_for(server, named, source.content.encoding)
        restore = replace(restore, connection=server.connection(database_of(server), roles.restorer))
        source = _possible(server, source, found)
        stack.enter_context(gauging(server, found))
        if course.continues:
            found.unreadable = set(course.state.findings.unreadable)
        else:
            _look_for_unreadable(restore, server, source, found)
        readable = [table for table in source.content.tables if table.oid not in found.unreadable]
        course.plan(source.content.model_copy(update={"tables": tuple(readable)}), room_bytes(server), found)
        pair = plan_proof(job, source, found)
        here = Invocation(job, restore, server, roles, source, found)
        while course.waiting:
            if not course.has_time(job.remaining_seconds()):
                return False
            with course.group(found) as group:
                drill_group(here, course, group)
        found.groups = len(course.done)
        if not course.is_whole:
            found.except_for(_said_of_groups(job, source, course.done))
        return pair is None or prove_journal(here, course, pair)


def _possible(server: Server, source: Source, found: Found) -> Source:
    """Return what of the backup can be had here, and say what cannot."""
    replaced, impossible = stand_ins(server, source.toc)
    found.except_for(
        f"The scratch server has no collation {name}: texts were ordered by their bytes." for name in replaced
    )
    possible, lost = for_drill(source, impossible)
    found.except_for(lost)
    kept = {table.oid for table in possible.content.tables}
    found.take_tables(not_loaded(table) for table in source.content.tables if table.oid not in kept)
    return possible


def _look_for_unreadable(restore: RestoreJob, server: Server, source: Source, found: Found) -> None:
    """Find the tables whose values this server cannot read, if the backup may have some: it may lack libxml."""
    if b"xml" not in source.archive.read_bytes() or not source.content.contents.has_rows:
        return
    with found.phase("types"):
        definitions = replace(restore, scope=Scope(contents=Contents.SCHEMA))
        restore_whole(definitions, source, Restored(found.meter))
        with loading_session(restore) as session:
            names = set(unreadable_tables(session))
        drop(server)
    for table in source.content.tables:
        if (table.schema_name, table.table_name) in names and table.rows:
            found.unreadable.add(table.oid)
            found.take_tables([not_loaded(table)])
            name = shown(table.schema_name, table.table_name)
            found.except_for([f"The rows of {name} were not restored: the scratch server knows no XML."])


def _said_of_groups(job: DrillJob, source: Source, groups: Sequence[Collection[TableContent]]) -> Iterator[str]:
    if len(groups) > 1:
        yield f"The tables were restored in {len(groups)} groups: together they need more scratch space or time."
    yield from keys_never_checked(source, groups)
    if source.content.materialized_views:
        yield "Materialized views were not filled: the tables that they may read were not restored together."
    for check in job.settings.checks:
        yield f'The check "{check.name}" was not run: the tables that it may read were not restored together.'


def _restore_job(job: DrillJob, server: Server) -> RestoreJob:
    return RestoreJob(
        restore_id=job.id,
        backup=job.backup,
        connection=server.connection(database_of(server)),
        children=job.children,
        vault=job.vault,
        decoder=job.decoder,
        scratch=job.scratch,
        streams=job.streams,
        runner=job.runner,
        in_order=True,
        provider="plain",
        remaining_seconds=job.remaining_seconds,
    )


def _refuse_rows_alone(source: Source) -> None:
    if not source.content.contents.has_schema:
        raise DrillImpossibleError(
            "The backup holds rows without definitions: a drill has no tables to load them into.",
            code="NO_DEFINITIONS",
            hint="Have it read back instead (coffre verify --level read), or let the target's contents be full.",
        )
