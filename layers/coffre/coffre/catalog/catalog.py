"""The catalog: which backups and restores exist, and how far each is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

import botocore.session

from coffre.catalog.api_keys import ApiKeys
from coffre.catalog.attempts import Attempts
from coffre.catalog.audit import Audit
from coffre.catalog.checkups import Checkups
from coffre.catalog.configurations import Configurations
from coffre.catalog.confirmations import Confirmations
from coffre.catalog.copies import Copies
from coffre.catalog.deliveries import Deliveries
from coffre.catalog.drill_runs import DrillRuns
from coffre.catalog.incidents import Incidents
from coffre.catalog.latest import Latest
from coffre.catalog.lifecycle_marks import LifecycleMarks
from coffre.catalog.lock import Locks
from coffre.catalog.newest import newest_of_each
from coffre.catalog.parts import Parts
from coffre.catalog.points import Points
from coffre.catalog.protection import Protection
from coffre.catalog.recipients import Recipients
from coffre.catalog.run_items import BackupItem, RestoreItem, RunItem
from coffre.catalog.runs import BACKUP, RESTORE, RunPage, Runs
from coffre.catalog.servers import Servers
from coffre.catalog.sessions import Sessions
from coffre.catalog.slot import ORPHAN_AFTER, Slots
from coffre.catalog.spread import Spread
from coffre.catalog.starts import Starts
from coffre.catalog.tables import ConditionFailedError, DynamoTable
from coffre.catalog.ticks import Ticks
from coffre.catalog.usages import Usages
from coffre.model.backup import RUN_DIED, Backup, Failure, Progress, Restore, Status, Tier
from coffre.model.errors import BackupStateError, LockLostError
from coffre.model.kinds import TargetKind
from coffre.policy.recency import newest_first

# A manifest is written within it, or what it refers to may have been removed: rotation does, once a run is FAILED.
_LATELY: Final = timedelta(minutes=5)


class Catalog:
    """The records of one deployment, in one DynamoDB table.

    Every method can raise `CatalogError` (retryable) when the table does not answer, and `IntegrityError`
    (`RECORD_DAMAGED`) when an item was changed by hand. Single records are read consistently, and so are listings
    without a filter; a listing by target or status comes from an index that may be a moment behind.

    Parameters
    ----------
    table_name
        The table; nothing is asked of it before the first call.
    region, endpoint_url
        As boto3 takes them; by default from the environment (`AWS_DEFAULT_REGION`, `AWS_ENDPOINT_URL_DYNAMODB`,
        `AWS_ENDPOINT_URL`).
    session
        Of the process's other clients; by default one of its own.
    now
        The clock: a backup of the future is never the newest.
    origin
        From where this process records audit events: the function or the command, and the region.

    Attributes
    ----------
    locks, audit
        Who works on which target; who did what.
    keeping, protection
        What a backup's life depends on: pins, verification, deletion; holds and locks.
    incidents, recipients
        Which problems were reported; since when each public key has been in use.
    confirmations
        Plans whose tokens were given out.
    deliveries
        Which run an event has started.
    checkups
        What doctor said last about each target.
    servers
        Which databases were found on servers.
    configurations
        The versions of the configuration document.
    latest
        How the newest drills ended, and how much the vault holds.
    drill_runs
        Which drills run.
    usages
        What each run used.
    copies
        Which backups are in which copy of the vault.
    points
        Which restore points of a database and its buckets were taken.
    parts
        What the records of finished parts are: a run continues from those of one that did not finish.
    sessions, api_keys, attempts, starts
        Who is signed in to the console; the keys of its API; how often requests were refused; what it has started.
    ticks
        Up to which time the runs of schedules were started.
    """

    def __init__(
        self,
        table_name: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        session: botocore.session.Session | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        origin: str | None = None,
    ) -> None:
        self._now = now
        self._table = DynamoTable(table_name, region=region, endpoint_url=endpoint_url, session=session)
        self._backups = Runs(self._table, BACKUP)
        self._restores = Runs(self._table, RESTORE)
        self._slots = Slots(self._table, self._backups)
        self.locks = Locks(self._table)
        self.audit = Audit(self._table, origin)
        self.keeping = LifecycleMarks(self._backups)
        self.protection = Protection(self._backups)
        self.incidents = Incidents(self._table)
        self.recipients = Recipients(self._table)
        self.confirmations = Confirmations(self._table)
        self.deliveries = Deliveries(self._table)
        self.drill_runs = DrillRuns(self._table)
        self.checkups = Checkups(self._table)
        self.servers = Servers(self._table)
        self.configurations = Configurations(self._table)
        self.latest = Latest(self._table)
        self.ticks = Ticks(self._table)
        self.usages = Usages(self._table)
        self.copies = Copies(self._table)
        self.points = Points(self._table)
        self.parts = Parts(self._table)
        self.spread = Spread(self._table)
        self.sessions = Sessions(self._table)
        self.api_keys = ApiKeys(self._table)
        self.attempts = Attempts(self._table)
        self.starts = Starts(self._table)

    # --- backups: one run ---

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
        try:
            self._backups.change(backup_id, {"spread": why, "workers": workers}, allowed=(Status.IN_PROGRESS,))
        except ConditionFailedError as error:
            raise LockLostError(
                f"The backup {backup_id} is no longer this run's.",
                hint="Another run took this one for dead. It has stopped before it published anything.",
            ) from error

    def announce_manifest(self, backup_id: str, key: str, sha256: str) -> None:
        """Record which manifest a backup in progress is about to write.

        A manifest that is found after its run died is taken for that run's only when its SHA-256 was announced.

        Raises
        ------
        LockLostError
            The backup is not in progress any more: the run must stop and publish nothing.
        """
        try:
            fields = {"manifest_key": key, "manifest_sha256": sha256}
            self._backups.change(backup_id, fields, allowed=(Status.IN_PROGRESS,))
        except ConditionFailedError as error:
            raise LockLostError(
                f"The backup {backup_id} is no longer this run's.",
                hint="Another run took this one for dead. It has stopped before it published anything.",
            ) from error

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

    # --- backups: listings ---

    def backups(
        self,
        *,
        target: str | None = None,
        status: Status | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[Backup]:
        """Yield backups in the order of their ids, the latest first, reading as they are taken.

        Ids can be chosen by callers: `completed_backups` knows which backup is the newest. `since` (inclusive) and
        `until` (exclusive) are compared with the time in the id, to the millisecond.
        """
        return self._backups.records(self._backups.listing(target, status, since, until))

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
        """Return a page of what `backups` lists, of one kind of target, that fits, in one call (`Runs.page`).

        `before` is the `next` of the page before.
        """
        listing = self._backups.listing(target, status, since, until, before)
        return self._backups.page(listing, size, kind=kind, fits=fits)

    def completed_backups(self, target: str) -> list[Backup]:
        """Return the COMPLETED backups of a target, the one that was completed last first.

        Those of the future come last (`policy.recency`). The list comes from an index that may be a moment behind.
        """
        return newest_first(self._backups.records(self._backups.completed(target)), self._now())

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
        found = self._backups.records(self._backups.good(target, verified=verified))
        return next((backup for backup in found if not backup.is_safety), None)

    def oldest(self, target: str) -> Backup | None:
        """Return the first backup of a target on record, whatever became of it. The index may be a moment behind."""
        return next(self._backups.records(self._backups.ends(target, 1, oldest_first=True)), None)

    def newest(self, target: str, count: int) -> tuple[Backup, ...]:
        """Return the newest records of a target by their ids, whatever became of them, in one small call.

        The index may be a moment behind.
        """
        return tuple(islice(self._backups.records(self._backups.ends(target, count)), count))

    def newest_of_each(self, targets: Collection[str], count: int) -> Mapping[str, tuple[Backup, ...]]:
        """Return what `newest` does for many targets, in one call; those are missing that it does not find."""
        return newest_of_each(self._table, targets, count)

    # --- restores ---

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
        try:
            self._restores.change(restore_id, {"confirmed": request_sha256}, allowed=(Status.IN_PROGRESS,))
        except ConditionFailedError as error:
            raise LockLostError(
                f"The restore {restore_id} is no longer this run's.", hint="Nothing was changed. Run it again."
            ) from error

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
        fields = {"awaited": invocation, "heartbeat_at": until}
        try:
            self._restores.change(restore_id, fields, allowed=(Status.IN_PROGRESS,))
        except ConditionFailedError as error:
            raise LockLostError(
                f"The restore {restore_id} is no longer this run's.",
                hint="Another run took this one for dead. It has stopped; objects that are restored stay.",
            ) from error

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

    def restores(self, target: str | None = None, *, status: Status | None = None) -> Iterator[Restore]:
        """Yield restores newest first, reading as they are taken."""
        return self._restores.records(self._restores.listing(target, status))

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
        return self._restores.page(self._restores.listing(target, status, before=before), size, fits=fits)


def _refused(backup: Backup, cannot: str, hint: str) -> BackupStateError:
    return BackupStateError(f'The backup {backup.id} of "{backup.target}" is {backup.status} and {cannot}.', hint=hint)
