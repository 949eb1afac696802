"""The records of backups: what a run writes of itself, and which backups exist."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Final

from coffre.catalog.newest import newest_of_each
from coffre.catalog.run_items import BackupItem, RunItem
from coffre.catalog.run_kinds import BACKUP
from coffre.catalog.run_listings import RunListings, RunPage
from coffre.catalog.runs import Runs
from coffre.catalog.scheduled_runs import ORPHAN_AFTER, Slots
from coffre.catalog.tables import ConditionFailedError, DynamoTable
from coffre.model.backup import Backup, Failure, Progress, Status, Tier
from coffre.model.errors import BackupStateError, IntegrityError
from coffre.model.kinds import TargetKind
from coffre.policy.recency import ID_WITHIN, newest_first

# A manifest is written within it, or what it refers to may have been removed: rotation does, once a run is FAILED.
_LATELY: Final = timedelta(minutes=5)
_STOPPED: Final = "Another run took this one for dead. It has stopped before it published anything."


class BackupRecords:
    """The part of the catalog that has the backups."""

    def __init__(self, table: DynamoTable, now: Callable[[], datetime]) -> None:
        self._now = now
        self._newest_of_each = partial(newest_of_each, table)
        self._backups = Runs(table, BACKUP)
        self._lists_of_backups = RunListings(table, BACKUP)
        self._slots = Slots(table, self._backups)

    # --- one run ---

    def create_backup(self, backup: Backup) -> None:
        """Add a backup, whose id must be new.

        Raises
        ------
        BackupStateError
            `BACKUP_EXISTS`, or `BACKUP_WITHOUT_TIER`: nothing would say how long to keep it.
        """
        if not backup.tiers:
            raise BackupStateError(f"The backup {backup.id} has no tier.", code="BACKUP_WITHOUT_TIER")
        self._backups.create(backup)

    def get_backup(self, backup_id: str) -> Backup:
        """Return a backup as it is at this instant.

        Raises
        ------
        BackupStateError
            `BACKUP_UNKNOWN`
        """
        return self._backups.get(backup_id)

    def heartbeat_backup(self, backup_id: str, now: datetime, progress: Progress) -> None:
        """Record that a backup in progress is alive, and how far it is.

        Raises
        ------
        LockLostError
            The backup is not in progress any more: the run must stop and publish nothing.
        """
        self._backups.heartbeat(backup_id, now, progress)

    def cancel_backup(self, backup_id: str, by: str) -> Backup:
        """Ask a backup in progress to end: it sees that with its next heartbeat (`RUN_ENDED` when it has ended)."""
        return self._backups.cancel(backup_id, by)

    def add_tier(self, backup_id: str, tier: Tier) -> Backup:
        """Let a backup carry one more tier. A tier that it already has changes nothing.

        Raises
        ------
        BackupStateError
            `BACKUP_UNKNOWN`, or `BACKUP_STATE` when the backup is FAILED or DELETED.
        """
        try:
            return self._backups.change(backup_id, {}, allowed=(Status.IN_PROGRESS, Status.COMPLETED), tiers=(tier,))
        except ConditionFailedError as error:
            found = self.get_backup(backup_id)
            raise _refused(found, f"cannot carry the tier {tier}", "Take a new backup.") from error

    def spread_backup(self, backup_id: str, why: str, workers: int) -> None:
        """Record that a backup in progress is taken by several functions together.

        Raises
        ------
        LockLostError
            The backup is not in progress any more.
        """
        self._backups.change_own(backup_id, {"spread": why, "workers": workers}, _STOPPED)

    def announce_manifest(self, backup_id: str, key: str, sha256: str) -> None:
        """Record which manifest a backup in progress is about to write.

        A manifest that is found after its run died is taken for that run's only when its SHA-256 was announced.

        Raises
        ------
        LockLostError
            The backup is not in progress any more: the run must stop and publish nothing.
        """
        self._backups.change_own(backup_id, {"manifest_key": key, "manifest_sha256": sha256}, _STOPPED)

    def complete_backup(self, backup: Backup) -> Backup:
        """Publish a backup in progress as COMPLETED, with its results, and return the stored record.

        Tiers that joined meanwhile stay. Repeating the call is fine while the manifest is the same.

        One that was stopped or cancelled just when it wrote the manifest that it had announced becomes COMPLETED: it
        can be restored, and the vault lists it. One that was not heard of for minutes stays FAILED: what it refers to
        may have been removed since.

        Parameters
        ----------
        backup
            With `completed_at`, `manifest_key` and `manifest_sha256`: without a manifest no backup exists.

        Raises
        ------
        BackupStateError
            `BACKUP_UNKNOWN`, `BACKUP_INCOMPLETE` (no manifest), or `BACKUP_STATE`: it has ended otherwise.
        """
        if not (backup.completed_at and backup.manifest_key and backup.manifest_sha256):
            raise BackupStateError(
                f"The backup {backup.id} has no time of completion or no manifest.", code="BACKUP_INCOMPLETE"
            )
        is_lately = BackupItem.heartbeat_at > self._now() - _LATELY
        is_announced = (BackupItem.manifest_sha256 == backup.manifest_sha256) & is_lately
        is_its = (RunItem.status == Status.IN_PROGRESS.value) | is_announced
        allowed = (Status.IN_PROGRESS, Status.FAILED)
        try:
            return self._backups.close(backup, Status.COMPLETED, allowed=allowed, tiers=backup.tiers, where=is_its)
        except ConditionFailedError as error:
            found = self.get_backup(backup.id)
            if found.status == Status.COMPLETED and found.manifest_sha256 == backup.manifest_sha256:
                return found
            raise _refused(found, "cannot be completed", "Another run closed it; see the audit events.") from error

    def fail_backup(self, backup_id: str, failure: Failure, now: datetime) -> Backup:
        """Mark a backup as FAILED, ended `now`, and return it. One that has ended already is returned as it is.

        Raises
        ------
        BackupStateError
            `BACKUP_UNKNOWN`
        """
        fields = {"failure": failure.model_dump(), "completed_at": now}
        try:
            return self._backups.change(backup_id, fields, allowed=(Status.IN_PROGRESS,), status=Status.FAILED)
        except ConditionFailedError:
            return self.get_backup(backup_id)

    def claim_slot(
        self,
        target: str,
        slot: datetime | str,
        backup_id: str,
        now: datetime,
        *,
        orphan_after: timedelta = ORPHAN_AFTER,
    ) -> str:
        """Return the id of the backup that answers for a target's scheduled time. Two callers get the same one.

        Parameters
        ----------
        slot
            The scheduled time; `2026-10-02T03:00:00Z` and `2026-10-02T05:00+02:00` are the same slot.
        backup_id
            The backup that would be taken. Its record has to be created right after a claim that returns this id.
        orphan_after
            When a claim whose backup has no record counts as abandoned.

        Returns
        -------
        str
            `backup_id` when the slot was free, ours already, or given back (its backup is FAILED or DELETED, or was
            never created); otherwise the owner's id, whose record may not exist yet.

        Raises
        ------
        PermanentError
            `SLOT_INVALID`: not a time with its zone.
        """
        return self._slots.claim(target, slot, backup_id, now, orphan_after=orphan_after)

    # --- listings ---

    def backups(
        self,
        *,
        target: str | None = None,
        status: Status | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        damaged: list[IntegrityError] | None = None,
    ) -> Iterator[Backup]:
        """Yield backups in the order of their ids, the latest first, reading as they are taken.

        Ids can be chosen by callers: `completed_backups` knows which backup is the newest. `since` (inclusive) and
        `until` (exclusive) are compared with the time in the id, to the millisecond. What is `damaged`: see `readable`.
        """
        return self._lists_of_backups.records(self._lists_of_backups.listing(target, status, since, until), damaged)

    def page_of_backups(
        self,
        size: int,
        *,
        target: str | None = None,
        status: Status | None = None,
        kind: TargetKind | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: str | None = None,
        fits: Callable[[Backup], bool] | None = None,
    ) -> RunPage[Backup]:
        """Return a page of backups in the order of their ids, of one kind of target, that fits (`RunListings.page`).

        `since` (inclusive) and `until` (exclusive) are about when a backup began, as its record says: ids, whose times
        can be chosen, say only where to look. `before` is the `next` of the page before.
        """
        lists = self._lists_of_backups
        first = since - ID_WITHIN if since is not None else None
        last = until + ID_WITHIN if until is not None else None
        listing = lists.began(lists.listing(target, status, first, last, before), since, until)
        return lists.page(listing, size, kind=kind, fits=fits)

    def completed_backups(self, target: str) -> list[Backup]:
        """Return the COMPLETED backups of a target, the one that was completed last first.

        Those of the future come last (`policy.recency`). The list comes from an index that may be a moment behind.
        """
        return newest_first(self._lists_of_backups.records(self._lists_of_backups.completed(target)), self._now())

    def latest_completed(self, target: str, *, damaged_too: bool = False, safety_too: bool = False) -> Backup | None:
        """Return the newest COMPLETED backup of a target that is still COMPLETED, and healthy, at this instant.

        The newest is the one that was completed last, whatever the time in its id. The index may still have one that
        was deleted, whose packs the next backup must not point at (docs/adr/0007).

        Parameters
        ----------
        damaged_too
            Take one that is known to be damaged as well.
        safety_too
            Take one of the tier SAFETY as well. It holds what a restore replaced: who restores the newest backup must
            not get that state (docs/adr/0021).
        """
        listed = (one for one in self.completed_backups(target) if safety_too or not one.is_safety)
        found = (self._backups.find(backup.id) for backup in listed)
        return next(
            (one for one in found if one and one.status is Status.COMPLETED and (damaged_too or one.is_healthy)), None
        )

    def newest_good(self, target: str, *, verified: bool = False) -> Backup | None:
        """Return the newest healthy backup of a target by its id but for the tier SAFETY, or the newest verified one.

        The table filters: however many failed or deleted ones are newer, only what fits is transferred. The index may
        be a moment behind.
        """
        found = self._lists_of_backups.records(self._lists_of_backups.good(target, verified=verified))
        return next((backup for backup in found if not backup.is_safety), None)

    def oldest(self, target: str) -> Backup | None:
        """Return the first backup of a target on record, whatever became of it. The index may be a moment behind."""
        return next(self._lists_of_backups.records(self._lists_of_backups.ends(target, 1, oldest_first=True)), None)

    def newest(self, target: str, count: int) -> tuple[Backup, ...]:
        """Return the newest records of a target by their ids, whatever became of them, in one small call.

        The index may be a moment behind.
        """
        return tuple(islice(self._lists_of_backups.records(self._lists_of_backups.ends(target, count)), count))

    def newest_of_each(self, targets: Collection[str], count: int) -> Mapping[str, tuple[Backup, ...]]:
        """Return what `newest` does for many targets, in one call; those are missing that it does not find."""
        return self._newest_of_each(targets, count)


def _refused(backup: Backup, cannot: str, hint: str) -> BackupStateError:
    return BackupStateError(f'The backup {backup.id} of "{backup.target}" is {backup.status} and {cannot}.', hint=hint)
