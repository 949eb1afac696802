"""The events of the function `restore`: restores, exports and approvals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from coffre.model.confirmation import Confirmation
from coffre.model.copies import DESTINATION_NAME
from coffre.model.export import ExportScope
from coffre.model.restore import Scope
from coffre.model.storage import StorageScope
from coffre.model.target import TargetName
from coffre.runtime.events.approval import ApprovalEvent
from coffre.runtime.events.event import Event, SentEvent, Ulid

OWN_DATABASE: Final = "the target's own database"


class _ReadsBackups(SentEvent):
    """`from` is where the backup is read: `vault`, or the name of a copy. Without it the vault is read, and the copies
    give what it cannot (docs/restore.md)."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True, validate_by_alias=True, defer_build=True)

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
    def place(self) -> str:
        """Where it goes, for messages and records."""
        return self.destination or OWN_DATABASE

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
    def place(self) -> str:
        """Where it goes, for messages and records."""
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


class RestoreShareEvent(Event):
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


class RestoreStoppedEvent(Event):
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
