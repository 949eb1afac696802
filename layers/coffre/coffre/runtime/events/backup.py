"""The events of the functions that back up."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from coffre.model.backup import Tier
from coffre.model.journal_options import JournalOptions
from coffre.model.setting import Sealed, SettingFileName
from coffre.model.target import TargetName
from coffre.runtime.events.event import Event, SentEvent, Span, Ulid, Utc
from coffre.runtime.events.spread import RangeStepEvent, SpreadStepEvent, SpreadStoppedEvent


class BackupDatabaseEvent(SentEvent):
    """Back up one target, or every database target when none is named.

    `scheduled_time` is the slot of a cron rule (EventBridge's own time of the event); runs by hand have none.
    `backup_id` lets the caller choose the id, so that it can follow the run. `full` stores everything again and
    reuses nothing of earlier backups. `keep` (`12h`, `7d`, `4w`) lets rotation delete a backup taken by hand after
    that time. The tier SAFETY is for the one target that a restore is about to change.
    `point` names the restore point that the run is the first part of, and `point_id` chooses the point's id (for a
    backup of buckets: says which point it is a part of).
    `due` starts what targets with a schedule of their own are due for at `scheduled_time`: the rule of ticks sends it.
    """

    tier: Tier = Tier.MANUAL
    target: TargetName | None = None
    scheduled_time: Utc | None = None
    backup_id: Ulid | None = None
    full: bool = False
    keep: Span | None = None
    point: TargetName | None = None
    point_id: Ulid | None = None
    due: bool = False

    @model_validator(mode="after")
    def _due_is_of_every_target(self) -> Self:
        if self.due and (self.scheduled_time is None or self.target is not None or self.tier is not Tier.MANUAL):
            raise ValueError("due needs scheduled_time, and goes without target and tier: schedules say both")
        return self

    @model_validator(mode="after")
    def _keep_fits_the_tier(self) -> Self:
        if self.keep is not None and self.tier is not Tier.MANUAL:
            raise ValueError("keep is for the tier MANUAL: of the others the target's retention decides")
        return self

    @model_validator(mode="after")
    def _safety_is_of_one_target(self) -> Self:
        if self.tier is Tier.SAFETY and (self.target is None or self.scheduled_time is not None):
            raise ValueError("the tier SAFETY needs a target, and has no scheduled_time: a restore asks for it")
        return self

    @model_validator(mode="after")
    def _point_is_of_one_target(self) -> Self:
        if self.point_id is not None and self.point is None:
            raise ValueError("point_id needs point: which one is meant?")
        if self.point is not None and (self.target is None or self.tier is Tier.SAFETY):
            raise ValueError("point needs a target, and does not go with the tier SAFETY")
        return self

    @model_validator(mode="after")
    def _id_fits_one_target(self) -> Self:
        if self.backup_id is not None and self.target is None:
            raise ValueError("backup_id needs a target: one id cannot name the backups of several")
        return self

    def for_target(self, target: str) -> dict[str, Any]:
        """Return the event that starts one target's own invocation."""
        changed = self.model_copy(update={"target": target})
        return changed.model_dump(mode="json", exclude_defaults=True)


class DoctorEvent(SentEvent):
    """Look for what prevents backups of a target, where its backups run (docs/doctor.md). It takes no backup.

    `probe` allows checks that write to the vault. `report` sends an alert about a blocker: for the weekly check.
    `journal` looks for what a journal with these options would need, and for nothing else; `slots` is how many journals
    are to be switched on together on the target's server. That look is not kept.
    """

    doctor: Literal[True]
    target: TargetName
    probe: bool = False
    report: bool = False
    journal: JournalOptions | None = None
    slots: int = Field(default=1, ge=1)


class HandedInFile(Event):
    """A file that was encrypted where it is (`vault.sealed_settings`): its bytes in base64, and what proves them."""

    content: str = Field(pattern=r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$", repr=False)
    sealed: Sealed


class BackupStorageEvent(BackupDatabaseEvent):
    """Back up one target of buckets, settings or repositories, or every one when none is named.

    The fields are those of `BackupDatabaseEvent`. `continue` is for the function itself: continue the backup of this
    id, which this number of invocations did not finish. `files` are handed in to settings, encrypted already, by name;
    `forget` names files that later backups do not have (docs/settings.md).
    """

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True, validate_by_alias=True, defer_build=True)

    after_invocations: int | None = Field(default=None, alias="continue", ge=1)
    files: dict[SettingFileName, HandedInFile] = Field(default={}, repr=False)
    forget: tuple[SettingFileName, ...] = ()

    @model_validator(mode="after")
    def _files_are_of_one_target(self) -> Self:
        if (self.files or self.forget) and self.target is None:
            raise ValueError("files and forget need a target: which settings are meant?")
        return self

    @model_validator(mode="after")
    def _a_run_has_an_id(self) -> Self:
        if self.after_invocations is not None and self.backup_id is None:
            raise ValueError("continue needs a target and a backup_id: which run is meant?")
        return self

    def after(self, target: str, backup_id: str, invocations: int) -> dict[str, Any]:
        """Return the event that continues a run."""
        changes = {"target": target, "backup_id": backup_id, "after_invocations": invocations}
        return self.model_copy(update=changes).model_dump(mode="json", exclude_defaults=True)


type DatabaseEvent = BackupDatabaseEvent | DoctorEvent | SpreadStepEvent | SpreadStoppedEvent


def parse_database_backup(event: object) -> DatabaseEvent:
    """Validate an event of `backup_database`: one with `step` or `stopped` is of a backup that is spread."""
    if isinstance(event, Mapping) and "step" in event:
        return SpreadStepEvent.parse(event)
    if isinstance(event, Mapping) and "stopped" in event:
        return SpreadStoppedEvent.parse(event)
    return parse_backup(event, BackupDatabaseEvent)


type StorageEvent = BackupStorageEvent | DoctorEvent | RangeStepEvent | SpreadStoppedEvent


def parse_storage_backup(event: object) -> StorageEvent:
    """Validate an event of `backup_storage`: one with `step` or `stopped` is of a backup that is spread."""
    if isinstance(event, Mapping) and "step" in event:
        return RangeStepEvent.parse(event)
    if isinstance(event, Mapping) and "stopped" in event:
        return SpreadStoppedEvent.parse(event)
    return parse_backup(event, BackupStorageEvent)


def parse_backup[E: BackupDatabaseEvent](event: object, kind: type[E]) -> E | DoctorEvent:
    """Validate an event of a function that backs up: one with the field `doctor` only looks."""
    fields = event if isinstance(event, Mapping) else {}
    return DoctorEvent.parse(event) if "doctor" in fields else kind.parse(event)


def slot_of(scheduled_time: datetime | None) -> datetime | None:
    """Return the slot: the scheduled time to the minute, which is the unit of cron rules."""
    return scheduled_time.replace(second=0, microsecond=0) if scheduled_time else None
