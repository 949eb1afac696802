"""What runs now."""

from __future__ import annotations

from aws_lambda_powertools.event_handler import Response as Answer

from coffre.model.backup import Backup
from coffre.model.errors import BackupStateError
from coffre_console.access.permissions import Permission
from coffre_console.api.answers import ULID_PATTERN
from coffre_console.api.backups import ask_rotate
from coffre_console.pages.fields import refuse_unlike
from coffre_console.pages.show import known_fields, restore_of, see_other, show
from coffre_console.reading.runs import Running, list_restores, list_running, one_restore, running
from coffre_console.routing import Routes


def register(routes: Routes) -> None:
    """Register the routes."""

    @routes.add("GET", "/running")
    def runs() -> Answer[str]:
        visit = routes.visit
        found = list_running(visit.source, visit.may())

        def may_cancel(one: Running) -> bool:
            needed = Permission.CANCEL if isinstance(one.run, Backup) else Permission.RESTORE
            return visit.caller.may(needed, one.run.target)

        return show(visit, "running", command="coffre list --status in_progress", runs=found, may_cancel=may_cancel)

    @routes.add("GET", "/restores")
    def restores() -> Answer[str]:
        visit = routes.visit
        sent = known_fields(visit.request.query, ("target", "cursor"))
        if sent["cursor"]:
            refuse_unlike("cursor", sent["cursor"], ULID_PATTERN, "the end of the page before")
        page = list_restores(
            visit.source, target=sent["target"] or None, cursor=sent["cursor"] or None, may=visit.may()
        )
        return show(visit, "restores", command="coffre audit --action restore", sent=sent, page=page)

    @routes.add("GET", "/restores/<restore_id>")
    def one(restore_id: str) -> Answer[str]:
        visit = routes.visit
        done = known_fields(visit.request.query, ("done",))["done"]
        try:
            restore = restore_of(visit, restore_id, Permission.READ)
        except BackupStateError:
            if done != "start":
                raise
            return show(visit, "starting", command=f"coffre show {restore_id}")
        found = one_restore(visit.source, restore.id)
        return show(
            visit,
            "restore",
            command=f"coffre show {restore.id}",
            restore=found.restore,
            report=found.report,
            run=None if restore.status.is_final else running(restore, visit.now),
            may_cancel=visit.caller.may(Permission.RESTORE, restore.target),
        )

    @routes.add("GET", "/restores/<restore_id>/cancel")
    def back(restore_id: str) -> Answer[str]:
        # Where a browser comes back to after a sign-in in the middle: the restore's page has the form.
        return see_other(routes.visit, f"/restores/{restore_of(routes.visit, restore_id, Permission.RESTORE).id}")

    @routes.add("POST", "/restores/<restore_id>/cancel")
    def cancel(restore_id: str) -> Answer[str]:
        visit = routes.visit
        restore = restore_of(visit, restore_id, Permission.RESTORE)
        ask_rotate(visit, restore.id, {"cancel": restore.id})
        return see_other(visit, f"/restores/{restore.id}")
