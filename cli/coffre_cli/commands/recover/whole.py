"""A database that was restored, and whose process died before the progress file said so: it is found, and kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from coffre.model.errors import CoffreError
from coffre.model.recovery import Recovery, Step, StepState
from coffre.operations.restore_database.resume import identity_of, is_whole
from coffre.policy.recovery import with_step
from coffre_cli.commands.recover.progress_file import ProgressFile

if TYPE_CHECKING:
    from coffre.model.restore_report import RestoreReport
    from coffre.postgres.connection.address import Connection


def noting_whole(
    progress: ProgressFile, recovery: Recovery, step: Step, connection: Connection, restored_bytes: int | None
) -> Callable[[RestoreReport], None]:
    """Return what writes into the progress file which database is whole, with the results, before its mark is removed.

    The step is written as it is before that: what the progress file says of an earlier attempt counts no more.
    """
    progress.write(with_step(recovery, step))

    def note(report: RestoreReport) -> None:
        found = {
            "tables": len(report.tables),
            "rows": report.rows,
            "restored_bytes": restored_bytes,
            "exceptions": report.exceptions,
            "notes": report.notes,
        }
        with suppress(OSError, CoffreError):  # a restore that has ended does not fail for lack of a note
            proven = step.model_copy(update={**found, "whole": identity_of(connection)})
            progress.write(with_step(recovery, proven))

    return note


def recognized(step: Step, connection: Connection) -> Step | None:
    """Return the step as it ended, if an earlier attempt had ended it; raises what connecting raises."""
    if step.whole is None or not is_whole(connection, step.restore_id, step.whole):
        return None
    notes = (*step.notes, "It was complete before the interruption.")
    return step.model_copy(update={"state": StepState.DONE, "notes": notes})
