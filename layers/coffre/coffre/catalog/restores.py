"""The records of restores: what a run writes of itself, and which restores exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from coffre.catalog.run_items import RestoreItem
from coffre.catalog.run_kinds import RESTORE
from coffre.catalog.run_listings import RunListings, RunPage
from coffre.catalog.runs import Runs
from coffre.catalog.tables import ConditionFailedError, DynamoTable
from coffre.model.backup import RUN_DIED, Progress, Restore, Status
from coffre.model.errors import BackupStateError, IntegrityError


class RestoreRecords:
    """The part of the catalog that has the restores."""

    def __init__(self, table: DynamoTable) -> None:
        self._restores = Runs(table, RESTORE)
        self._lists_of_restores = RunListings(table, RESTORE)

    def create_restore(self, restore: Restore) -> None:
        """Add a restore, whose id must be new (`RESTORE_EXISTS`)."""
        self._restores.create(restore)

    def get_restore(self, restore_id: str) -> Restore:
        """Return a restore as it is at this instant (`RESTORE_UNKNOWN`)."""
        return self._restores.get(restore_id)

    def confirm_restore(self, restore_id: str, request_sha256: str) -> None:
        """Record which request of a restore in progress a person has confirmed.

        Raises
        ------
        LockLostError
            The restore is not in progress any more.
        """
        self._restores.change_own(restore_id, {"confirmed": request_sha256}, "Nothing was changed. Run it again.")

    def heartbeat_restore(self, restore_id: str, now: datetime, progress: Progress) -> None:
        """Record that a restore in progress is alive, and how far it is (`LockLostError` when it is not any more)."""
        self._restores.heartbeat(restore_id, now, progress)

    def cancel_restore(self, restore_id: str, by: str) -> Restore:
        """Ask a restore in progress to end: it sees that with its next heartbeat (`RUN_ENDED` when it has ended)."""
        return self._restores.cancel(restore_id, by)

    def continue_restore(
        self, restore_id: str, invocation: int, now: datetime, *, stale_after: timedelta
    ) -> Restore | None:
        """Give one invocation a restore that continues, or whose invocation of this number died.

        None: the restore has ended or was handed on, or another invocation works on it.

        As with locks (`Locks.resume`), no clock decides which of two it is.
        """
        number = RestoreItem.invocation
        dead = (number == invocation) & (RestoreItem.heartbeat_at < now - stale_after)
        free = number.does_not_exist() | (number < invocation) | dead
        due = RestoreItem.awaited.does_not_exist() | (RestoreItem.awaited <= invocation)
        fields = {"invocation": invocation, "heartbeat_at": now}
        try:
            return self._restores.change(restore_id, fields, allowed=(Status.IN_PROGRESS,), where=free & due)
        except ConditionFailedError:
            return None

    def hand_over_restore(self, restore_id: str, invocation: int, until: datetime) -> None:
        """Keep a restore alive until this time for the invocation of this number, and for none before it.

        Raises
        ------
        LockLostError
            It is not in progress any more: it must not continue.
        """
        hint = "Another run took this one for dead. It has stopped; objects that are restored stay."
        self._restores.change_own(restore_id, {"awaited": invocation, "heartbeat_at": until}, hint)

    def finish_restore(self, restore: Restore) -> Restore:
        """Write how a restore ended (COMPLETED or FAILED) and return the stored record. Repeating it is fine.

        One that was taken for dead meanwhile and is done after all becomes COMPLETED: its data is restored.

        Raises
        ------
        BackupStateError
            `RESTORE_UNKNOWN`, or `RESTORE_STATE`: it has ended otherwise, or the given record has not ended.
        """
        if restore.status not in (Status.COMPLETED, Status.FAILED):
            raise BackupStateError(f"A restore cannot end as {restore.status}.", code="RESTORE_STATE")
        try:
            return self._restores.close(restore, restore.status, allowed=(Status.IN_PROGRESS,))
        except ConditionFailedError as error:
            found = self.get_restore(restore.id)
            if found.status == restore.status:
                return found
            if restore.status is Status.COMPLETED and found.failure and found.failure.code == RUN_DIED:
                return self._restores.close(restore, restore.status, allowed=(Status.FAILED,))
            raise BackupStateError(
                f"The restore {restore.id} is {found.status} and cannot become {restore.status}.", code="RESTORE_STATE"
            ) from error

    def restores(
        self,
        target: str | None = None,
        *,
        status: Status | None = None,
        damaged: list[IntegrityError] | None = None,
    ) -> Iterator[Restore]:
        """Yield restores newest first, reading as they are taken; what is `damaged`: see `readable`."""
        return self._lists_of_restores.records(self._lists_of_restores.listing(target, status), damaged)

    def page_of_restores(
        self,
        size: int,
        *,
        target: str | None = None,
        status: Status | None = None,
        before: str | None = None,
        fits: Callable[[Restore], bool] | None = None,
    ) -> RunPage[Restore]:
        """Return a page of restores, as `page_of_backups` does."""
        return self._lists_of_restores.page(
            self._lists_of_restores.listing(target, status, before=before), size, fits=fits
        )
