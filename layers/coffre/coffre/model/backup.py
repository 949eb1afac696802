"""A backup as the catalog knows it: who, when, how far, how it ended."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from coffre.model.document import FrozenModel
from coffre.model.errors import CoffreError
from coffre.model.export import exported_file
from coffre.model.kinds import Status as Status
from coffre.model.kinds import TargetKind
from coffre.model.locks import LockProgress
from coffre.model.names import visible
from coffre.model.tier import Tier as Tier

RUN_DIED: Final = "RUN_DIED"
"""The code of a run that sent no heartbeat for too long, and was taken for dead."""

OUTCOME_UNKNOWN: Final = "OUTCOME_UNKNOWN"
"""The code of a restore whose last answer was lost: what it changed may have taken effect."""

NO_ROLES: Final = "Roles were not backed up:"
"""How the exception of a database's backup without roles begins: an alert reports it."""

NO_POINT: Final = "No restore point was taken of"
"""How the exception of a database's backup begins whose point could not be begun: an alert reports it."""


class Failure(FrozenModel):
    """Why a run failed, in the words of `CoffreError`."""

    code: str
    message: str
    hint: str | None = None

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """Describe any exception with its notes; the unexpected ones by their type: no secret in their text leaks."""
        notes = [visible(note, breaks=True) for note in getattr(error, "__notes__", [])]
        if isinstance(error, CoffreError):
            said = [error.message, error.detail or "", *notes]
            return cls(code=error.code, message=" ".join(filter(None, said)), hint=error.hint)
        return cls(
            code="UNEXPECTED",
            message=" ".join([f"An unexpected {type(error).__name__} stopped the run.", *notes]),
            hint="The function's log has the traceback under this request id. Please report it.",
        )

    @property
    def is_certain(self) -> bool:
        """Whether it is known that the run did not do its work."""
        return self.code not in (RUN_DIED, OUTCOME_UNKNOWN)


class Progress(FrozenModel):
    """How much of a run is done. Bytes are plaintext; `total_bytes` is an estimate until the end.

    Of a spread backup, `workers` functions read now, and the snapshot is `snapshot_seconds` and `snapshot_transactions`
    old: the server has kept all dead rows since then.
    """

    phase: str = "starting"
    done_bytes: int = 0
    total_bytes: int = 0
    done_tables: int = 0
    total_tables: int = 0
    done_objects: int = 0
    total_objects: int = 0
    current: str | None = None
    workers: int = 0
    snapshot_seconds: int = 0
    snapshot_transactions: int = 0


class HoldProgress(FrozenModel):
    """How many objects of a backup have got their legal hold, or (`released`) have lost it, in batches.

    `refused` are the batches of which not every object did, each by the number of its first object; `done` counts them
    too.
    """

    released: bool = False
    done: int = 0
    total: int = 0
    refused: tuple[int, ...] = ()


class Backup(FrozenModel):
    """One restore point. Times are UTC; sizes are bytes; `duration_ms` is from start to the commit.

    `verified_at` is when it was last read back or restored with success; `deletion` says why it was deleted.
    `damaged_at` is since when bytes of it are known to be lost or changed, and `damage` says which; a backup is never
    verified and damaged. `read_until` is the last entry that an unfinished reading has found good, `read_frames` how
    many frames of the large one after it. `unread` is
    how many objects of buckets are not in it because they could not be read.
    `expires_at` is until when one taken by hand was asked for; without it such a backup stays.
    `locked_until`: until then the store deletes nothing of it (Object Lock), and `lock_progress` is an extension of
    that which is not finished. `held_at` is since when it is on hold,
    `hold` why, and `hold_progress` how many of its objects have an S3 legal hold (without Object Lock: None).
    `point` is the id of the restore point that it is a part of, and `point_name` that point's name.
    `damage_count` is how often damage was recorded: who looked at a backup compares it before a mark of health.
    `spread` says why several functions took it together (None: one did), and `workers` how many read at the same time.
    `cancelled_by` is who asked the run to end.
    """

    id: str
    target: str
    kind: TargetKind = TargetKind.DATABASE
    tiers: tuple[Tier, ...]
    status: Status
    slot: str | None = None
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    heartbeat_at: datetime | None = None
    duration_ms: int | None = None
    plaintext_bytes: int | None = None
    stored_bytes: int | None = None
    tables: int | None = None
    rows: int | None = None
    objects: int | None = None
    unread: int | None = None
    point: str | None = None
    point_name: str | None = None
    manifest_key: str | None = None
    manifest_sha256: str | None = None
    source_version: str | None = None
    encryption: str | None = None
    verified_at: datetime | None = None
    damaged_at: datetime | None = None
    damage: str | None = None
    damage_count: int = 0
    read_until: str | None = None
    read_frames: int | None = None
    pinned_at: datetime | None = None
    expires_at: datetime | None = None
    locked_until: datetime | None = None
    lock_progress: LockProgress | None = None
    held_at: datetime | None = None
    hold: str | None = None
    hold_progress: HoldProgress | None = None
    deleted_at: datetime | None = None
    deletion: str | None = None
    exceptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    progress: Progress = Progress.model_construct()
    failure: Failure | None = None
    request_id: str | None = None
    spread: str | None = None
    workers: int | None = None
    cancelled_by: str | None = None

    @property
    def is_healthy(self) -> bool:
        """Whether it is complete, and nothing is known to be wrong with it."""
        return self.status is Status.COMPLETED and self.damaged_at is None

    @property
    def is_safety(self) -> bool:
        """Whether it only holds what a restore was about to overwrite: no proof that backups are taken on time."""
        return self.tiers == (Tier.SAFETY,)


class Restore(FrozenModel):
    """One run of `restore`. `destination` names host, port and database, never a password.

    `invocation` is the number of the last one that worked on it: a restore of objects can take several.
    `confirmed` is the hash of the request that a person has confirmed (`coffre.model.confirmation.Request`).
    `cancelled_by` is who asked the run to end.
    `source` is where the backup is read alone: `vault`, or the name of a copy; None: the vault, and what it cannot give
    in the copies.
    """

    id: str
    backup_id: str
    target: str
    destination: str
    status: Status
    created_at: datetime
    heartbeat_at: datetime | None = None
    completed_at: datetime | None = None
    duration_ms: int | None = None
    dry_run: bool = False
    invocation: int = 1
    tables: int | None = None
    rows: int | None = None
    objects: int | None = None
    exceptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    report_key: str | None = None
    progress: Progress = Progress.model_construct()
    failure: Failure | None = None
    request_id: str | None = None
    cancelled_by: str | None = None
    confirmed: str | None = None
    source: str | None = None

    @property
    def is_export(self) -> bool:
        """Whether it made a file to download, and restored nothing."""
        return exported_file(self.destination) is not None

    def may_read(self, place: str) -> bool:
        """Return whether it may read this place (`vault`, or the name of a copy)."""
        return self.source in (None, place)
