"""Admission: whether a request for a backup starts a run. Slot, lock, record."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from coffre.catalog.catalog import Catalog
from coffre.catalog.scheduled_runs import ORPHAN_AFTER
from coffre.model.audit import Actor
from coffre.model.backup import Backup, Status, Tier
from coffre.model.errors import BackupStateError, CatalogError
from coffre.model.kinds import TargetKind
from coffre.operations.runs.dead_runs import STALE_AFTER, is_silent, settle_backup
from coffre.policy.recency import ID_WITHIN, refuse_distant_id
from coffre.vault.vault import Vault

_ACTOR: Final = Actor("backup", verified=True)
# A run that holds a slot or a lock without a record is about to write it: a few calls of the catalog.
_PAUSE_SECONDS: Final = 0.25
_PAUSES: Final = 20
# Older than any claim: as this run has the lock, another one with the slot and without a record cannot have started.
_IMMEDIATELY: Final = timedelta(days=-1)


class RunOutcome(StrEnum):
    """How a request for a backup ended."""

    COMPLETED = "completed"
    SKIPPED = "skipped"
    JOINED = "joined"
    PAUSED = "paused"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Request:
    """A request for a backup of one target, with the id `backup_id`.

    `slot` is the scheduled time of a cron rule, None for a run by hand. `request_id` is the invocation's. `keep` is how
    long a backup taken by hand is kept; None: forever.
    """

    target: str
    kind: TargetKind
    tier: Tier
    backup_id: str
    request_id: str
    slot: datetime | None = None
    keep: timedelta | None = None


@dataclass(frozen=True)
class Result:
    """The answer to a request: `backup` is the one that fulfils it, `reason` is why no run was started."""

    outcome: RunOutcome
    backup: Backup
    reason: str | None = None


class _StartingError(Exception):
    """Another run holds the slot or the lock, and has no record yet."""


@dataclass(frozen=True)
class Admission:
    """Starts at most one run at a time for each target, and one for each slot.

    Parameters
    ----------
    now
        The clock.
    pause
        Waits for this number of seconds.
    report_died
        Gets the record of a run that was found dead and marked FAILED.
    """

    catalog: Catalog
    vault: Vault
    now: Callable[[], datetime]
    pause: Callable[[float], None]
    report_died: Callable[[Backup], None]

    def begin(self, request: Request) -> Backup | Result:
        """Return the record of a run that begins now, or the answer to a request that starts none.

        Raises
        ------
        CatalogError
            Nothing was started, and the target's lock is free.
        EventError
            `ID_NOT_OF_NOW`: the time in the request's id is not the current time.
        """
        for _ in range(_PAUSES):
            try:
                if (repeated := self._repeated(request)) is not None:
                    return repeated
                refuse_distant_id("backup_id", request.backup_id, self.now())
                return self._join_slot(request) or self._begin(request)
            except _StartingError:
                self.pause(_PAUSE_SECONDS)
        try:
            return self._begin(request)
        except _StartingError as error:
            raise CatalogError(
                f'Another run of "{request.target}" is just starting or ending.',
                code="RUN_STARTING",
                hint="Nothing was done. Run it again in a minute; Lambda repeats a scheduled run by itself.",
            ) from error

    def resume(self, request: Request, continuation: int) -> Backup | Result:
        """Return the record of a paused run for this invocation alone to continue, or why it does not continue.

        Parameters
        ----------
        continuation
            Number of earlier invocations of the run.

        Raises
        ------
        BackupStateError
            No such run exists.
        LockLostError
            Another run of the target has replaced it.
        """
        backup = self.catalog.get_backup(request.backup_id)
        if backup.status.is_final:
            return Result(RunOutcome.SKIPPED, backup, f"backup {backup.id} is {backup.status}")
        locks, now = self.catalog.locks, self.now()
        if not locks.resume(request.target, backup.id, now, continuation=continuation, stale_after=STALE_AFTER):
            return Result(RunOutcome.SKIPPED, backup, f"another invocation is working on backup {backup.id}")
        return backup

    def _begin(self, request: Request) -> Backup | Result:
        target, backup_id = request.target, request.backup_id
        lock = self.catalog.locks.acquire(target, backup_id, self.now(), stale_after=STALE_AFTER)
        if not lock.acquired:
            return self._defer_to(request, lock.owner)
        try:
            self._settle_dead(target, backup_id, lock.dead_owner)
            begun = self._join_slot(request, orphan_after=_IMMEDIATELY) or self._create(request)
        except BackupStateError:
            # The same event was delivered twice at the same time: the other run has the lock, and the same id.
            if (known := self._repeated(request)) is not None:
                return known
            raise
        except BaseException:
            self.release(target, backup_id)
            raise
        if isinstance(begun, Result):
            self.release(target, backup_id)
        return begun

    def _repeated(self, request: Request) -> Result | None:
        """Return the answer to an event that was delivered before: a chosen id belongs to one run only."""
        try:
            backup = self.catalog.get_backup(request.backup_id)
        except BackupStateError:
            return None
        if self._is_dead(backup.id):
            self._settle(backup)
            self.release(backup.target, backup.id)
            backup = self.catalog.get_backup(backup.id)
        return Result(RunOutcome.SKIPPED, backup, f"backup {backup.id} was begun before; it is {backup.status}")

    def _join_slot(self, request: Request, *, orphan_after: timedelta = ORPHAN_AFTER) -> Result | None:
        """Claim the request's slot, or add the tier to the backup that owns it. None: start a run."""
        if request.slot is None:
            return None
        owner = self.catalog.claim_slot(
            request.target, request.slot, request.backup_id, self.now(), orphan_after=orphan_after
        )
        if owner == request.backup_id or self._is_dead(owner):
            return None
        return self._join(request, owner)

    def _is_dead(self, backup_id: str) -> bool:
        backup = self._find(backup_id)
        return is_silent(backup, self.now(), STALE_AFTER)

    def _find(self, backup_id: str) -> Backup:
        try:
            return self.catalog.get_backup(backup_id)
        except BackupStateError as error:
            raise _StartingError from error

    def _join(self, request: Request, backup_id: str) -> Result:
        try:
            backup = self.catalog.add_tier(backup_id, request.tier)
        except BackupStateError as error:  # it has failed just now
            raise _StartingError from error
        self.vault.mark_tier(request.target, backup_id, request.tier)
        return Result(RunOutcome.JOINED, backup, f"backup {backup_id} already covers the slot {backup.slot}")

    def _defer_to(self, request: Request, owner: str) -> Result:
        """Join the run that has the lock if it has the same slot, else end as skipped.

        No other run of the week or the month follows: the one that has the lock carries that tier, too.
        """
        backup = self._find(owner)
        if request.slot is not None and backup.slot == request.slot.isoformat():
            return self._join(request, owner)
        since = f"{backup.created_at:%Y-%m-%d %H:%M:%S} UTC"
        reason = f"backup {owner} of {request.target} is already running, since {since}"
        if request.tier.is_rare and not backup.is_safety:
            backup = self._join(request, owner).backup
            reason += f", and carries the tier {request.tier} too"
        # The caller may be waiting for a backup with this id, and finds the reason here.
        self.catalog.audit.record(self.now(), _ACTOR, "backup.skipped", request.target, request.backup_id, reason)
        return Result(RunOutcome.SKIPPED, backup, reason)

    def _create(self, request: Request) -> Backup:
        now = self.now()
        backup = Backup(
            id=request.backup_id,
            target=request.target,
            kind=request.kind,
            tiers=self._tiers(request),
            status=Status.IN_PROGRESS,
            slot=request.slot.isoformat() if request.slot else None,
            created_at=now,
            started_at=now,
            heartbeat_at=now,
            expires_at=now + request.keep if request.keep else None,
            request_id=request.request_id,
        )
        self.catalog.create_backup(backup)
        return backup

    def _tiers(self, request: Request) -> tuple[Tier, ...]:
        gathered = gathered_tiers(self.catalog, request.target, request.slot) if request.slot is not None else ()
        return tuple(sorted({request.tier, *gathered}))

    # --- dead runs ---

    def _settle_dead(self, target: str, backup_id: str, dead_owner: str | None) -> None:
        """End the records of all unfinished runs of the target: this run has the lock, so none of them is alive."""
        unfinished = {
            backup.id for backup in self.catalog.backups(status=Status.IN_PROGRESS) if backup.target == target
        }
        for found in sorted((unfinished | {dead_owner or backup_id}) - {backup_id}):
            with contextlib.suppress(_StartingError):  # it died before it wrote a record
                self._settle(self._find(found))

    def _settle(self, backup: Backup) -> None:
        failed = settle_backup(self.catalog, self.vault, backup, self.now())
        if failed is not None:
            self.report_died(failed)

    def release(self, target: str, backup_id: str) -> None:
        """Release the lock. If the catalog does not answer, the lock expires by itself."""
        with contextlib.suppress(CatalogError):
            self.catalog.locks.release(target, backup_id)


def gathered_tiers(catalog: Catalog, target: str, slot: datetime) -> set[Tier]:
    """Return the tiers that failed runs of a target's slot had gathered."""
    failed = (one for one in catalog.backups(target=target, since=slot - ID_WITHIN) if one.status is Status.FAILED)
    return {tier for one in failed if one.slot == slot.isoformat() for tier in one.tiers}
