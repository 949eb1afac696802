"""The events of the function `rotate`: rotations, deletions, configurations, keys and approvals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from coffre.model.api_key import LONGEST_LABEL, MOST_SCOPES, checked_scopes
from coffre.model.confirmation import Confirmation
from coffre.model.copies import DestinationName
from coffre.model.target import TargetName
from coffre.runtime.events.approval import ApprovalEvent
from coffre.runtime.events.event import Event, Line, SentEvent, Span, Ulid, checked_name


class Deletion(Event):
    """Which backup is deleted. `force`: even the only one of its target, or its newest verified one."""

    backup_id: Ulid
    force: bool = False
    dry_run: bool = False


class DeletionEvent(SentEvent):
    """Delete one backup. Anything but a dry run needs a confirmation (docs/confirmation.md)."""

    delete: Deletion
    confirmation: Confirmation | None = None


class WantedConfiguration(Event):
    """The document that shall be in effect, made from version `based_on` (0: the template's), and why.

    Its text is checked by the job, whose errors name lines.
    """

    document: str = Field(repr=False)
    based_on: int = Field(ge=0)
    note: Line | None = None
    dry_run: bool = False


class ConfigurationEvent(SentEvent):
    """Write a version of the configuration. Anything but a dry run needs a confirmation (docs/configuration.md)."""

    configuration: WantedConfiguration
    confirmation: Confirmation | None = None


class ApiKeyChange(Event):
    """What is done to the key of the API with this id: it is made, gets another secret, or is ended.

    `sha256` is of the secret, which stays with who sends the event. `label` and `scopes` are of a new key. `expires_in`
    is how long it works from now.
    """

    act: Literal["create", "rotate", "revoke"]
    id: str = Field(pattern=r"^[0-9a-f]{16}$", description="the id of a key")
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$", repr=False)
    label: Annotated[str, Field(min_length=1, max_length=LONGEST_LABEL), AfterValidator(checked_name)] | None = None
    scopes: Annotated[tuple[str, ...], Field(max_length=MOST_SCOPES), AfterValidator(checked_scopes)] = ()
    expires_in: Span | None = None

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
    reason: Line | None = None

    @property
    def is_of_one(self) -> bool:
        """Whether nothing is rotated: this is about one backup or run."""
        return self._named > 0

    @property
    def _named(self) -> int:
        return sum(one is not None for one in (self.hold, self.release, self.pin, self.unpin, self.cancel))

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        wanted = self._named
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
