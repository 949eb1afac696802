"""Downloads: an export is started in the background, then the address of its file is signed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from aws_lambda_powertools.event_handler import Response as Answer
from aws_lambda_powertools.event_handler.openapi.params import Query

from coffre.model.backup import Backup, Restore, Status
from coffre.model.export import ExportScope, exported_file, how_to_open, key_of
from coffre.operations.stored_backup.open_backup import refuse_unrestorable
from coffre_console.access.permissions import Permission
from coffre_console.api.answers import BackupId, Shown, Started, accepted, new_id
from coffre_console.api.backups import PATH
from coffre_console.api.routes import ApiRoutes
from coffre_console.fields import ULID_PATTERN
from coffre_console.problems import ProblemError
from coffre_console.reading.runs import list_restores
from coffre_console.routing import Visit

_TAG = "backups"
_ONE = f"{PATH}/<backup_id>/download"
_RECENT = 50
_ACCEPTED = HTTPStatus.ACCEPTED
ExportQuery = Annotated[str | None, Query(pattern=ULID_PATTERN, description="Which export. Default: the newest one.")]


class DownloadShown(Shown):
    """An address that needs no credentials: who has it can fetch the file, and open it with a key of its recipients."""

    export_id: str
    url: str
    expires_at: datetime
    file: str
    size_bytes: int
    how_to_open: str


def register(routes: ApiRoutes) -> None:
    """Register the routes."""

    @routes.add("POST", _ONE, summary="Export a backup to a file, in the background", tag=_TAG, status=_ACCEPTED)
    def export(backup_id: BackupId, body: ExportScope) -> Answer[Started]:
        visit = routes.visit
        backup = visit.backup(backup_id, Permission.EXPORT)
        export_id = start_export(visit, backup, body)
        return accepted(export_id, _place(backup.id, export_id))

    @routes.add("GET", _ONE, summary="The address of an exported file, for an hour", tag=_TAG, also={202: Started})
    def download(backup_id: BackupId, export_id: ExportQuery = None) -> Answer[DownloadShown | Started]:
        visit = routes.visit
        backup = visit.backup(backup_id, Permission.EXPORT)
        made, name = export_of(visit, backup, export_id)
        if made.status is Status.IN_PROGRESS:
            return accepted(made.id, _place(backup.id, made.id))  # type: ignore[return-value]
        return Answer(200, "application/json", sign(visit, made, name))


def start_export(visit: Visit, backup: Backup, scope: ExportScope) -> str:
    """Start an export, and return its id; raises ProblemError for what cannot be exported like this."""
    refuse_unrestorable(backup)
    if problem := scope.problem_with(backup.kind):
        raise ProblemError(422, "EXPORT_KIND", problem, "Nothing was exported.")
    if not (scope.recipients or visit.source.configuration().recipients_of(backup.target)):
        raise ProblemError(
            422,
            "EXPORT_RECIPIENT_NEEDED",
            f"{backup.target} has no recipients: no one could open the file.",
            "Name the public age key of who shall open it, in recipients. Nothing was exported.",
        )
    export_id = new_id(visit.now)
    chosen = scope.model_dump(mode="json", exclude_defaults=True)
    event = {"backup_id": backup.id, "restore_id": export_id, "export": chosen}
    visit.console.functions.start("restore", event, visit.actor)
    return export_id


def sign(visit: Visit, made: Restore, name: str) -> DownloadShown:
    """Sign the address of an export's file, and record that; raises ProblemError for one that made none."""
    if made.status is not Status.COMPLETED:
        failure = made.failure
        raise ProblemError(
            409,
            failure.code if failure else "EXPORT_FAILED",
            failure.message if failure else "The export failed.",
            failure.hint if failure else None,
        )
    signed = visit.console.downloads.sign(key_of(made.id, name), name, visit.now)
    # An address whose handing out could not be recorded is not handed out.
    detail = f"{name}, export {made.id}"
    audit = visit.source.catalog.audit
    audit.record(visit.now, visit.actor, "backup.downloaded", made.target, made.backup_id, detail)
    return DownloadShown(
        export_id=made.id,
        url=signed.url,
        expires_at=signed.expires_at,
        file=name,
        size_bytes=signed.size_bytes,
        how_to_open=how_to_open(name),
    )


def _place(backup_id: str, export_id: str) -> str:
    return f"{PATH}/{backup_id}/download?export_id={export_id}"


def export_of(visit: Visit, backup: Backup, export_id: str | None) -> tuple[Restore, str]:
    """Return an export of a backup, by default the newest one, with the name of its file."""
    if export_id is None:
        found = exports_of(visit, backup)
    else:
        found = _exports([visit.restore(export_id, Permission.EXPORT)], backup)
    if not found:
        raise ProblemError(
            409, "EXPORT_NEEDED", "There is no such export of this backup.", "Begin one: POST the same address."
        )
    return found[0]


def exports_of(visit: Visit, backup: Backup) -> list[tuple[Restore, str]]:
    """Return a backup's exports with their files' names, the newest first, among its target's last runs."""
    page = list_restores(visit.source, target=backup.target, status=None, size=_RECENT, cursor=None, may=visit.may())
    return _exports(page.restores, backup)


def _exports(those: Iterable[Restore], backup: Backup) -> list[tuple[Restore, str]]:
    named = ((one, exported_file(one.destination)) for one in those if one.backup_id == backup.id)
    return [(one, name) for one, name in named if name is not None]
