"""Moments in the tail of an interval: only those that fit its definitions are restored."""

from __future__ import annotations

from coffre.model.errors import RestoreError
from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.restore_database.journal_replay import definitions_of, lines_of
from coffre.policy.moments import Chosen, Point
from coffre.postgres.journal.fitting import fit
from coffre.postgres.journal.transactions import BaseSnapshot, Moment


def require_fit(job: RestoreJob, chosen: Chosen[str]) -> None:
    """Refuse a moment behind a transaction that does not fit the definitions of the interval.

    Raises
    ------
    RestoreError
        `JOURNAL_MOMENT`, with the last moment before that transaction.
    CoffreError
        What is damaged.
    """
    end = chosen.end
    if end is None or end.tail is None:
        return
    lines = lines_of(job, end.tail, job.decoder.of_recipients(chosen.interval.recipients))
    base = BaseSnapshot.parse(chosen.base.snapshot, chosen.base.lsn)
    found = fit(lines, definitions_of(job, chosen), end.stored_lsn, base)
    if found.misfit is None or Moment(chosen.point.time, chosen.point.lsn).is_before(found.misfit):
        return
    raise RestoreError(
        f"{chosen.point} of {job.backup.target} cannot be restored: {end.text or end.reason.value}"
        f" The transaction {found.misfit.xid}, committed at {Point(found.misfit.time)}, has changes that do not fit the"
        f" definitions of before: {found.why}.",
        code="JOURNAL_MOMENT",
        hint=f"Nothing was changed. The last moment before it: --at-lsn {Point(lsn=found.lsn)}",
    )
