"""Downloads: a backup is exported to a file in the background, and its address is signed when a person asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from coffre.model.backup import Backup
from coffre.model.errors import BackupStateError
from coffre.model.export import ExportScope, how_to_open
from coffre.model.kinds import Status
from coffre_console.api.downloads import DownloadShown, export_of, exports_of, sign, start_export
from coffre_console.pages.asked import id_of, sent_of
from coffre_console.pages.restore_choice import lines_of
from coffre_console.pages.show import Html, command, see_other, show
from coffre_console.problems import ProblemError, checked
from coffre_console.routing import Visit

_FIELDS: Final = ("recipients", "tables", "format", "prefix", "export_id", "step")


def look(visit: Visit, backup: Backup) -> Html:
    """Ask what is exported; or show how far an export is, and its file."""
    return _page(visit, backup, sent_of(visit, *_FIELDS))


def act(visit: Visit, backup: Backup) -> Html:
    """Export; or sign the address of the file that an export has made."""
    sent = sent_of(visit, *_FIELDS)
    if sent["step"] != "sign":
        export_id = start_export(visit, backup, _scope(sent))
        return see_other(visit, f"/backups/{backup.id}/download", export_id=export_id)
    made, name = export_of(visit, backup, id_of("export_id", sent["export_id"]))
    if made.status is not Status.COMPLETED:
        return _page(visit, backup, sent)
    try:
        return _page(visit, backup, sent, signed=sign(visit, made, name))
    except ProblemError as problem:
        if problem.code != "EXPORT_GONE":
            raise
        return _page(visit, backup, sent, is_gone=True)


def _scope(sent: Mapping[str, str]) -> ExportScope:
    asked: dict[str, Any] = {name: lines_of(sent[name]) for name in ("recipients", "tables")}
    return checked(ExportScope, {**asked, "format": sent["format"] or "custom", "prefix": sent["prefix"]})


def _page(
    visit: Visit,
    backup: Backup,
    sent: Mapping[str, str],
    *,
    signed: DownloadShown | None = None,
    is_gone: bool = False,
) -> Html:
    export_id = id_of("export_id", sent["export_id"])
    made, name = None, ""
    with suppress(BackupStateError):  # the function has not begun yet
        made, name = export_of(visit, backup, export_id) if export_id else (None, "")
    return show(
        visit,
        "download",
        command=_command(backup, sent),
        backup=backup,
        sent=sent,
        made=made,
        is_done=made is not None and made.status is Status.COMPLETED and not is_gone,
        is_gone=is_gone,
        file_name=name,
        how_to_open=how_to_open(name) if name else "",
        signed=signed,
        exports=exports_of(visit, backup),
        needs_recipients=not visit.source.configuration().recipients_of(backup.target),
    )


def _command(backup: Backup, sent: Mapping[str, str]) -> str:
    lists = [("--table", "tables"), ("--recipient", "recipients")]
    words = [word for option, name in lists for one in lines_of(sent[name]) for word in (option, one)]
    kind = "" if sent["format"] == "custom" else sent["format"]
    return command("export", backup.id, *words, format=kind, prefix=sent["prefix"])


PAGES: Final = {"GET /backups/<backup_id>/download": look, "POST /backups/<backup_id>/download": act}
