"""Replacing schemas inside a database, in one transaction: the way where no second database is possible."""

from __future__ import annotations

from typing import Final

import psycopg2.extensions
from psycopg2 import sql

from coffre.model.errors import DestinationError, RestoreError
from coffre.model.names import quoted, shown
from coffre.model.restore_report import Kept
from coffre.operations.restore_database.archive_phases import phases_of
from coffre.operations.restore_database.consent import old_name, refuse_changed
from coffre.operations.restore_database.definition_report import report_refusals
from coffre.operations.restore_database.definitions import DefinitionRestore, possible_tables
from coffre.operations.restore_database.extension_members import leave_out_members
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.load_plan import Loading
from coffre.operations.restore_database.load_tables import load_tables
from coffre.operations.restore_database.materialized_views import refresh_views
from coffre.operations.restore_database.report_builder import ReportBuilder, after_the_change
from coffre.operations.restore_database.row_counts import check_counts, loaded_of
from coffre.operations.restore_database.sessions import loading_session
from coffre.operations.restore_database.statistics import analyze
from coffre.operations.restore_database.unsupported_objects import is_made, leave_out_known
from coffre.postgres.archive.dependencies import absent
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.connection.connect import connect
from coffre.postgres.destination.commit_outcome import commit, outcome_unknown
from coffre.postgres.destination.copy_in import set_sequences
from coffre.postgres.destination.destination import open_existing
from coffre.postgres.destination.owners_code import owners_path

_LOCK_TIMEOUT: Final = "SET LOCAL lock_timeout = '10s'"
# Things of the database as a whole, in no schema: they stay as they are.
_OUTSIDE: Final = frozenset(
    {"ACCESS METHOD", "CAST", "EVENT TRIGGER", "FOREIGN DATA WRAPPER", "PROCEDURAL LANGUAGE", "PUBLICATION", "SERVER",
     "SUBSCRIPTION", "TRANSFORM", "USER MAPPING"}
)  # fmt: skip
# Of these, those that tables, functions or types are a part of.
_USING: Final = _OUTSIDE - {"SERVER", "SUBSCRIPTION", "USER MAPPING"}


def replace_schemas(job: RestoreJob, source: Source, report: ReportBuilder) -> None:
    """Rename the backup's existing schemas, restore them again under their names, in one transaction.

    Raises
    ------
    DestinationError
        Code `REPLACE_IMPOSSIBLE`: an extension that cannot be moved lives in one of the schemas.
    CoffreError
        The transaction is rolled back then: nothing was changed.
    """
    with open_existing(job.connection, source.content) as destination, loading_session(job) as session:
        destination.refuse_reader()
        schemas = sorted({entry.schema for entry in source.toc if entry.schema} & destination.schemas)
        old = {schema: old_name(schema, job.restore_id) for schema in schemas}
        _refuse_pointed_at(job, session, schemas)
        extensions = _movable_extensions(job, session, schemas)
        making = DefinitionRestore(job, source, destination, report, session)
        entries = _entries(making, session)
        report.steps += [f"Rename the schema {schema} to {name}." for schema, name in old.items()]
        report.steps.append(
            f"Restore {len(possible_tables(source, making.ledger.lost()))} tables into fresh schemas over one "
            "connection, in one transaction."
        )
        if not job.scope.dry_run:
            with report.phase("schemas"):
                refuse_changed(job, session)
                _make_room(session, old, extensions)
            _restore(making, session, entries)
        report_refusals(making, entries)
        if job.scope.dry_run:
            return
        _refuse_incomplete(job, report)
        _commit(job, session, list(old.values()))
        report.kept += map(kept_schema, old.values())
    if job.scope.analyze:
        with after_the_change(report, "ANALYZE"):
            analyze(job, report)


def kept_schema(name: str) -> Kept:
    """Say that an old schema is kept under this name."""
    return Kept(what=f"the old schema, as {name}", remove=f"DROP SCHEMA {quoted(name)} CASCADE")


def _commit(job: RestoreJob, session: psycopg2.extensions.connection, old: list[str]) -> None:
    def is_done(cursor: psycopg2.extensions.cursor) -> bool:
        cursor.execute("SELECT count(*) FROM pg_namespace WHERE nspname = ANY(%s)", (old,))
        ((found,),) = cursor.fetchall()
        return bool(found == len(old))

    def unknown() -> RestoreError:
        return outcome_unknown(
            f"the schemas of {job.connection} were replaced",
            f"Look at its schemas. If {', '.join(old[:3]) or 'the new ones'} exist, they were replaced, and these hold "
            "the old data. Otherwise nothing was changed.",
        )

    commit(session, lambda: connect(job.connection), is_done, unknown)


def _entries(making: DefinitionRestore, session: psycopg2.extensions.connection) -> list[TocEntry]:
    """Return what is to be made, and say what stays as it is."""
    source, report = making.source, making.report
    stays = [entry for entry in source.toc if entry.description in _OUTSIDE]
    with session.cursor() as cursor:
        existing = _existing_extensions(source, cursor)
    wanted = {entry.dump_id for entry in source.toc} - existing - {entry.dump_id for entry in stays}
    report.exceptions += source.manifest.exceptions
    report.notes += source.manifest.notes
    report.exceptions += [f"Not replaced, as it belongs to no schema: {entry.shown}." for entry in stays]
    if any(entry.description in _USING for entry in stays):
        report.exceptions.append("What belongs to no schema uses what is in the old ones, and is dropped with that.")
    if source.large_objects is not None:
        report.exceptions.append("Not replaced, as they belong to no schema: large objects.")
    return leave_out_known(making.ledger, source, making.destination, wanted)


def _existing_extensions(source: Source, cursor: psycopg2.extensions.cursor) -> set[int]:
    """Return the extensions (dump ids) that the database has."""
    extensions = [entry for entry in source.toc if entry.description == "EXTENSION"]
    return {entry.dump_id for entry in extensions} - {entry.dump_id for entry in absent(cursor, extensions)}


def _refuse_incomplete(job: RestoreJob, report: ReportBuilder) -> None:
    """Refuse to put schemas in place that lack something, unless a person has accepted that."""
    if report.left_out and not job.scope.accept_exceptions:
        more = f" And {len(report.left_out) - 3} more." if len(report.left_out) > 3 else ""
        raise DestinationError(
            f"The schemas of {job.connection} were not replaced, because the restored ones would lack something.",
            code="REPLACE_INCOMPLETE",
            detail=" ".join(str(left) for left in report.left_out[:3]) + more,
            hint="Nothing was changed. Remove the reasons, or replace them all the same with --accept-exceptions.",
        )


def _restore(making: DefinitionRestore, session: psycopg2.extensions.connection, entries: list[TocEntry]) -> None:
    job, source, report = making.job, making.source, making.report
    phases = phases_of(entry for entry in entries if not is_made(entry, making.destination))
    with report.phase("schemas"):
        making.make(phases.before_rows)
    possible = possible_tables(source, making.ledger.lost())
    tables = {name: table for name, table in possible.items() if not table.of_extension}
    leave_out_members(job, possible, report, "the new schemas lack the table, which only its extension can define")
    with report.phase("tables"):
        # The schemas are this transaction's own: what refuses rows may be loosened as in a new database.
        how = Loading(session=session, is_fresh=True, in_order=True, report=report)
        with session.cursor() as cursor, owners_path(cursor):
            loaded = load_tables(job, source, tables, report.meter, how)
        report.tables += loaded
        report.say_missing("sequence", set_sequences(session, source.content.sequences))
    with report.phase("count"):
        filled = loaded_of(tables, loaded, report.missing_rows)
        check_counts(job, filled, session)
    with report.phase("indexes and constraints"):
        making.make(phases.after_rows)
    with report.phase("privileges"):
        making.grant(phases.privileges)
    with report.phase("materialized views"):
        refresh_views(making, (tables.keys() - filled.keys()) | report.missing_rows.keys())


def _refuse_pointed_at(job: RestoreJob, session: psycopg2.extensions.connection, schemas: list[str]) -> None:
    """Refuse when what is in other schemas needs what is in these: it would still need the old ones."""
    with session.cursor() as cursor:
        cursor.execute(_POINTING_IN, {"schemas": schemas})
        found = [shown(*name) for name in cursor.fetchall()]
    if found:
        raise DestinationError(
            f"The schemas of {job.connection} cannot be replaced: what the backup does not have points into them: "
            f"{', '.join(found[:5])}.",
            code="REPLACE_IMPOSSIBLE",
            hint="It would stay with the old schemas, and go with them. Drop what is not needed (staging schemas of "
            "earlier restores), restore into a new database (--to) and "
            "switch your application over, or restore chosen tables.",
        )


def _movable_extensions(
    job: RestoreJob, session: psycopg2.extensions.connection, schemas: list[str]
) -> list[tuple[str, str]]:
    """Return the extensions in these schemas with their schema: they move on to the fresh one."""
    with session.cursor() as cursor:
        cursor.execute(_EXTENSIONS, (schemas,))
        found = cursor.fetchall()
    if fixed := [f"{name} in {schema}" for name, schema, is_relocatable in found if not is_relocatable]:
        raise DestinationError(
            f"The schemas of {job.connection} cannot be replaced: extensions cannot be moved: {', '.join(fixed)}.",
            code="REPLACE_IMPOSSIBLE",
            hint="Restore into a new database (--to) and switch your application over, or restore chosen tables.",
        )
    return [(name, schema) for name, schema, _ in found]


def _make_room(session: psycopg2.extensions.connection, old: dict[str, str], extensions: list[tuple[str, str]]) -> None:
    """Rename the schemas, and create empty ones in their place with the same owners, privileges and comments."""
    with session.cursor() as cursor:
        cursor.execute(_LOCK_TIMEOUT)
        for schema, name in old.items():
            cursor.execute(_FACTS, (schema,))
            ((owner, comment, privileges),) = cursor.fetchall()
            this = sql.Identifier(schema)
            cursor.execute(sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(this, sql.Identifier(name)))
            whose = sql.SQL(" AUTHORIZATION {}").format(sql.Identifier(owner)) if owner else sql.SQL("")
            cursor.execute(sql.SQL("CREATE SCHEMA {}").format(this) + whose)
            cursor.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(this, sql.Literal(comment)))
            for privilege, role in privileges:
                whom = sql.Identifier(role) if role else sql.SQL("PUBLIC")
                cursor.execute(sql.SQL("GRANT {} ON SCHEMA {} TO {}").format(sql.SQL(privilege), this, whom))
        for extension, schema in extensions:
            moved = sql.SQL("ALTER EXTENSION {} SET SCHEMA {}")
            cursor.execute(moved.format(sql.Identifier(extension), sql.Identifier(schema)))


_EXTENSIONS: Final = """
SELECT e.extname, n.nspname, e.extrelocatable FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE n.nspname = ANY(%s) ORDER BY 1
"""
# What is outside of these schemas and needs what is in them: it would stay with the old ones, and go with them. Members
# of extensions move to the new ones.
_POINTING_IN: Final = """
WITH schemas AS (SELECT oid FROM pg_namespace WHERE nspname = ANY(%(schemas)s)),
inside (class, oid) AS (
    SELECT 'pg_class'::regclass, oid FROM pg_class WHERE relnamespace IN (SELECT oid FROM schemas)
    UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typnamespace IN (SELECT oid FROM schemas)
    UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace IN (SELECT oid FROM schemas)
    UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator WHERE oprnamespace IN (SELECT oid FROM schemas)
    UNION ALL SELECT 'pg_opclass'::regclass, oid FROM pg_opclass WHERE opcnamespace IN (SELECT oid FROM schemas)
    UNION ALL SELECT 'pg_collation'::regclass, oid FROM pg_collation WHERE collnamespace IN (SELECT oid FROM schemas)
    UNION ALL SELECT 'pg_ts_config'::regclass, oid FROM pg_ts_config WHERE cfgnamespace IN (SELECT oid FROM schemas)
)
SELECT DISTINCT found.object_names[1], found.object_names[2]
FROM inside JOIN pg_depend d ON d.refclassid = inside.class AND d.refobjid = inside.oid AND d.deptype IN ('n', 'a')
CROSS JOIN LATERAL pg_identify_object_as_address(d.classid, d.objid, d.objsubid) AS found
WHERE d.classid IN ('pg_class'::regclass, 'pg_attrdef'::regclass, 'pg_constraint'::regclass, 'pg_policy'::regclass,
                    'pg_proc'::regclass, 'pg_rewrite'::regclass, 'pg_trigger'::regclass)
  AND cardinality(found.object_names) > 1 AND found.object_names[1] <> ALL (%(schemas)s)
  AND found.object_names[1] !~ '^(pg_toast|pg_temp|pg_catalog$|information_schema$)'
  AND NOT EXISTS (
    SELECT FROM pg_depend e WHERE e.classid = inside.class AND e.objid = inside.oid AND e.deptype = 'e')
ORDER BY 1, 2
"""
# Whose the schema is (where we may give it to them), its comment, and who may do what (CREATE, USAGE) in it.
_FACTS: Final = """
SELECT CASE WHEN pg_has_role(n.nspowner, 'MEMBER') THEN pg_get_userbyid(n.nspowner)::text END,
       obj_description(n.oid, 'pg_namespace'),
       ARRAY(SELECT ARRAY[a.privilege_type, r.rolname::text] FROM aclexplode(n.nspacl) a
             LEFT JOIN pg_roles r ON r.oid = a.grantee WHERE a.grantee <> n.nspowner)
FROM pg_namespace n WHERE n.nspname = %s
"""
