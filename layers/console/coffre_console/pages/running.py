"""What runs now, and restores."""

from __future__ import annotations

from typing import Final

from coffre.model.backup import Backup, Restore
from coffre_console.access.permissions import Permission
from coffre_console.api.backups import ask_rotate
from coffre_console.pages.asked import id_of, sent_of
from coffre_console.pages.show import Html, see_other, show
from coffre_console.reading.runs import Running, list_restores, list_running, one_restore
from coffre_console.routing import Visit


def runs(visit: Visit) -> Html:
    found = list_running(visit.source, visit.may())

    def may_cancel(one: Running) -> bool:
        needed = Permission.CANCEL if isinstance(one.run, Backup) else Permission.RESTORE
        return visit.caller.may(needed, one.run.target)

    values = {"runs": found.runs, "unread": found.unread}
    return show(visit, "running", command="coffre list --status in_progress", may_cancel=may_cancel, **values)


def restores(visit: Visit) -> Html:
    sent = sent_of(visit, "target", "cursor")
    cursor = id_of("cursor", sent["cursor"])
    page = list_restores(visit.source, target=sent["target"] or None, cursor=cursor, may=visit.may())
    return show(visit, "restores", command="coffre audit --action restore", sent=sent, page=page)


def restore(visit: Visit, one: Restore) -> Html:
    sent_of(visit, "done")
    found = one_restore(visit.source, one)
    return show(
        visit,
        "restore",
        command=f"coffre show {one.id}",
        restore=found.restore,
        report=found.report,
        may_download=one.is_export and visit.caller.may(Permission.EXPORT, one.target),
        may_cancel=visit.caller.may(Permission.RESTORE, one.target),
    )


def back(visit: Visit, one: Restore) -> Html:
    """Lead a sign-in in the middle back: the restore's page has the form."""
    return see_other(visit, f"/restores/{one.id}")


def cancel(visit: Visit, one: Restore) -> Html:
    ask_rotate(visit, one.id, {"cancel": one.id})
    return see_other(visit, f"/restores/{one.id}")


PAGES: Final = {
    "GET /running": runs,
    "GET /restores": restores,
    "GET /restores/<restore_id>": restore,
    "GET /restores/<restore_id>/cancel": back,
    "POST /restores/<restore_id>/cancel": cancel,
}
