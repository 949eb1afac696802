"""Doing a recovery step by step: each is written into the progress file before it begins, and after it ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from coffre.model.recovery import Recovery, Step, StepKind, StepState
from coffre.model.restore import Scope
from coffre.model.storage import StorageScope
from coffre.model.words import counted
from coffre.operations.restore_database.replace_database import NOT_IN_PLACE
from coffre.operations.restore_database.resume import put_in_place
from coffre.operations.stored_backup.open_backup import open_manifest
from coffre.policy.recovery import next_step, sentence_of, with_step
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.scratch.owner_checks import ask
from coffre_cli.commands.recover.directory import write_directory
from coffre_cli.commands.recover.notify import send
from coffre_cli.commands.recover.recovery_run import Run
from coffre_cli.commands.recover.safety import REPLACE, back_up_destination, overwriting
from coffre_cli.commands.recover.settings import restore_settings
from coffre_cli.commands.recover.step_shown import show_step
from coffre_cli.commands.recover.whole import noting_whole, recognized
from coffre_cli.commands.restore.database_result import Ask
from coffre_cli.commands.restore.destination import DestinationChoice
from coffre_cli.commands.restore.objects_asked import Ask as ObjectsAsk
from coffre_cli.commands.restore.without_stack import restore_database_here, restore_objects_here
from coffre_cli.confirming import Confirmed
from coffre_cli.failures import defect, meant

if TYPE_CHECKING:
    from coffre.model.backup import Backup, Restore
    from coffre.model.configuration import Configuration
    from coffre.model.drill_options import Drill
    from coffre.model.restore_report import RestoreReport
    from coffre.postgres.connection.address import Connection

_LEFT_HINT: Final = "existing objects are not overwritten. To replace them"


def carry_out(run: Run, recovery: Recovery) -> Recovery:
    """Do what is left to do, one step after the other. A step that fails stops no other that does not need it."""
    while (step := next_step(recovery)) is not None:
        began = datetime.now(UTC)
        changes = {"state": StepState.RUNNING, "started_at": began, "ended_at": None, "attempts": step.attempts + 1}
        recovery = with_step(recovery, step.model_copy(update=changes))
        run.progress.write(recovery)
        ended = _attempt(run, recovery, step.model_copy(update=changes))
        ended = ended.model_copy(update={"ended_at": datetime.now(UTC)})
        recovery = with_step(recovery, ended)
        run.progress.write(recovery)
        if not run.quiet:
            show_step(ended)
    recovery = recovery.model_copy(update={"ended_at": datetime.now(UTC)})
    run.progress.write(recovery)
    return recovery


def _attempt(run: Run, recovery: Recovery, step: Step) -> Step:
    do: dict[StepKind, Callable[[Run, Step], Step]] = {
        StepKind.SAFETY: partial(back_up_destination, recovery),
        StepKind.SETTINGS: restore_settings,
        StepKind.DATABASE: partial(_database, recovery),
        StepKind.BUCKET: _bucket,
        StepKind.CHECKS: _checks,
        StepKind.NOTIFY: partial(_notify, recovery),
    }
    try:
        return do[step.kind](run, step)
    except Exception as error:  # noqa: BLE001 - whatever stops a step, a full disk or a defect, stops no other target
        found = meant(error) or defect(error)
        said = " ".join(filter(None, [found.message, found.detail, *getattr(error, "__notes__", []), found.hint]))
        return step.model_copy(update={"state": StepState.FAILED, "problem": f"{said} [{found.code}]"})


def _database(recovery: Recovery, run: Run, step: Step) -> Step:
    backup = run.backup_of(step)
    content = open_manifest(run.place.vault, backup).database
    connection = run.ground.database(step, content)
    if step.replaces:
        return _replace(run, step, backup, connection)
    if (whole := recognized(step, connection)) is not None:
        return whole
    step = step.model_copy(update={"whole": None})  # this attempt fills the database again
    on_whole = noting_whole(run.progress, recovery, step, connection, backup.plaintext_bytes)
    asked = Ask(backup, Scope(), DestinationChoice(connection, "", "--to"), run.place.command, has_stack=False)
    record, report = restore_database_here(
        run.place,
        asked,
        run.streams,
        quiet=run.quiet,
        restore_id=step.restore_id,
        continues=step.attempts > 1,
        on_whole=on_whole,
    )
    return _ended(step, record, report, restored_bytes=backup.plaintext_bytes)


def _replace(run: Run, step: Step, backup: Backup, connection: Connection) -> Step:
    """Replace a database in use, of which a backup exists by now; it is kept under another name too."""
    if step.attempts > 1 and put_in_place(connection, step.restore_id):
        note = "It was in its place before the interruption."
        return step.model_copy(update={"state": StepState.DONE, "rows": backup.rows, "notes": (note,)})
    asked = Ask(backup, REPLACE, DestinationChoice(connection, "", "--to"), run.place.command, has_stack=False)
    trial = replace(asked, scope=REPLACE.model_copy(update={"dry_run": True}))
    record, report = restore_database_here(run.place, trial, None, quiet=run.quiet)
    if report is None or report.plan is None:
        return _ended(step, record, report, restored_bytes=None)
    confirmed = Confirmed(report.plan.seen.name, plan=report.plan)
    record, report = restore_database_here(
        run.place, asked, run.streams, confirmed, quiet=run.quiet, restore_id=step.restore_id
    )
    step = _ended(step, record, report, restored_bytes=backup.plaintext_bytes)
    kept = report.kept if report else ()
    if any(one.what.startswith(NOT_IN_PLACE) for one in kept):
        return step.model_copy(update={"state": StepState.FAILED, "problem": " ".join(record.exceptions)})
    notes = (f"Kept: {one.what}. When no one needs it: {one.remove}" for one in kept)
    return step.model_copy(update={"notes": (*step.notes, *notes)})


def _bucket(run: Run, step: Step) -> Step:
    backup = run.backup_of(step)
    where = run.ground.bucket(step)
    if where.directory is not None:
        return write_directory(run, step, backup, where.directory)
    scope = overwriting(step) if step.replaces else StorageScope(to=where.to)
    with run.place.with_staging() as apart:
        asked = ObjectsAsk(backup, scope, step.store, run.streams, has_stack=False)
        confirmed = None
        if step.replaces:
            trial = replace(asked, scope=scope.model_copy(update={"dry_run": True}))
            record, report = restore_objects_here(apart, trial, quiet=run.quiet)
            if report is None or report.plan is None:
                return _ended(step, record, report, restored_bytes=None)
            confirmed = Confirmed(report.plan.seen.name, plan=report.plan)
        record, report = restore_objects_here(apart, asked, confirmed, quiet=run.quiet)
    storage = report.storage if report else None
    written = storage.restored.size_bytes + storage.same.size_bytes if storage else None
    step = _ended(step, record, report, restored_bytes=written)
    if storage is None or not storage.left.count:
        return step
    to = f" --to {where.to}" if where.to else ""
    command = f"{run.place.command} restore objects {backup.id}{to} --mode overwrite"
    left = f"{counted(storage.left.count, 'object')} at the destination are different: {_LEFT_HINT}: {command}"
    return step.model_copy(update={"exceptions": (*step.exceptions, left)})


def _ended(step: Step, record: Restore, report: RestoreReport | None, *, restored_bytes: int | None) -> Step:
    if record.failure is not None:
        failure = record.failure
        said = " ".join(filter(None, [failure.message, failure.hint]))
        return step.model_copy(update={"state": StepState.FAILED, "problem": f"{said} [{failure.code}]"})
    done = {
        "state": StepState.DONE,
        "tables": record.tables,
        "rows": record.rows,
        "objects": record.objects,
        "restored_bytes": restored_bytes,
        "exceptions": record.exceptions,
        "notes": report.notes if report else (),
    }
    if report is not None and report.storage is not None:
        done["objects"] = report.storage.written + report.storage.same.count
        done["notes"] = (*report.notes, *report.storage.notes)
    return step.model_copy(update=done)


def checks_of(configuration: Configuration | None, target: str) -> Drill | None:
    """Return the owner's checks of a database; None: it has none, or no configuration is known."""
    found = next((one.drill for one in configuration.databases if one.name == target), None) if configuration else None
    return found if found and found.checks else None


def _checks(run: Run, step: Step) -> Step:
    drill = checks_of(run.configuration, step.target)
    if drill is None:
        return step.model_copy(update={"state": StepState.LEFT_OUT, "problem": "No checks are configured any more."})
    connection = run.ground.asking(step)
    proofs = list(ask(drill.checks, connection, Children(), timeout_seconds=drill.check_timeout_seconds))
    said = tuple(f"{proof.name}: {'as expected' if proof.passed else 'FAILED'}" for proof in proofs)
    wrong = [
        f"{proof.name}: {proof.error or f'expected {json.dumps(proof.expected)}, found {json.dumps(proof.found)}'}"
        for proof in proofs
        if not proof.passed
    ]
    if not wrong:
        return step.model_copy(update={"state": StepState.DONE, "checks": said})
    return step.model_copy(update={"state": StepState.FAILED, "checks": said, "problem": "; ".join(wrong)})


def _notify(recovery: Recovery, run: Run, step: Step) -> Step:
    del run
    send(step.reference, sentence_of(recovery.model_copy(update={"ended_at": datetime.now(UTC)})), recovery)
    return step.model_copy(update={"state": StepState.DONE})
