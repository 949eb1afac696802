"""Continuing an earlier restore: what it has to have been, and what is said where one cannot continue by itself.

A restore whose process died between its end and the record of it is refused: nothing proves that it has ended, unless
who had it done keeps which database is whole before its mark is removed (`identity_of`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import psycopg2.extensions

from coffre.model.errors import CoffreError, RestoreError
from coffre.model.restore import Scope
from coffre.operations.restore_database.consent import old_name, restored_name
from coffre.operations.restore_database.job import RestoreJob
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.connect import connect
from coffre.postgres.connection.create_database import drop_database
from coffre.postgres.destination import unfinished_restore
from coffre.postgres.destination.content import content_of, first_of
from coffre.postgres.destination.copy_in import translated
from coffre.postgres.destination.database_swap import database_exists
from coffre.postgres.destination.destination import exists, profile_of
from coffre.postgres.source.snapshot_identity import read_identity

# What two attempts of a restore of tables have to have in common.
_CHOICE: Final = {"tables", "schemas", "rows", "with_dependencies", "apply", "replace"}
_KEPT: Final = frozenset({"RESTORE_STUCK", "RESUME_OTHER"})


def is_kept(error: Exception) -> bool:
    """Whether a new database stays after an error, because a person can have the restore continued."""
    return isinstance(error, CoffreError) and error.code in _KEPT


def how_to_continue(backup_id: str, restore_id: str, place: str, scope: Scope) -> str:
    """Return the command that continues a restore whose invocations do not continue it."""
    at = f"{scope.at.option} " if scope.at else ""
    if not scope.is_whole:
        what = "tables" if scope.rows is None else "rows"
        return (
            f"What is restored so far stays in {place}. Continue it with the same command and --resume: coffre restore "
            f"{what} {backup_id} ... --resume {restore_id} --here"
        )
    contents = "" if scope.contents.has_schema else f"--contents {scope.contents.value} "
    return (
        f"What is restored so far stays in {place}. Continue it: coffre restore database {backup_id} --to ADDRESS "
        f"{contents}{at}--resume {restore_id} --here, with the address of that database."
    )


def how_to_put_in_place(backup_id: str, restore_id: str) -> str:
    """Return what follows for a database that was to replace another one."""
    return f"Then put it in place: coffre restore database {backup_id} --replace --swap {restore_id}"


def restored_by(job: RestoreJob) -> dict[str, str]:
    """Return what a restore keeps at its destination about itself."""
    chosen = job.scope.model_dump_json(include=_CHOICE) if not job.scope.is_whole else ""
    at = job.scope.at.option if job.scope.at else ""
    return {"backup": job.backup.id, "contents": job.scope.contents.value, "chosen": chosen, "at": at}


def refuse_other(job: RestoreJob, known: Mapping[str, Any]) -> None:
    """Refuse to continue what was begun from another backup, or with other contents: the two would be mixed.

    Raises
    ------
    RestoreError
        `RESUME_OTHER`
    """
    begun = {key: known.get(key, "" if key == "at" else value) for key, value in restored_by(job).items()}
    if begun["chosen"] != restored_by(job)["chosen"]:
        raise RestoreError(
            f"The restore {job.owner_id} into {job.connection} was begun with another choice: "
            f"{_differing(begun['chosen'], restored_by(job)['chosen'])}.",
            code="RESUME_OTHER",
            hint=f"Nothing was changed. Give the same command as then, with --resume {job.owner_id}.",
        )
    if begun != restored_by(job):
        at = begun["at"] and f" {begun['at']}"
        raise RestoreError(
            f"The restore {job.owner_id} into {job.connection} was begun from the backup {begun['backup']} with "
            f"--contents {begun['contents']}{at}: nothing else can continue it.",
            code="RESUME_OTHER",
            hint=f"Nothing was changed. {_with_these(job, begun, at)}",
        )


def _with_these(job: RestoreJob, begun: Mapping[str, str], at: str) -> str:
    if not job.scope.is_whole:
        return f"Give the same command as then, of the backup {begun['backup']}{at}, with --resume {job.owner_id}."
    return (
        f"Continue it with these: coffre restore database {begun['backup']} --to ADDRESS "
        f"--contents {begun['contents']}{at} --resume {job.owner_id}"
    )


def _differing(then: str, now: str) -> str:
    """Return the options that differ. Not their values: a condition on rows can have a person's data."""
    if not (then and now):
        return "the whole backup" if now else "some of its tables"
    before, after = json.loads(then), json.loads(now)
    return ", ".join(name.replace("_", " ") for name in sorted(before) if before[name] != after.get(name))


def refuse_unmarked(job: RestoreJob) -> None:
    """Refuse to continue a restore that has left nothing to continue.

    Raises
    ------
    RestoreError
        `RESUME_MISSING`
    """
    if exists(job.connection):
        with translated(job.connection), connect(job.connection) as session:
            found = unfinished_restore.find(session)
        if found is not None and found.restore_id == job.owner_id:
            return
    raise nothing_to_resume(job)


def nothing_to_resume(job: RestoreJob) -> RestoreError:
    """Return the error for a restore that is to be continued, and has no marks."""
    return RestoreError(
        f"{job.connection} has no unfinished restore {job.owner_id}.",
        code="RESUME_MISSING",
        hint="Nothing was changed. Check the id (coffre show ID) and the address: --resume takes both of the restore "
        "that did not end. If its database was dropped, leave --resume out.",
    )


def refuse_unproven(job: RestoreJob) -> None:
    """Refuse a database that is in use, and has no mark of the earlier attempt that is to be continued.

    That attempt may have ended, and died before it could report that; or it never began, and the database is another
    one's. Equal numbers of rows would not tell the two apart.

    Raises
    ------
    RestoreError
        `RESUME_UNCLEAR`
    """
    if not exists(job.connection):
        return
    with translated(job.connection), connect(job.connection) as session:
        session.autocommit = True
        if unfinished_restore.find(session) is not None:
            return
        found = content_of(session, profile_of(job.connection, session, job.provider))
    if found:
        raise RestoreError(
            f"An earlier attempt of the restore {job.owner_id} was cut off. {job.connection} is not empty (it has "
            f"{first_of(found)}), and nothing in it says that it was restored.",
            code="RESUME_UNCLEAR",
            hint="Nothing was changed. Look at the database: the attempt may have been cut off after its last step "
            "(then the restore is complete), or before its first one. If you know that it is complete, use it. If no "
            "one needs its contents, drop it, and restore again; otherwise name another database.",
        )


def identity_of(connection: Connection) -> str | None:
    """Return what is the same of no two databases, whatever their names and addresses; raises what connecting does.

    None: the role may not ask for the server's identifier.
    """
    with translated(connection), connect(connection) as session:
        return _identity(session)


def _identity(session: psycopg2.extensions.connection) -> str | None:
    def query(statement: str) -> list[tuple[Any, ...]]:
        with session.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    ((oid,),) = query("SELECT oid::bigint FROM pg_catalog.pg_database WHERE datname = current_database()")
    system = read_identity(query).system
    return f"{system} {oid}" if system else None


def is_whole(connection: Connection, restore_id: str, identity: str) -> bool:
    """Return whether this is the database that was whole before its restore removed the mark, which is removed now.

    One that was dropped since, or emptied, is restored again.
    """
    if not exists(connection):
        return False
    with translated(connection), connect(connection) as session:
        session.autocommit = True
        if _identity(session) != identity:
            return False
        found = unfinished_restore.find(session)
        if found is not None and found.restore_id != restore_id:
            return False
        if found is not None:
            unfinished_restore.end(session)
        return bool(content_of(session, profile_of(connection, session, "auto")))


def put_in_place(connection: Connection, restore_id: str) -> bool:
    """Return whether an attempt with this id has replaced the database; what a killed one had built is removed.

    Both names hold the id: they are no one else's.
    """
    with translated(connection):
        if database_exists(connection, old_name(connection.database, restore_id)):
            return True
        built = connection.to_database(restored_name(connection.database, restore_id))
        if exists(built):
            drop_database(built)
    return False
