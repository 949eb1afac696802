"""The life of a backup run in the catalog: slot, lock, record, heartbeat, end. The same for every kind of target."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from ulid import ULID

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Failure, Progress, Status, Tier
from coffre.model.errors import BackupStateError, CatalogError
from coffre.model.manifest import Manifest
from coffre.model.target import TargetKind
from coffre.operations.progress import BEAT_SECONDS, Meter, Watch
from coffre.vault.vault import Committed, Vault

# Twelve missed heartbeats: the run is dead, not slow.
STALE_AFTER: Final = timedelta(seconds=60)


class Outcome(StrEnum):
    """How a request for a backup ended."""

    COMPLETED = "completed"
    SKIPPED = "skipped"
    JOINED = "joined"


@dataclass(frozen=True)
class Request:
    """Somebody wants a backup of one target: `slot` is the scheduled time of a cron rule, None when run by hand."""

    target: str
    kind: TargetKind
    tier: Tier
    slot: datetime | None = None
    backup_id: str | None = None
    request_id: str | None = None


@dataclass(frozen=True)
class Result:
    """What became of a request: `backup` is the one that answers it, `reason` says why it was not run now."""

    outcome: Outcome
    backup: Backup
    reason: str | None = None


@dataclass(frozen=True)
class Run:
    """What the work gets to know about its own run.

    `ready_to_commit` is called right before the manifest is written: it raises when this run may not publish any more
    (`LockLostError`, `CatalogError`), and returns the tiers that the backup carries by now.
    """

    backup: Backup
    meter: Meter
    watch: Watch
    ready_to_commit: Callable[[], tuple[Tier, ...]]


@dataclass(frozen=True)
class Lifecycle:
    """Runs a backup's work between a claimed slot and a recorded end.

    Parameters
    ----------
    now
        The clock.
    remaining_seconds
        Time until the platform kills the function.
    stop
        Makes the work fail soon.
    """

    catalog: Catalog
    vault: Vault
    now: Callable[[], datetime]
    remaining_seconds: Callable[[], float]
    stop: Callable[[], None]
    beat_seconds: float = BEAT_SECONDS

    def run(self, request: Request, work: Callable[[Run], tuple[Manifest, Committed]]) -> Result:
        """Answer a request: do the work, or say which backup answers it already.

        `work` returns the manifest that it has committed. Whatever it raises is recorded in the catalog and raised.
        """
        backup_id = request.backup_id or str(ULID.from_datetime(self.now()))
        if (joined := self._join_slot(request, backup_id)) is not None:
            return joined
        lock = self.catalog.locks.acquire(request.target, backup_id, self.now(), stale_after=STALE_AFTER)
        if not lock.acquired:
            return self._defer_to(request, backup_id, lock.owner)
        if lock.dead_owner is not None:
            self._bury(request.target, lock.dead_owner)
        backup = self._create(request, backup_id)
        return Result(Outcome.COMPLETED, self._work(backup, work))

    def _join_slot(self, request: Request, backup_id: str) -> Result | None:
        """Let the backup that owns this slot carry this tier too, if there is one that lives."""
        if request.slot is None:
            return None
        owner = self.catalog.claim_slot(request.target, request.slot, backup_id, self.now())
        if owner == backup_id:
            return None
        try:
            return self._join(request, owner)
        except BackupStateError:
            # It failed between the two calls, or has not written its record yet: the lock decides who runs.
            return None

    def _join(self, request: Request, backup_id: str) -> Result:
        backup = self.catalog.add_tier(backup_id, request.tier)
        self.vault.mark_tier(request.target, backup_id, request.tier)
        return Result(Outcome.JOINED, backup, f"backup {backup_id} answers for the slot {backup.slot}")

    def _defer_to(self, request: Request, backup_id: str, owner: str) -> Result:
        """Join the run that has the lock when it is of the same slot, else end as skipped."""
        try:
            backup = self.catalog.get_backup(owner)
            if request.slot is not None and backup.slot == request.slot.isoformat():
                return self._join(request, owner)
        except BackupStateError as error:
            raise CatalogError(
                f'Another run of "{request.target}" is just starting or ending.',
                code="RUN_STARTING",
                hint="Nothing was done. Run it again in a minute; a scheduled run is tried again by itself.",
            ) from error
        since = f"{backup.created_at:%Y-%m-%d %H:%M:%S} UTC"
        reason = f"backup {owner} of {request.target} is already running, since {since}"
        # Who asked for it may be waiting for the id: this is where it learns.
        self.catalog.audit.record(self.now(), "backup", "skipped", request.target, backup_id, reason)
        return Result(Outcome.SKIPPED, backup, reason)

    def _bury(self, target: str, backup_id: str) -> None:
        """Settle a run that died without a word: COMPLETED when its manifest is there, else FAILED."""
        try:
            backup = self.catalog.get_backup(backup_id)
        except BackupStateError:
            return
        if backup.status.is_final:
            return
        found = self.vault.find_manifest(target, backup_id)
        if found is not None:
            self.catalog.complete_backup(completed(backup, *found))
            return
        failure = Failure(
            code="RUN_DIED",
            message="The run stopped without a word (killed, out of memory, or its deadline passed).",
            hint="Look at the function's log for this request id; more memory or time often helps.",
        )
        self.catalog.fail_backup(backup_id, failure, self.now())

    def _create(self, request: Request, backup_id: str) -> Backup:
        now = self.now()
        backup = Backup(
            id=backup_id,
            target=request.target,
            kind=request.kind,
            tiers=self._tiers(request),
            status=Status.IN_PROGRESS,
            slot=request.slot.isoformat() if request.slot else None,
            created_at=now,
            started_at=now,
            heartbeat_at=now,
            request_id=request.request_id,
        )
        self.catalog.create_backup(backup)
        return backup

    def _tiers(self, request: Request) -> tuple[Tier, ...]:
        """The request's tier, and those that an earlier, failed run of the same slot had gathered."""
        tiers = {request.tier}
        if request.slot is not None:
            slot = request.slot.isoformat()
            for backup in self.catalog.backups(target=request.target, since=request.slot):
                if backup.slot == slot and backup.status is Status.FAILED:
                    tiers.update(backup.tiers)
        return tuple(sorted(tiers))

    def _work(self, backup: Backup, work: Callable[[Run], tuple[Manifest, Committed]]) -> Backup:
        meter = Meter()
        watch = Watch(
            meter,
            beat=lambda progress: self._beat(backup, progress),
            remaining_seconds=self.remaining_seconds,
            stop=self.stop,
            beat_seconds=self.beat_seconds,
        )
        try:
            with watch:
                manifest, committed = work(Run(backup, meter, watch, lambda: self._ready_to_commit(backup)))
        except Exception as error:
            self._end_failed(backup, error)
            raise
        record = self._publish(backup, manifest, committed)
        self._release(backup)
        return record

    def _ready_to_commit(self, backup: Backup) -> tuple[Tier, ...]:
        """Make sure that this run may still publish, and return the tiers that it has gathered."""
        self.catalog.locks.renew(backup.target, backup.id, self.now())
        return self.catalog.get_backup(backup.id).tiers

    def _publish(self, backup: Backup, manifest: Manifest, committed: Committed) -> Backup:
        try:
            return self.catalog.complete_backup(completed(backup, manifest, committed))
        except CatalogError as error:
            # The lock stays: when it is stale, the next run finds the manifest and publishes it.
            raise CatalogError(
                f"Backup {backup.id} of {backup.target} is complete in the vault, but the catalog did not take it.",
                code="CATALOG_UNAVAILABLE",
                detail=error.detail or error.message,
                hint="Nothing is lost: the next run of this target finds it and lists it as COMPLETED.",
            ) from error

    def _beat(self, backup: Backup, progress: Progress) -> None:
        now = self.now()
        self.catalog.locks.renew(backup.target, backup.id, now)
        self.catalog.heartbeat_backup(backup.id, now, progress)

    def _end_failed(self, backup: Backup, error: Exception) -> None:
        try:
            self.catalog.fail_backup(backup.id, Failure.of(error), self.now())
        except CatalogError as unrecorded:
            # The lock stays: when it is stale, the next run of this target records the failure.
            error.add_note(f"and this could not be recorded in the catalog: {unrecorded.message}")
        else:
            self._release(backup)

    def _release(self, backup: Backup) -> None:
        with contextlib.suppress(CatalogError):  # then it becomes stale by itself
            self.catalog.locks.release(backup.target, backup.id)


def completed(backup: Backup, manifest: Manifest, committed: Committed) -> Backup:
    """Return the catalog's record of a committed backup."""
    return backup.model_copy(
        update={
            "status": Status.COMPLETED,
            "tiers": manifest.tiers,
            "completed_at": manifest.completed_at,
            "duration_ms": int((manifest.completed_at - manifest.created_at).total_seconds() * 1000),
            "plaintext_bytes": manifest.plaintext_bytes,
            "stored_bytes": manifest.stored_bytes,
            "tables": len(manifest.content.tables),
            "rows": manifest.rows,
            "manifest_key": committed.key,
            "manifest_sha256": committed.sha256,
            "source_version": manifest.content.server_version,
            "encryption": manifest.encryption,
            "exceptions": manifest.exceptions,
        }
    )
