"""One group of tables in a drill: restored, compared, checked."""

from __future__ import annotations

from dataclasses import dataclass

from coffre.model.errors import (
    RestoreError,
)
from coffre.model.manifest import TableContent
from coffre.model.names import TableName, shown
from coffre.operations.drill.compare import compare_tables, never_read, not_loaded
from coffre.operations.drill.findings import Found
from coffre.operations.drill.job import DrillJob
from coffre.operations.drill.journal_tables import hash_tables
from coffre.operations.drill.partitions import compare_families, families_of
from coffre.operations.drill.restorable_subset import (
    part_of,
)
from coffre.operations.drill.scratch_limits import is_full
from coffre.operations.drill.scratch_servers import Server, database_of, drop, pages_of
from coffre.operations.drill.table_groups import Course
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.report_builder import ReportBuilder as Restored
from coffre.operations.restore_database.sessions import loading_session
from coffre.operations.restore_database.whole_database import restore_whole
from coffre.postgres.scratch.given_server import GivenServer
from coffre.postgres.scratch.owner_checks import ask
from coffre.postgres.scratch.roles import ScratchRoles
from coffre.postgres.scratch.structure_checks import look_at_structure


@dataclass(frozen=True)
class Invocation:
    """What the steps of one invocation share."""

    job: DrillJob
    restore: RestoreJob
    server: Server
    roles: ScratchRoles
    source: Source
    found: Found


def drill_group(here: Invocation, course: Course, group: list[TableContent]) -> None:
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
    if found.hashes_rows:
        with found.phase("journal"):
            own = {name: table for name, table in apart.items() if not table.of_extension}
            found.row_hashes |= hash_tables(restore, own)
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
