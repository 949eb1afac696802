"""The events that start functions. An unknown field is an error that names it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from coffre.alerts.message import Message
from coffre.model.api_key import LONGEST_LABEL, MOST_SCOPES, checked_scopes
from coffre.model.audit import Actor
from coffre.model.backup import Tier
from coffre.model.confirmation import Confirmation
from coffre.model.copies import DESTINATION_NAME, DestinationName
from coffre.model.document import describe_validation
from coffre.model.drill import DrillState
from coffre.model.errors import EventError
from coffre.model.export import ExportScope
from coffre.model.names import visible
from coffre.model.restore import Scope
from coffre.model.setting import Sealed, SettingFileName
from coffre.model.storage import StorageScope
from coffre.model.target import TargetName
from coffre.model.times import in_utc, parse_span
from coffre.model.verification import Level
from coffre.runtime.proof import Proof, digest_of

Ulid = Annotated[str, Field(pattern=r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$", description="a ULID")]


def _checked_span(text: str) -> str:
    parse_span(text)
    return text


def _checked_name(text: str) -> str:
    if visible(text) != text:
        raise ValueError("should have printable characters only")
    return text


LONGEST_ACTOR: Final = 256
# A month: no recovery that is measured takes longer.
_REHEARSAL_SECONDS: Final = 31 * 86_400
_Span = Annotated[str, AfterValidator(_checked_span)]
_Line = Annotated[str, Field(min_length=1, max_length=LONGEST_ACTOR), AfterValidator(_checked_name)]
_Utc = Annotated[AwareDatetime, AfterValidator(in_utc)]


class _Event(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @classmethod
    def parse(cls, event: object) -> Self:
        """Validate an event.

        Raises
        ------
        EventError
            Names each wrong field, and the fields that are known.
        """
        if not isinstance(event, Mapping):
            raise EventError(
                f"The event must be a JSON object, not {type(event).__name__}.",
                hint="The folder events/ has an example of each.",
            )
        try:
            return cls.model_validate(dict(event))
        except ValidationError as error:
            fields = sorted(cls.model_fields.items(), key=lambda field: field[0] in SentEvent.model_fields)
            known = ", ".join(about.alias or name for name, about in fields)
            raise EventError(
                "The event has wrong fields.",
                detail="; ".join(describe_validation(error)),
                hint=f"Known fields: {known}. The folder events/ has an example of each.",
            ) from error


class SentEvent(_Event):
    """An event that a person may send. `Services.actor` says who it was.

    `actor` is the name that the sender claims; `proof` proves which AWS credentials sent the event (docs/identity.md).
    The proof is of this event alone: it is in nothing that is made of the event.
    """

    actor: _Line | None = None
    proof: Proof | None = Field(default=None, exclude=True, repr=False)
    _digest: str = PrivateAttr(default="")

    @classmethod
    def parse(cls, event: object) -> Self:
        """Validate an event, and keep what its proof is of; raises what `_Event.parse` raises."""
        parsed = super().parse(event)
        if parsed.proof is not None and isinstance(event, Mapping):
            parsed._digest = digest_of(event)
        return parsed

    @property
    def digest(self) -> str:
        """What the proof is of: `digest_of` the event as it was received."""
        return self._digest

    def sent_by(self, actor: Actor) -> Self:
        """Return the event with the name of who sent it, for further invocations; without a name it stays as it is."""
        if self.actor is None and self.proof is None:
            return self
        return self.model_copy(update={"actor": actor.name[:LONGEST_ACTOR], "proof": None})


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
    scheduled_time: _Utc | None = None
    backup_id: Ulid | None = None
    full: bool = False
    keep: _Span | None = None
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
    """

    doctor: Literal[True]
    target: TargetName
    probe: bool = False
    report: bool = False


class PlanReference(_Event):
    """Where the plan of a spread backup is: `bucket` and `key` of its list of groups, one JSON line each.

    `sha256` is that of the plan's header, which has the hashes of all other files of the plan.
    """

    bucket: str = Field(min_length=1)
    key: str = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="a SHA-256 in hexadecimal")


class CaughtError(_Event):
    """What a state machine caught: the name of the error, and its text."""

    error: str = Field(default="", alias="Error")
    cause: str = Field(default="", alias="Cause", repr=False)


class SpreadStepEvent(_Event):
    """One step of a backup that is spread over several invocations (docs/adr/0046): the state machine sends it.

    `hold` keeps the snapshot alive as holder `a` or `b`, until its time is over or the run is; `work` stores one
    group of parts; `seal` commits the backup; `settle` ends a run that failed or was stopped, whose error is `caught`.
    """

    step: Literal["hold", "work", "seal", "settle"]
    target: TargetName
    backup_id: Ulid
    plan: PlanReference
    holder: Literal["a", "b"] | None = None
    group: int | None = Field(default=None, ge=0)
    caught: CaughtError | None = None

    @model_validator(mode="after")
    def _fields_fit_the_step(self) -> Self:
        if (self.step == "hold") != (self.holder is not None):
            raise ValueError("holder goes with the step hold")
        if (self.step == "work") != (self.group is not None):
            raise ValueError("group goes with the step work")
        if self.caught is not None and self.step != "settle":
            raise ValueError("caught goes with the step settle")
        return self


class RangeStepEvent(SpreadStepEvent):
    """One step of a backup of buckets that several functions take together (docs/adr/0060): the state machine sends it.

    `work` stores one range of names of the list `ranges`; `seal` divides what is not stored into the next list, or
    commits the backup; `settle` is as that of a database. `plan` is the plan's header.
    """

    ranges: PlanReference | None = None

    @model_validator(mode="after")
    def _ranges_fit_the_step(self) -> Self:
        if self.step == "hold":
            raise ValueError("a backup of buckets has no step hold")
        if self.step == "work" and self.ranges is None:
            raise ValueError("ranges goes with the step work")
        return self


class SpreadStoppedEvent(_Event):
    """The state machine of the backup with the id `stopped` has ended with this status: by a person, or by an error."""

    stopped: Ulid
    status: Literal["ABORTED", "TIMED_OUT", "FAILED"]


class HandedInFile(_Event):
    """A file that was encrypted where it is (`vault.sealed_settings`): its bytes in base64, and what proves them."""

    content: str = Field(pattern=r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$", repr=False)
    sealed: Sealed


class BackupStorageEvent(BackupDatabaseEvent):
    """Back up one target of buckets, settings or repositories, or every one when none is named.

    The fields are those of `BackupDatabaseEvent`. `continue` is for the function itself: continue the backup of this
    id, which this number of invocations did not finish. `files` are handed in to settings, encrypted already, by name;
    `forget` names files that later backups do not have (docs/settings.md).
    """

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True, validate_by_alias=True)

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


class _ReadsBackups(SentEvent):
    """`from` is where the backup is read: `vault`, or the name of a copy. Without it the vault is read, and the copies
    give what it cannot (docs/restore.md)."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True, validate_by_alias=True)

    source: str | None = Field(default=None, alias="from", pattern=DESTINATION_NAME)


class RestoreEvent(Scope, _ReadsBackups):
    """Restore a backup, or a part of it: `backup_id` is an id, or `latest` together with `target`.

    `destination` names a secret (Secrets Manager) with the URL of a database: one that is empty or does not exist yet
    for a whole restore. Without it, the target's own database is meant, which only chosen tables, rows or `replace`
    can go into. `streams` is the number of connections that load at the same time. `invocation` counts the invocations
    of one restore: it is for the function itself. `confirmation` is needed by what overwrites (docs/confirmation.md).
    """

    backup_id: Ulid | Annotated[str, Field(pattern="^latest$")]
    destination: str | None = Field(default=None, min_length=1)
    target: TargetName | None = None
    restore_id: Ulid | None = None
    streams: int | None = Field(default=None, ge=1, le=16)
    invocation: int = Field(default=1, ge=1)
    confirmation: Confirmation | None = None

    @model_validator(mode="after")
    def _continues_a_restore(self) -> Self:
        if self.invocation > 1 and not (self.is_resumable and self.restore_id is not None):
            raise ValueError("invocation needs restore_id, and is for restores that continue")
        return self

    @model_validator(mode="after")
    def _has_a_place(self) -> Self:
        if self.destination is None and self.is_whole and not self.replace:
            raise ValueError("a whole restore needs a destination (or, to replace the target's own database, replace)")
        return self

    @property
    def scope(self) -> Scope:
        """Which part of the backup is wanted."""
        return Scope.model_validate(self.model_dump(include=set(Scope.model_fields)))

    @property
    def is_resumable(self) -> bool:
        """Whether further invocations can continue the restore."""
        return self.swap is None and not self.dry_run

    def next_invocation(self, backup_id: str, restore_id: str, invocation: int) -> dict[str, Any]:
        """Return the event that starts the next invocation of the same restore."""
        return _next_invocation(self, backup_id, restore_id, invocation)


class StorageRestoreEvent(_ReadsBackups):
    """Restore objects of a backup of buckets: `backup_id` is an id, or `latest` together with `target`.

    `store` names a secret with another store's address and key; without it the target's own store is meant. `streams`
    is the number of objects written at the same time. `invocation` counts the invocations of one restore: it is for the
    function itself. `confirmation` is needed by what overwrites or deletes (docs/confirmation.md).
    """

    backup_id: Ulid | Annotated[str, Field(pattern="^latest$")]
    storage: StorageScope
    store: str | None = Field(default=None, min_length=1)
    target: TargetName | None = None
    restore_id: Ulid | None = None
    streams: int = Field(default=16, ge=1, le=64)
    invocation: int = Field(default=1, ge=1)
    confirmation: Confirmation | None = None

    @model_validator(mode="after")
    def _continues_a_restore(self) -> Self:
        if self.invocation > 1 and self.restore_id is None:
            raise ValueError("invocation needs restore_id")
        return self

    @property
    def destination(self) -> str:
        """Where it goes, for messages."""
        return self.storage.to or "the buckets where they were"

    @property
    def dry_run(self) -> bool:
        """Whether nothing is to be changed."""
        return self.storage.dry_run

    @property
    def scope(self) -> StorageScope:
        """Which objects are wanted, and how."""
        return self.storage

    @property
    def overwrites(self) -> bool:
        """Whether existing objects may be overwritten or deleted."""
        return self.storage.touches

    def next_invocation(self, backup_id: str, restore_id: str, invocation: int) -> dict[str, Any]:
        """Return the event that starts the next invocation of the same restore."""
        return _next_invocation(self, backup_id, restore_id, invocation)


class RestoreShareEvent(_Event):
    """Load a share of the rows of a restore (docs/adr/0059): the state machine sends it.

    `restore` is the event that continues the restore afterwards, `sharing` the id of the load at the destination,
    `share` the number of this one of `width`. It loads over `streams` connections.
    """

    step: Literal["load"]
    restore: RestoreEvent
    sharing: Ulid
    share: int = Field(ge=0)
    width: int = Field(ge=1)
    streams: int = Field(ge=1, le=16)

    @model_validator(mode="after")
    def _continues_a_restore(self) -> Self:
        if self.restore.invocation < 2:
            raise ValueError("restore has to be the event of a further invocation")
        if self.share >= self.width:
            raise ValueError("share has to be less than width")
        return self


class RestoreStoppedEvent(_Event):
    """The state machine of a restore has ended with this status: by a person, or by an error.

    `stopped` is the name of its execution: the id of the restore, the number of the invocation that would follow, and
    the id under which the destination is marked.
    """

    stopped: str = Field(pattern=r"^[0-7][0-9A-HJKMNP-TV-Z]{25}-[0-9]{1,4}-[0-7][0-9A-HJKMNP-TV-Z]{25}$")
    status: Literal["ABORTED", "TIMED_OUT", "FAILED"]

    @property
    def restore_id(self) -> str:
        """The id of the restore."""
        return self.stopped.split("-")[0]

    @property
    def invocation(self) -> int:
        """The invocation that the state machine was to start."""
        return int(self.stopped.split("-")[1])

    @property
    def owner_id(self) -> str:
        """The id of the restore that began at the destination: this one, or an earlier one that it continues."""
        return self.stopped.split("-")[2]


def _next_invocation(
    event: RestoreEvent | StorageRestoreEvent, backup_id: str, restore_id: str, invocation: int
) -> dict[str, Any]:
    changed = {"backup_id": backup_id, "restore_id": restore_id, "invocation": invocation, "confirmation": None}
    return event.model_copy(update=changed).model_dump(mode="json", exclude_defaults=True)


class ApprovedPlan(_Event):
    """The plan that is approved: its id, and its hash as it was shown."""

    plan: str = Field(pattern=r"^[0-9a-f]{64}$", description="the id of a plan")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="the hash of a plan")


class ApprovalEvent(SentEvent):
    """Approve a plan of another person (docs/confirmation.md)."""

    approve: ApprovedPlan


class ExportEvent(_ReadsBackups):
    """Write a backup, or a part of it, into a file that can be downloaded for a day, encrypted with age."""

    backup_id: Ulid
    export: ExportScope
    restore_id: Ulid | None = None


type AnyRestoreEvent = (
    RestoreEvent | StorageRestoreEvent | ExportEvent | ApprovalEvent | RestoreShareEvent | RestoreStoppedEvent
)


def parse_restore(event: object) -> AnyRestoreEvent:
    """Validate an event of `restore`: one with the field `storage` is about objects, one with `step` or `stopped` about
    rows that several invocations load together; raises what `parse` raises."""
    fields = event if isinstance(event, Mapping) else {}
    if "export" in fields:
        return ExportEvent.parse(event)
    if "step" in fields:
        return RestoreShareEvent.parse(event)
    if "stopped" in fields:
        return RestoreStoppedEvent.parse(event)
    if "approve" in fields:
        return ApprovalEvent.parse(event)
    return (StorageRestoreEvent if "storage" in fields else RestoreEvent).parse(event)


class Deletion(_Event):
    """Which backup is deleted. `force`: even the only one of its target, or its newest verified one."""

    backup_id: Ulid
    force: bool = False
    dry_run: bool = False


class DeletionEvent(SentEvent):
    """Delete one backup. Anything but a dry run needs a confirmation (docs/confirmation.md)."""

    delete: Deletion
    confirmation: Confirmation | None = None


class WantedConfiguration(_Event):
    """The document that shall be in effect, made from version `based_on` (0: the template's), and why.

    Its text is checked by the job, whose errors name lines.
    """

    document: str = Field(repr=False)
    based_on: int = Field(ge=0)
    note: _Line | None = None
    dry_run: bool = False


class ConfigurationEvent(SentEvent):
    """Write a version of the configuration. Anything but a dry run needs a confirmation (docs/configuration.md)."""

    configuration: WantedConfiguration
    confirmation: Confirmation | None = None


class ApiKeyChange(_Event):
    """What is done to the key of the API with this id: it is made, gets another secret, or is ended.

    `sha256` is of the secret, which stays with who sends the event. `label` and `scopes` are of a new key. `expires_in`
    is how long it works from now.
    """

    act: Literal["create", "rotate", "revoke"]
    id: str = Field(pattern=r"^[0-9a-f]{16}$", description="the id of a key")
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$", repr=False)
    label: Annotated[str, Field(min_length=1, max_length=LONGEST_LABEL), AfterValidator(_checked_name)] | None = None
    scopes: Annotated[tuple[str, ...], Field(max_length=MOST_SCOPES), AfterValidator(checked_scopes)] = ()
    expires_in: _Span | None = None

    @model_validator(mode="after")
    def _fields_fit_the_act(self) -> Self:
        if (self.act == "create") != (self.label is not None and bool(self.scopes)):
            raise ValueError("label and scopes go with create, which needs both")
        if (self.act == "revoke") == (self.sha256 is not None and self.expires_in is not None):
            raise ValueError("sha256 and expires_in go with create and rotate, which need both")
        return self


class ApiKeyEvent(SentEvent):
    """Make, rotate or revoke a key of the console's API (docs/console.md)."""

    api_key: ApiKeyChange


class RotateEvent(SentEvent):
    """Rotate every configured target, or one; in the vault, or with `at` in the copy of this name.

    `after` is the backup whose end started this: then the vault is swept only if something was deleted. `dry_run` only
    reports what would happen. With `hold`, `release`, `pin` or `unpin` (the id of a backup) nothing is rotated: that
    backup is put on hold, for a `reason`, or released; or it is pinned, or its pin is removed. `cancel` is the id of a
    backup or a restore that runs: it is asked to end.
    """

    target: TargetName | None = None
    at: DestinationName | None = None
    after: Ulid | None = None
    dry_run: bool = False
    hold: Ulid | None = None
    release: Ulid | None = None
    pin: Ulid | None = None
    unpin: Ulid | None = None
    cancel: Ulid | None = None
    reason: _Line | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        wanted = sum(one is not None for one in (self.hold, self.release, self.pin, self.unpin, self.cancel))
        if wanted > 1:
            raise ValueError("hold, release, pin, unpin and cancel exclude each other")
        if wanted and (self.target is not None or self.after is not None or self.dry_run):
            raise ValueError("hold, release, pin, unpin and cancel go without target, after and dry_run")
        if self.reason is not None and self.hold is None:
            raise ValueError("reason goes with hold")
        if self.at is not None and (wanted or self.after is not None):
            raise ValueError("at goes without after, hold, release, pin, unpin and cancel")
        return self

    def for_copy(self, name: str) -> dict[str, Any]:
        """Return the event that starts one copy's own invocation."""
        return self.model_copy(update={"at": name}).model_dump(mode="json", exclude_defaults=True)


def parse_rotate(event: object) -> RotateEvent | DeletionEvent | ConfigurationEvent | ApprovalEvent | ApiKeyEvent:
    """Validate an event of `rotate`: a rotation, a deletion, a configuration, an approval, or a key of the API."""
    fields = event if isinstance(event, Mapping) else {}
    if "approve" in fields:
        return ApprovalEvent.parse(event)
    if "configuration" in fields:
        return ConfigurationEvent.parse(event)
    if "api_key" in fields:
        return ApiKeyEvent.parse(event)
    return (DeletionEvent if "delete" in fields else RotateEvent).parse(event)


class CopiedElsewhere(BaseModel):
    """Backups that a command has copied into a directory of the configuration, and found complete."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    to: DestinationName
    backups: tuple[Ulid, ...] = Field(min_length=1, max_length=1000)


class CopyEvent(SentEvent):
    """Copy backups to the configured destinations: what is due of every target, or of one, or one backup, or `all`.

    `to` is one destination. `after` is the backup whose end started this. `continue` is for the function itself: this
    number of invocations did not finish. `doctor` copies nothing: it looks at every destination; with `probe` it may
    store a few bytes to know whether it can. `copied` copies nothing either: it records what a command has copied.
    """

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True, validate_by_alias=True)

    target: TargetName | None = None
    to: DestinationName | None = None
    backup_id: Ulid | None = None
    all: bool = False
    doctor: bool = False
    probe: bool = False
    copied: CopiedElsewhere | None = None
    after: Ulid | None = None
    after_invocations: int = Field(default=0, alias="continue", ge=0)

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if self.backup_id is not None and (self.all or self.target is None):
            raise ValueError("backup_id goes with its target, and without all")
        if self.doctor and (self.target or self.to or self.all):
            raise ValueError("doctor looks at every destination: it goes with probe alone")
        if self.copied is not None and (self.target or self.to or self.all or self.doctor):
            raise ValueError("copied goes with no other field: it names its destination itself")
        if self.probe and not self.doctor:
            raise ValueError("probe goes with doctor")
        return self

    def of(self, target: str, to: str) -> dict[str, Any]:
        """Return the event that starts the invocation for one target and one destination."""
        changed = self.model_copy(update={"target": target, "to": to})
        return changed.model_dump(mode="json", exclude_defaults=True)


class Rehearsed(BaseModel):
    """A rehearsal of a recovery: its id, and by target the seconds until it was restored and checked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Ulid
    seconds: dict[TargetName, Annotated[float, Field(ge=0, le=_REHEARSAL_SECONDS)]] = Field(min_length=1)


class DrillEvent(SentEvent):
    """Restore a backup, or some of its objects, and prove it: the one of this id, or the newest of a target.

    With neither, the newest of every target, each in an invocation of its own.
    `from` names a destination of `copies`: its bytes are restored in place of the vault's. `rehearse` does that from
    the first destination that has a copy, as a recovery would; a target without copies is restored from the vault.
    `rehearsed` drills nothing: it notes how long a rehearsal on another machine took (`coffre recover --rehearse`).
    The function continues a drill of several invocations by `drill_id`, `invocation` and `state_sha256`.
    """

    target: TargetName | None = None
    backup_id: Ulid | None = None
    from_: DestinationName | None = Field(default=None, alias="from")
    rehearse: bool = False
    rehearsed: Rehearsed | None = None
    drill_id: Ulid | None = None
    invocation: int = Field(default=1, ge=1, le=1000)
    state_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _notes_or_drills(self) -> Self:
        if self.rehearsed is not None and (self.target or self.backup_id or self.from_ or self.rehearse):
            raise ValueError("rehearsed is noted, and nothing is drilled: it goes with no other field")
        return self

    @model_validator(mode="after")
    def _continues_one_drill(self) -> Self:
        given = {self.drill_id is not None, self.invocation > 1, self.state_sha256 is not None}
        if len(given) > 1 or (True in given and self.backup_id is None):
            raise ValueError(
                "drill_id, invocation and state_sha256 go together, with backup_id: the function itself sends them"
            )
        return self

    def next_invocation(self, state: DrillState, sha256: str, copy: str | None) -> dict[str, Any]:
        """Return the event with which a drill continues: from its state, which has this hash, and from its copy."""
        names = {"target": state.target, "backup_id": state.backup_id, "from_": copy, "rehearse": False}
        more = {"drill_id": state.id, "invocation": state.invocation, "state_sha256": sha256}
        changed = self.model_copy(update={**names, **more})
        return changed.model_dump(mode="json", exclude_defaults=True, by_alias=True)

    @model_validator(mode="after")
    def _reads_one_place(self) -> Self:
        if self.from_ is not None and self.rehearse:
            raise ValueError("from and rehearse exclude each other: rehearse chooses the copy itself")
        return self

    def for_target(self, target: str) -> dict[str, Any]:
        """Return the event that starts one target's own invocation."""
        changed = self.model_copy(update={"target": target})
        return changed.model_dump(mode="json", exclude_defaults=True, by_alias=True)


class VerifyEvent(SentEvent):
    """Verify backups at one level (docs/verification.md): of every target, of one, or (not `fresh`) one backup.

    `doctor` asks the functions that back up what they see there, and waits for none (docs/doctor.md).

    `report` keeps and sends the report of the week (docs/report.md).

    `share` is of what the level looks closely at: packs whose checksums are compared (`inventory`), packs that are read
    (`read` of a target). Another share is taken each day. `at` is the name of a copy of the vault: `inventory` and
    `read` then look there.
    """

    level: Literal[Level.FRESH, Level.INVENTORY, Level.READ, Level.DOCTOR, Level.REPORT]
    target: TargetName | None = None
    backup_id: Ulid | None = None
    share: float | None = Field(default=None, gt=0, le=1)
    at: DestinationName | None = None

    @model_validator(mode="after")
    def _fields_fit_the_level(self) -> Self:
        if self.level is Level.REPORT and self.target is not None:
            raise ValueError("a report is about all targets")
        is_about_targets = self.level in (Level.FRESH, Level.DOCTOR, Level.REPORT)
        if self.backup_id is not None and (is_about_targets or self.target is not None):
            raise ValueError("backup_id goes with inventory and read, and without a target")
        if self.share is not None and (is_about_targets or (self.level is Level.READ and self.backup_id is not None)):
            raise ValueError("share goes with inventory, and with read of a target: of one backup all is read")
        if self.at is not None and is_about_targets:
            raise ValueError("at goes with inventory and read; fresh looks at every copy")
        return self

    def for_copy(self, name: str) -> dict[str, Any]:
        """Return the event that starts one copy's own invocation."""
        return self.model_copy(update={"at": name}).model_dump(mode="json", exclude_defaults=True)

    def for_target(self, target: str) -> dict[str, Any]:
        """Return the event that starts one target's own invocation."""
        changed = self.model_copy(update={"target": target})
        return changed.model_dump(mode="json", exclude_defaults=True)


class _SnsValue(BaseModel):
    model_config = ConfigDict(extra="ignore")

    Value: str = ""


class _SnsMessage(BaseModel):
    model_config = ConfigDict(extra="ignore")

    Subject: str | None = None
    Message: str
    MessageAttributes: dict[str, _SnsValue] = {}


class _SnsRecord(BaseModel):
    model_config = ConfigDict(extra="ignore")

    Sns: _SnsMessage


class NotifyEvent(_Event):
    """Send alerts on: what the topic delivers (`Records`), or one message to one destination, or a test to all.

    `destination` is a number: the line of the URL in the secret.
    """

    Records: tuple[_SnsRecord, ...] = ()
    message: Message | None = None
    destination: int | None = None
    test: bool = False

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if sum((bool(self.Records), self.message is not None, self.test)) != 1:
            raise ValueError("one of Records, message and test is needed")
        if (self.message is None) != (self.destination is None):
            raise ValueError("message and destination go together")
        return self

    @property
    def messages(self) -> list[Message]:
        """What the topic delivered."""
        delivered = [record.Sns for record in self.Records]
        return [
            Message.of_sns(one.Subject, one.Message, {name: it.Value for name, it in one.MessageAttributes.items()})
            for one in delivered
        ]


def slot_of(scheduled_time: datetime | None) -> datetime | None:
    """Return the slot: the scheduled time to the minute, which is the unit of cron rules."""
    return scheduled_time.replace(second=0, microsecond=0) if scheduled_time else None
