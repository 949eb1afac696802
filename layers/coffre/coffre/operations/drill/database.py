"""A drill: a backup is restored into a scratch server, and what comes back is proven to be what was backed up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Final

from coffre.model.backup import Backup, Progress
from coffre.model.drill import DrillReport, DrillState
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
from coffre.model.names import TableName, shown
from coffre.model.protection import Drill
from coffre.model.restore import Scope
from coffre.operations.drill.compare import compare_tables, never_read, not_loaded
from coffre.operations.drill.course import Course
from coffre.operations.drill.findings import Found, refuse_forged_totals
from coffre.operations.drill.partitions import compare_families, families_of
from coffre.operations.drill.places import Server, database_of, drop, pages_of, roles_for, room_bytes, stand_ins
from coffre.operations.drill.restorable_subset import (
    for_drill,
    keys_never_checked,
    part_of,
)
from coffre.operations.drill.scratch_limits import gauging, is_full, told_apart
from coffre.operations.restore_database.job import RestoreJob, Source, open_source
from coffre.operations.restore_database.report_builder import ReportBuilder as Restored
from coffre.operations.restore_database.sessions import loading_session
from coffre.operations.restore_database.whole_database import restore_whole
from coffre.operations.runs.parallel_map import Runner
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.watchdog import Watch
from coffre.operations.stored_backup.open import refuse_unrestorable
from coffre.postgres.connection.client_tools import Children, PostgresTools
from coffre.postgres.scratch.given import GivenServer
from coffre.postgres.scratch.owner_checks import ask
from coffre.postgres.scratch.roles import ScratchRoles
from coffre.postgres.scratch.server import scratch_server
from coffre.postgres.scratch.structure_checks import look_at_structure, unreadable_tables
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault

# What speaks against the backup; anything else says that the drill could not be done.
_AGAINST: Final = (IntegrityError, RestoreError, DestinationError)
_WITHOUT_LIMIT: Final = (
    "Nothing is known against the backup. Drill it on a machine without a time limit: coffre verify --level drill ID "
    "--here, or into an empty server of yours: --scratch env:NAME (docs/here.md)."
)


@dataclass(frozen=True)
class DrillJob:
    """What a drill needs.

    Parameters
    ----------
    settings
        The target's own: checks, limits.
    scratch
        A directory for the schema archive.
    look_again
        Returns the backup's record as it is now.
    state
        How far earlier invocations of the drill came.
    given
        The server to restore into, if it is not one of the drill's own.
    watched
        Gets the watch of the drill before it begins.
    beat
        Gets the heartbeats; raises `RunCancelledError` when the drill has to end.
    """

    id: str
    backup: Backup
    settings: Drill
    tools: PostgresTools
    children: Children
    vault: Vault
    decoder: FrameDecoder
    scratch: Path
    streams: int
    runner: Runner
    now: Callable[[], datetime]
    remaining_seconds: Callable[[], float]
    look_again: Callable[[], Backup]
    request_id: str | None = None
    state: DrillState | None = None
    given: GivenServer | None = None
    watched: Callable[[Watch], None] = lambda _: None
    beat: Callable[[Progress], None] = lambda _: None


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
        while course.waiting:
            if not course.has_time(job.remaining_seconds()):
                return False
            with course.group(found) as group:
                _drill_group(_Here(job, restore, server, roles, source, found), course, group)
        found.groups = len(course.done)
        if not course.is_whole:
            found.except_for(_said_of_groups(job, source, course.done))
        return True


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


@dataclass(frozen=True)
class _Here:
    """What the steps of one invocation share."""

    job: DrillJob
    restore: RestoreJob
    server: Server
    roles: ScratchRoles
    source: Source
    found: Found


def _drill_group(here: _Here, course: Course, group: list[TableContent]) -> None:
    """Restore one group of tables and prove it; one that does not fit after all is halved."""
    job, server, found = here.job, here.server, here.found
    part = part_of(here.source, group, is_whole=course.is_whole)
    try:
        loaded = _restore_part(here.restore, part, found)
    except RestoreError as error:
        if len(group) == 1 or not is_full(error):
            raise
        course.halve()  # it was guessed too low what they take
        drop(server)
        return
    if isinstance(server, GivenServer):
        server.see_forced_rows(database_of(server), here.roles.restorer)
    _prove_part(here.restore, part, loaded, found)
    _check_pages(job, server, found)
    if course.is_whole and job.settings.checks:
        with found.phase("checks"):
            _ask(job, server, here.roles, found)
    drop(server)
    course.done.append(group)


def _restore_part(restore: RestoreJob, part: Source, found: Found) -> dict[TableName, TableContent]:
    """Restore a part of the backup, and return the tables that have their rows."""
    restored = Restored(found.meter)
    with found.restoring():
        restore_whole(restore, part, restored)
    found.take_restore(restored, part.manifest.exceptions)
    there = {table.table for table in restored.tables}
    wanted = {(t.schema_name, t.table_name): t for t in part.content.tables if not t.rows_excluded}
    found.take_tables(not_loaded(table) for name, table in wanted.items() if shown(*name) not in there)
    return {name: table for name, table in wanted.items() if shown(*name) in there}


def _prove_part(restore: RestoreJob, part: Source, loaded: dict[TableName, TableContent], found: Found) -> None:
    """Compare what was restored, and check everything that exists besides rows."""
    with found.phase("compare"):
        families = families_of(restore, part, loaded)
        together = {(table.schema_name, table.table_name) for family in families for table in family.tables}
        apart = {name: table for name, table in loaded.items() if name not in together}
        proofs = list(compare_tables(restore, part, apart, found.meter))
        proofs += compare_families(restore, part, families, found.meter)
        found.take_tables(proofs)
        found.take_tables(never_read(loaded, proofs))
    with found.phase("structure"), loading_session(restore) as session:
        found.server_version = session.info.parameter_status("server_version")
        found.take_structure(look_at_structure(session, part.content.sequences))


def _check_pages(job: DrillJob, server: Server, found: Found) -> None:
    with found.phase("pages"):
        # The one thing that a superuser does with the restored database; its index functions run as their owner.
        found.take_pages(pages_of(server, job.tools, job.children, job.streams))


def _ask(job: DrillJob, server: Server, roles: ScratchRoles, found: Found) -> None:
    connection = server.connection(database_of(server), roles.reader)
    timeout = job.settings.check_timeout_seconds
    found.take_checks(ask(job.settings.checks, connection, job.children, timeout_seconds=timeout))


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
