"""What the API answers, and the words of its fields."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from aws_lambda_powertools.event_handler import Response as Answer
from aws_lambda_powertools.event_handler.openapi.params import Path, Query
from pydantic import AfterValidator, AwareDatetime, Field
from ulid import ULID

from coffre.model.backup import Backup, Restore
from coffre.model.document import Document, FrozenModel
from coffre.model.target import TARGET_NAME
from coffre_console.fields import ULID_PATTERN, within_calendar
from coffre_console.reading.backups import LARGEST_PAGE
from coffre_console.reading.one_backup import Event, Part

BackupId = Annotated[str, Path(pattern=ULID_PATTERN, description="The id of a backup.")]
RestoreId = Annotated[str, Path(pattern=ULID_PATTERN, description="The id of a restore.")]
TargetName = Annotated[str, Path(pattern=TARGET_NAME, description="The name of a target.")]
TargetQuery = Annotated[str | None, Query(pattern=TARGET_NAME, description="Only of this target.")]
Size = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="How many at most.")]
Cursor = Annotated[str | None, Query(pattern=ULID_PATTERN, description="The field `next` of the page before.")]


_Time = Annotated[AwareDatetime, AfterValidator(within_calendar)]
Since = Annotated[_Time | None, Query(description="Not before this time, with its zone.")]
Until = Annotated[_Time | None, Query(description="Before this time, with its zone.")]


class Body(Document):
    """A request's body: an unknown field is an error."""


class Shown(FrozenModel):
    """An answer."""


class Listed(Shown):
    """A list. `unread`: records of the catalog that cannot be read, in sentences; they hide no others."""

    unread: tuple[str, ...] = ()


class Started(Shown):
    """What was started. `location` is where its state is: it answers 404 until the function has begun."""

    id: str
    location: str


class BackupList(Listed):
    """A page of backups, newest first; `next` is the cursor of the next page, absent on the last one.

    A page with a filter can be short and have a next one.
    """

    backups: tuple[Backup, ...]
    next: str | None = None


class RestoreList(Listed):
    """A page of restores, newest first."""

    restores: tuple[Restore, ...]
    next: str | None = None


class Versions(Shown):
    """Of what a backup is, and with what it was made."""

    server: str | None = None
    client: str | None = None
    format: int | None = None
    encryption: str | None = None
    recipients: tuple[str, ...] = ()


class DrillShown(Shown):
    """A drill of a backup: what it proved, and what not."""

    id: str
    outcome: str
    started_at: datetime
    completed_at: datetime
    restore_seconds: float | None
    rows: int
    problems: tuple[str, ...]
    exceptions: tuple[str, ...]
    copy_name: str | None


class Asked(Shown):
    """What a function did, or (`is_late`) continues to do."""

    id: str
    is_late: bool = False
    backup: Backup | None = None
    restore: Restore | None = None


class BackupShown(Shown):
    """One backup with everything that is known of it. `parts` are the largest 1,000 of `parts_in_all`."""

    backup: Backup
    versions: Versions
    parts: tuple[Part, ...]
    parts_in_all: int
    history: tuple[Event, ...]
    drills: tuple[DrillShown, ...]
    copies: tuple[dict[str, Any], ...]
    usage: dict[str, Any] | None
    unread: tuple[str, ...] = Field(description="What could not be read, in sentences.")


def accepted(run_id: str, location: str) -> Answer[Started]:
    """Return the answer to what was started in the background."""
    body = Started(id=run_id, location=location)
    return Answer(202, "application/json", body, headers={"location": location, "retry-after": "3"})


def new_id(now: datetime) -> str:
    """Return a new id of a backup or a restore."""
    return str(ULID.from_datetime(now))
